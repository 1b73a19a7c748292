"""Plans are repeated by their seed and reach everything, history survives a client that was killed, results add up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from paystream.settings import load
from sandbox.card_network.faults import FaultPlan
from tests.chaos.__main__ import add_up, summary
from tests.chaos.history import Operation, Progress, Recorder, read_history
from tests.chaos.merchants import route_of, setting
from tests.chaos.plan import (
    CERTAIN,
    FLOWS,
    SESSION_SECONDS,
    Fault,
    FaultKind,
    network_arguments,
    plan,
    plan_of_settlement,
    targets_of,
)
from tests.chaos.run import Seed

PROCESSES = ("ingress", "kafka", "postgres", "card-network", "proxy", *FLOWS)


def plan_of(seed: int, *, faults: int = 200, has_small_disks: bool = True) -> list[Fault]:
    return plan(seed, PROCESSES, faults=faults, within_seconds=60, has_small_disks=has_small_disks)


def test_a_seed_is_a_plan() -> None:
    first = plan_of(7)
    assert first == plan_of(7)
    assert first != plan_of(8)
    assert first == sorted(first, key=lambda fault: fault.at_seconds)
    assert len({fault.burst for fault in first}) == 40
    assert [fault.burst for fault in first] == sorted(fault.burst for fault in first)
    longest = {kind: max(fault.lasts_seconds for fault in first if fault.kind is kind) for kind in FaultKind}
    assert longest[FaultKind.pause] > SESSION_SECONDS


def test_seeds_do_every_kind_of_fault_to_everything() -> None:
    done = {(fault.kind, fault.target) for seed in range(1, 51) for fault in plan_of(seed, faults=Seed.faults)}
    wanted = {(kind, target) for kind in FaultKind for target in targets_of(kind, PROCESSES, has_small_disks=True)}
    assert done == wanted
    assert {target for kind, target in wanted if kind is FaultKind.twin} == set(FLOWS)
    assert {target for kind, target in wanted if kind is FaultKind.fill_disk} == {"postgres", "card-network"}
    assert ("kill", "proxy") not in wanted
    assert {("cut", "card-network-iso"), ("stall", "card-network-iso"), ("kill", "flow-settlement")} <= wanted
    assert ("kill", "card-network-iso") not in wanted, "it is no process"


def test_every_seed_kills_and_pauses_processing_reconciliation_and_settlement() -> None:
    assert {target for _, target in CERTAIN} == {"flow-processing", "flow-reconciliation", "flow-settlement"}
    for seed in range(1, 51):
        planned = plan_of(seed, faults=Seed.faults)
        assert {(fault.kind, fault.target) for fault in planned} >= {*CERTAIN}
        assert len(planned) == Seed.faults
    assert len(plan_of(7, faults=3)) == 3


def test_the_settlement_flow_is_killed_in_every_seed_and_others_are_disturbed_beside_it() -> None:
    plans = [plan_of_settlement(seed, PROCESSES, while_="import") for seed in range(1, 51)]
    assert plans[6] == plan_of_settlement(7, PROCESSES, while_="import") != plans[7]
    assert plans[6] != plan_of_settlement(7, PROCESSES, while_="windows end")
    assert all(("kill", "flow-settlement") in [(fault.kind, fault.target) for fault in one] for one in plans)
    disturbed = {fault.target for one in plans for fault in one}
    assert disturbed == {"flow-settlement", "flow-postgres", "flow-payments", "flow-reconciliation"}
    assert {fault.kind for one in plans for fault in one} == {"kill", "pause", "stop"}


def test_the_card_network_of_a_seed_misbehaves_as_its_command_line_can_say() -> None:
    assert network_arguments(7) == network_arguments(7) != network_arguments(8)
    arguments = [
        argument.removeprefix("--").split("=") for seed in range(1, 51) for argument in network_arguments(seed)
    ]
    rates = {name: [float(value) for known, value in arguments if known == name] for name, _ in arguments}
    for name in ("timeout-rate", "reset-rate", "duplicate-rate", "iso-other-connection-rate", "iso-doubt-rate"):
        assert min(rates[name]) == 0.0 < max(rates[name]) < 0.5
    known = {field.replace("_", "-") for field in FaultPlan.__struct_fields__}
    assert rates.keys() <= known


def test_a_merchants_payments_have_its_own_processor_first_and_in_some_seeds_the_other_too() -> None:
    assert {route_of("mer_http", seed=seed) for seed in range(4)} == {("cardnet", "isonet"), ("cardnet",)}
    assert {route_of("mer_iso8583", seed=seed)[0] for seed in range(4)} == {"isonet"}
    assert load({"PAYSTREAM_API_KEYS": setting().partition("=")[2]}, required=())["api_keys"]


def test_of_brokers_only_one_among_others_has_its_disk_filled() -> None:
    three = targets_of(FaultKind.fill_disk, ["kafka-1", "kafka-2", "kafka-3"], has_small_disks=True)
    assert three == ["kafka-1", "kafka-2", "kafka-3"]
    assert targets_of(FaultKind.fill_disk, ["kafka"], has_small_disks=True) == []


def test_where_no_disk_can_be_mounted_none_is_filled() -> None:
    without = plan_of(7, faults=2_000, has_small_disks=False)
    assert {fault.kind for fault in without} == set(FaultKind) - {FaultKind.fill_disk}


def test_the_last_word_on_an_operation_counts_and_a_cut_line_is_unknown(tmp_path: Path) -> None:
    asked = Operation(client="c", number=1, method="GET", path="/", key=None, body=None, asked_at=1.0)
    file = tmp_path / "history"
    with file.open("w") as out:
        Recorder(out).note(asked)
        Recorder(out).note(replace(asked, status=200, heard_at=2.0))
        out.write('{"client": "c", "num')
    (operation,) = read_history([file])
    assert (operation.status, operation.is_known) == (200, True)


def test_progress_is_what_is_new_in_the_files(tmp_path: Path) -> None:
    file = tmp_path / "history"
    is_working = Progress([file, tmp_path / "not there yet"])
    assert not is_working()
    file.write_text('{"status": 503}\n{"status": 201}\n')
    assert is_working()
    assert not is_working()
    with file.open("a") as out:
        out.write('{"status": 503}\n')
    assert not is_working()


VERDICT: dict[str, Any] = {
    "seed": 1,
    "payments": 10,
    "faults": 3,
    "operations": 40,
    "heard": 39,
    "seconds": 1.0,
    "violations": [],
    "done": {"kill kafka": 2, "pause ingress": 1},
    "phases": {},
    "no_small_disks": None,
}
OTHER: dict[str, Any] = {
    **VERDICT,
    "seed": 2,
    "payments": 5,
    "faults": 1,
    "operations": 9,
    "violations": ["lost: pi_1"],
    "done": {"kill ingress": 1},
}


def test_parts_add_up_and_a_seed_counts_once() -> None:
    results = add_up(add_up(add_up({}, 1, VERDICT), 2, OTHER), 1, VERDICT)
    assert results["total"] == {
        "seeds": 2,
        "payments": 15,
        "faults": 4,
        "operations": 49,
        "violations": 1,
        "done": {"kill ingress": 1, "kill kafka": 2, "pause ingress": 1},
    }


def test_what_went_wrong_once_stays_on_record() -> None:
    again = add_up(add_up(add_up({}, 2, OTHER), 2, {**OTHER, "violations": []}), 3, None)
    assert again["failures"] == [
        {"seed": 2, "was": "lost: pi_1"},
        {"seed": 3, "was": "it could not be run to its verdict"},
    ]
    assert again["total"]["violations"] == 2
    assert list(again["seeds"]) == ["2"]


def test_the_summary_hides_nothing() -> None:
    assert summary([VERDICT, OTHER], []) == "2 seeds, 4 faults (kill 3, pause 1); 15 payments; 1 violations"
    without_disks = summary([{**VERDICT, "no_small_disks": "not permitted"}], [4])
    assert "no disk was filled, since none can be mounted here (not permitted)" in without_disks
    assert without_disks.endswith("NOT RUN: 4")
