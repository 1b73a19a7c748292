"""Plans are repeated by their seed, and history survives a client that was killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.chaos.__main__ import add_up
from tests.chaos.history import Operation, Recorder, read_history
from tests.chaos.nemesis import FaultKind, plan
from tests.chaos.run import Verdict

TARGETS = ("ingress", "kafka", "flow-payments", "postgres")


def test_a_seed_is_a_plan() -> None:
    first = plan(7, TARGETS, faults=200, within_seconds=60)
    assert first == plan(7, TARGETS, faults=200, within_seconds=60)
    assert first != plan(8, TARGETS, faults=200, within_seconds=60)
    assert {fault.kind for fault in first} == set(FaultKind)
    assert first == sorted(first, key=lambda fault: fault.at_seconds)
    assert max(fault.lasts_seconds for fault in first) > 6, "longer than a session"


def test_the_last_word_on_an_operation_counts_and_a_cut_line_is_unknown(tmp_path: Path) -> None:
    asked = Operation(client="c", number=1, method="GET", path="/", key=None, body=None, asked_at=1.0)
    file = tmp_path / "history"
    with file.open("w") as out:
        Recorder(out).note(asked)
        Recorder(out).note(replace(asked, status=200, heard_at=2.0))
        out.write('{"client": "c", "num')
    (operation,) = read_history([file])
    assert (operation.status, operation.is_known) == (200, True)


def test_parts_add_up_and_a_seed_counts_once() -> None:
    verdict = Verdict(seed=1, payments=10, faults=3, operations=40, heard=39, seconds=1.0, violations=[])
    other = Verdict(seed=2, payments=5, faults=2, operations=9, heard=9, seconds=1.0, violations=["lost: pi_1"])
    results = add_up(add_up(add_up({}, verdict), other), verdict)
    assert results["total"] == {"seeds": 2, "payments": 15, "faults": 5, "operations": 49, "violations": 1}
