"""What a seed asks of its stack is what a stack understands, and what it leaves behind can be written down."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from paystream.settings import load
from sandbox.stack import StackOptions
from sandbox.stack import __main__ as stack_command
from sandbox.stack.composition import compose
from sandbox.stack.layout import Layout
from sandbox.stack.spec import ChildSpec
from tests.chaos.clients import running_clients
from tests.chaos.evidence import Evidence, Settlement, as_json
from tests.chaos.merchants import API_KEYS
from tests.chaos.run import Seed
from tests.harness.stack import RunningStack


def options_of(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> StackOptions:
    """As the command line of the stack reads what the seed says."""
    asked: list[StackOptions] = []

    def up(options: StackOptions) -> int:
        asked.append(options)
        return 0

    monkeypatch.setattr(stack_command, "up", up)
    assert stack_command.main(["up", *seed.stack_arguments]) == 0
    (options,) = asked
    return options


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_seed_has_two_ingresses_one_of_three_kinds_of_more_and_a_network_with_faults_of_its_own(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_of(Seed(seed=number), monkeypatch)
    more = {1: {"payments": 2}, 2: {"processing": 2}, 3: {}}
    assert (options.flow_processes, options.ingress_processes) == (more[number], 2)
    assert options.brokers == (3 if number == 3 else 1)
    assert ("--no-authorization-deduplication" in options.card_network_arguments) == bool(number % 2)
    assert f"--seed={number}" in options.card_network_arguments


def test_its_processes_know_both_merchants_and_reach_the_network_through_both_proxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_of(Seed(seed=2), monkeypatch)
    layout = Layout(tmp_path)
    layout.directory.mkdir(exist_ok=True)
    children = {item.name: item for item in compose(options, layout).items if isinstance(item, ChildSpec)}
    settings = load(children["ingress"].environment or {}, required=())
    assert {entry.key: entry.merchant_id for entry in settings["api_keys"]} == {
        key: merchant for merchant, key in API_KEYS.items()
    }
    called = load(children["flow-processing-2"].environment or {}, required=())
    _, port = called["iso8583_address"]
    assert any(word.startswith(f"card-network-iso={port}:") for word in children["proxy"].command)


def test_evidence_of_settlement_can_be_written_down() -> None:
    settlement = Settlement(adjustments=(), files={"f": 1}, lines=(), settled=(), rows=None, mismatches=(("tx", "a"),))
    evidence = Evidence(history=(), steps=(), rows=None, bookings=(), settlement=settlement)
    again = json.loads(as_json(replace(evidence, audited={("pi_1", 1): "digest"})))
    assert again["settlement"]["files"] == {"f": 1}
    assert again["audited"] == [["pi_1", 1, "digest"]]


def test_the_clients_are_the_merchants_and_end_when_they_are_done(tmp_path: Path) -> None:
    nobody = subprocess.Popen(["true"])
    nobody.wait()
    stack = RunningStack(directory=tmp_path, supervisor=nobody, mark="")
    histories = [tmp_path / f"history-{merchant}.jsonl" for merchant in API_KEYS]
    with running_clients(stack, histories, seed=7, payments=0, seconds=1.0, workers=2) as clients:
        assert [client.wait(60) for client in clients] == [0, 0]
    assert all(history.read_text() == "" for history in histories)
