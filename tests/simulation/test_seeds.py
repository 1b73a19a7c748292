"""Thousands of seeds keep every promise, and come everywhere; a failing one prints its number and how to replay it.

PAYSTREAM_TEST_SEEDS=FROM:NUMBER runs others; what must be reached is asked of the standard ones only.
"""

from __future__ import annotations

import os

import pytest

from schemas.payment import VoidReason
from schemas.processing import CallKind, Outcome
from tests.simulation.coverage import Reached, watching
from tests.simulation.epochs import BytewaxEpochs
from tests.simulation.seeds import ci_seeds, first_failure, run
from topology.domain import EventType, Refusal
from topology.domain.timers import TIMERS
from topology.domain.transitions import On

_CHUNKS = 4
_ON_BYTEWAX = 12
_STANDARD = "PAYSTREAM_TEST_SEEDS" not in os.environ

# What no honest world comes to, or hardly ever: `tests/topology/domain` does.
_BEYOND = {
    On.capture_found_captured: "somebody captured at the processor, past us",
    On.void_found_captured: "somebody captured at the processor, past us",
    On.compensation_found_captured: "somebody captured at the processor, past us",
    On.contradicted: "a processor that changes its word",
    On.compensation_lost: "once in a thousand seeds",
    On.compensation_lapsed: "once in a thousand seeds",
    On.void_failed_expired: "once in a thousand seeds",
    Refusal.amount_not_positive: "set aside before, as out of bounds",
    Refusal.merchant_disabled: "no merchant of this world is disabled",
    Refusal.too_many_transactions: "takes a hundred attempts",
    Refusal.unknown_timer: "reconciliation knows no other timers than the fold",
    Refusal.other_processor: "a processor that answers what it was never asked",
    Refusal.unexpected_result: "processing never says it",
    Refusal.not_awaited: "must never be given",
}


@pytest.fixture(scope="module")
def reached() -> Reached:
    return Reached()


@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_every_seed_keeps_every_promise(chunk: int, reached: Reached) -> None:
    seeds = ci_seeds()
    with watching(reached):
        failure = first_failure(seeds[chunk::_CHUNKS], reached=reached)
    assert failure is None, str(failure)
    reached.note("chunk", str(chunk))


@pytest.mark.skipif(not _STANDARD, reason="other seeds than the standard ones")
def test_the_seeds_come_everywhere(reached: Reached) -> None:
    if len(reached.names("chunk")) < _CHUNKS:
        pytest.skip("not all seeds were run")
    wanted: dict[str, set[str]] = {
        "event": set(EventType),
        "refusal": {refusal.value for refusal in Refusal if refusal not in _BEYOND},
        "on": {on.name for on in On if on not in _BEYOND},
        "final status": {"requires_payment_method", "requires_capture", "succeeded", "canceled"},
        "void": set(VoidReason),
        "timer": set(TIMERS),
        "result": {f"{call} {outcome}" for call in CallKind for outcome in Outcome} - _NO_RESULTS,
        "happening": {"forgotten", "replayed", "late arrival", *_DEATHS},
        "heard": {"200", "201", "404", "409", "503"},
    }
    missing = {kind: sorted(names - reached.names(kind)) for kind, names in wanted.items()}
    assert {kind: names for kind, names in missing.items() if names} == {}
    assert Refusal.not_awaited not in reached.names("refusal")


_FLOWS = ("payments", "processing", "reconciliation")
_DEATHS = {
    f"{flow} {how}" for flow in _FLOWS for how in ("dies in epochs", "dies between epochs", "stops", "rebalances")
}
# Only look-ups find nothing or are never sent without a word; only authorizations are challenged, or not sent for good.
_NO_RESULTS = {
    *(f"{call} not_found" for call in ("authorize", "capture", "void")),
    *(f"{call} challenge" for call in ("capture", "void")),
    *(f"{call} not_sent" for call in ("capture", "void", "lookup")),
}


def test_on_bytewax_a_seed_is_the_same_history() -> None:
    for seed in range(_ON_BYTEWAX):
        direct, found = run(seed)
        on_bytewax, found_there = run(seed, epochs=BytewaxEpochs)
        assert on_bytewax.log.digest() == direct.log.digest(), f"seed {seed}"
        assert found_there == found
