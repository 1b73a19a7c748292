"""What the test of upgrades stands on: where versions come from, and which answers refuse."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import client
from tests.chaos.history import Operation
from tests.upgrade import version
from tests.upgrade.roll import CLIENT_WAITS_SECONDS
from tests.upgrade.verdict import heard, refusals, without_flaws_of_base
from tests.upgrade.version import ROOT, NotInHistory, Version, base_commit, extract

ASKED = Operation(client="c", number=1, method="POST", path="/paymentIntent", key="k", body={}, asked_at=1.0)
END = 100.0


def answered(status: int, *, after_seconds: float = 0.1, code: str = "some_code") -> Operation:
    return replace(ASKED, status=status, heard_at=1.0 + after_seconds, answer={"code": code})


@pytest.mark.parametrize("status", [200, 201, 202, 409])
def test_what_the_api_says_of_a_payment_refuses_nobody(status: int) -> None:
    assert refusals([answered(status)], until=END) == []


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 502, 503])
def test_everything_else_refuses(status: int) -> None:
    assert refusals([answered(status, code="not_ready")], until=END) == [
        f"refused: c with POST /paymentIntent at 1.0 heard {status} not_ready after 0.10 s"
    ]


def test_a_503_once_time_has_run_out_is_a_slow_machine_and_no_500_is() -> None:
    many = [answered(201)] * 100
    assert refusals([*many, answered(503, after_seconds=2.0)], until=END) == []
    assert len(refusals([*many, answered(500, after_seconds=9.0), answered(404, after_seconds=9.0)], until=END)) == 2


@pytest.mark.parametrize("path", ["/paymentIntent/pi_1/transaction", "/paymentIntent/pi_1/status"])
def test_time_runs_out_later_for_what_does_not_create(path: str) -> None:
    """Else an ingress that refused all that is open once it is told to end would be taken for a slow one."""
    many = [answered(201)] * 100
    assert len(refusals([*many, replace(answered(503, after_seconds=7.9), path=path)], until=END)) == 1
    assert refusals([*many, replace(answered(503, after_seconds=8.0), path=path)], until=END) == []


def test_many_503s_refuse_however_long_they_took() -> None:
    late = [answered(503, after_seconds=2.0)]
    assert refusals([answered(201)] * 98 + late * 2, until=END) == []
    assert refusals([answered(201)] * 97 + late * 3, until=END) == [
        "refused: 3 of 100 heard 503 because time had run out"
    ]
    assert refusals(late * 1_000, until=END)


def test_silence_refuses_unless_the_client_was_stopped_while_it_waited() -> None:
    assert refusals([ASKED], until=1.5) == ["silence: c with POST /paymentIntent at 1.0 never heard an answer"]
    assert refusals([ASKED], until=1.0) == []
    assert len(refusals([ASKED] * 1_000, until=END)) == 1_000
    assert heard([ASKED, answered(201), answered(201)]) == {"silence": 1, "201": 2}


def test_clients_wait_no_longer_than_they_are_waited_for() -> None:
    assert client._ANSWER_SECONDS < CLIENT_WAITS_SECONDS


def test_what_the_old_version_does_wrong_by_itself_is_excused_and_nothing_else() -> None:
    flaw = "key: /paymentIntent under k1 was done for the first time 2 times"
    others = ["key: /paymentIntent under k1 has the ids ['pi_1', 'pi_2']", "charged twice: pi_1 by ['tx_1', 'tx_2']"]
    assert without_flaws_of_base([flaw, *others]) == others


def test_a_history_without_the_commit_is_said_to_lack_it(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with pytest.raises(NotInHistory, match="git fetch --unshallow"):
        extract(base_commit(), tmp_path, repository=tmp_path)


@pytest.mark.parametrize("text", ["", "main\n", "0de418b\n", f"{'a' * 40}\n{'b' * 40}\n"])
def test_base_is_one_whole_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(version, "BASE", tmp_path / "BASE")
    (tmp_path / "BASE").write_text(f"# why\n{text}")
    with pytest.raises(ValueError, match="one commit in full"):
        base_commit()


def test_a_version_is_told_only_what_it_knows() -> None:
    new = Version(name="new", tree=ROOT)
    environment = new.environment({"PAYSTREAM_PARTITIONS": "4", "PAYSTREAM_FROM_THE_FUTURE": "1"})
    assert environment["PAYSTREAM_PARTITIONS"] == "4"
    assert "PAYSTREAM_FROM_THE_FUTURE" not in environment


def test_a_process_of_another_tree_does_not_start(tmp_path: Path) -> None:
    """The tree that is installed is found wherever another one lacks a package."""
    elsewhere = Version(name="empty", tree=tmp_path)
    started = subprocess.run(
        elsewhere.command("topics", "list"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 1
    assert f"not from {tmp_path}" in started.stderr
