"""The simulation finds what it is for: each of these faults, switched on alone, within few seeds."""

from __future__ import annotations

import pytest

from tests.simulation.faults import FAULTS, Fault
from tests.simulation.seeds import first_failure, run

_SEEDS_MAX = 300
_BROKEN = ("raised: TypeError", "raised: AttributeError", "raised: NameError")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    failure = first_failure(range(_SEEDS_MAX))
    assert failure is not None, f"nothing was found in {_SEEDS_MAX} seeds"
    # A fault that is itself broken proves nothing.
    assert not any(finding.startswith(_BROKEN) for finding in failure.findings), str(failure)


def test_a_failing_seed_says_how_to_replay_it_and_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS["the unknown is tried again"](monkeypatch)
    failure = first_failure(range(_SEEDS_MAX))
    assert failure is not None
    assert f"python -m tests.simulation {failure.seed}" in str(failure)
    told: list[str] = []
    _, found = run(failure.seed, tell=told.append)
    assert found == failure.findings
    assert any("transaction.created" in sentence for sentence in told)
