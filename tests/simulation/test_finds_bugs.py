"""The simulation finds what it is for: each of these faults, switched on alone, by the harm that it does."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from tests.simulation.faults import FAULTS
from tests.simulation.seeds import first_failure, run

_SEEDS_MAX = 300

_IS_UNDECIDED = r"undecided: pi_\w+ is {} after healing"
_IS_HELD = r"hold: tx_\w+ of pi_\w+ is approved at the network, {} here, and nothing ends it"
_IS_LOST = r"lost: pi_\w+ was acknowledged to mer_\w+ and is not in the log"
_IS_CHARGED_TWICE = r"charged twice: pi_\w+ by \['(tx_\w+)', '\1 again'\]"
_CAME_AGAIN = r"forgotten: pi_\w+ came to be again"

HARM: Mapping[str, str] = {
    "an approval while it is voided counts": _IS_UNDECIDED.format("canceled"),
    "not found is believed": _IS_HELD.format("declined"),
    "a capture in doubt has failed": r"ledger: pi_\w+ received 0, the network took [1-9]\d*",
    "the sequence stands still": r"sequence: pi_\w+ has \[.*\b(\d+), \1\b.*\]",
    "another amount is not voided": _IS_HELD.format("declined"),
    "a hold that could not be voided is left": _IS_HELD.format("declined"),
    "the challenge never times out": _IS_UNDECIDED.format("requires_action"),
    "what was forgotten is made again": _CAME_AGAIN,
    "what was not seen is forgotten": _CAME_AGAIN,
    "a call in doubt is repeated anywhere": _IS_CHARGED_TWICE,
    "not sent is said of a restored call": _IS_HELD.format("failed"),
    "the unknown is tried again": _IS_CHARGED_TWICE,
    "a call leaves before its entry stands": r"twice: authorization tx_\w+ again",
    "captures are repeated anywhere": _IS_CHARGED_TWICE,
    "a look up dies with its process": _IS_UNDECIDED.format("processing"),
    "a repeat is not called": _IS_UNDECIDED.format("processing"),
    "a change of state is lost": r"state: pi_\w+ is not what its last event says",
    "messages are lost and offsets stand": _IS_LOST,
    "offsets are lost and messages stand": _IS_CHARGED_TWICE,
    "what is told does not stand": _IS_LOST,
}
"""What each fault does, as the finding says it. Not every seed that it breaks shows that."""


def harm_of(name: str) -> str:
    """The first finding of any seed that says what the fault does; nothing may be raised by then."""
    for seed in range(_SEEDS_MAX):
        _, found = run(seed)
        # A fault that is itself broken proves nothing.
        raised = [finding for finding in found if finding.startswith("raised: ")]
        assert not raised, f"seed {seed}: {raised}"
        for finding in found:
            if re.fullmatch(HARM[name], finding):
                return finding
    pytest.fail(f"in {_SEEDS_MAX} seeds nobody said {HARM[name]}")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_its_harm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    assert harm_of(name)


def test_nothing_else_stands_in_for_a_harm() -> None:
    assert HARM.keys() == FAULTS.keys()


def test_a_fault_that_is_itself_broken_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise KeyError("a bug of the fault")

    monkeypatch.setattr("topology.domain.results_of_authorizations._in_doubt", breaks)
    with pytest.raises(AssertionError, match="raised: KeyError"):
        harm_of("not found is believed")


def test_a_failing_seed_says_how_to_replay_it_and_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS["the unknown is tried again"](monkeypatch)
    failure = first_failure(range(_SEEDS_MAX))
    assert failure is not None
    assert f"python -m tests.simulation {failure.seed}" in str(failure)
    told: list[str] = []
    _, found = run(failure.seed, tell=told.append)
    assert found == failure.findings
    assert any("transaction.created" in sentence for sentence in told)
