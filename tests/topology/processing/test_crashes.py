"""What a crash leaves: read but not committed, committed but not called, called but not answered."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from schemas.processing import CallKind
from tests.topology.domain.script import Payment
from tests.topology.processing.rig import APPROVED, DEDUPLICATES, Rig, not_sent, unknown
from topology.calls.slots import ProcessorLimits
from topology.processing import ProcessingConfig
from topology.processors import Capabilities, Cause

DOES_NOT = dataclasses.replace(DEDUPLICATES, deduplicates=frozenset({CallKind.capture, CallKind.void}))
NOTHING = Capabilities()


def until_captured(rig: Rig) -> None:
    """The payment's capture is in flight."""
    rig.tell("attempt")
    rig.answer(APPROVED)
    rig.tell("authorization: approved")
    rig.results()


def restart(rig: Rig) -> None:
    rig.crash()
    rig.driver.settle()
    rig.driver.settle()


@pytest.mark.parametrize("called", [False, True])
def test_in_flight_where_the_processor_deduplicates_is_called_again_under_the_same_key(called: bool) -> None:
    rig = Rig()
    rig.tell("attempt")
    before = rig.call()
    (first,) = rig.engine.orders
    if called:
        rig.engine.finish(APPROVED)
    restart(rig)
    (again,) = rig.engine.running
    assert again.asked == replace(before, restored=True)
    assert again.asked.transaction_id == first.asked.transaction_id
    assert rig.call().restored
    rig.answer(APPROVED)
    assert rig.said() == [("authorize", "approved", None)]


def test_the_second_call_too_leaves_only_after_a_commit_of_its_own() -> None:
    """A former owner that restored the entry and lost the shard meanwhile must not call."""
    rig = Rig()
    rig.tell("attempt")
    rig.crash()
    rig.driver.settle(lost=True)
    assert rig.engine.running == []
    rig.driver.settle()
    assert len(rig.engine.running) == 1


@pytest.mark.parametrize("called", [False, True])
def test_in_flight_where_it_does_not_is_unknown(called: bool) -> None:
    rig = Rig(capabilities=DOES_NOT)
    rig.tell("attempt")
    if called:
        rig.engine.finish(APPROVED)
    restart(rig)
    assert rig.engine.running == []
    assert rig.said() == [("authorize", "unknown", Cause.restarted)]
    assert rig.calls() == ()


def test_the_kinds_are_told_apart() -> None:
    rig = Rig(capabilities=DOES_NOT)
    until_captured(rig)
    restart(rig)
    assert [order.kind for order in rig.engine.running] == [CallKind.capture]


def test_beyond_the_promise_it_is_unknown() -> None:
    rig = Rig(capabilities=dataclasses.replace(DEDUPLICATES, deduplication_seconds=60.0))
    until_captured(rig)
    rig.clock.advance(61.0)
    restart(rig)
    assert rig.engine.running == []
    assert rig.said() == [("capture", "unknown", Cause.deduplication_ended)]


def test_a_restored_authorization_whose_customer_has_gone_is_in_doubt_all_the_same() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.clock.advance(301.0)
    restart(rig)
    assert rig.engine.running == []
    assert rig.said() == [("authorize", "unknown", Cause.expired_before_send)]


def test_a_restored_call_that_cannot_leave_is_unknown_never_not_sent() -> None:
    for kind in ("authorize", "capture"):
        rig = Rig()
        if kind == "authorize":
            rig.tell("attempt")
        else:
            until_captured(rig)
        restart(rig)
        rig.answer(not_sent(Cause.send_before_passed))
        assert rig.said() == [(kind, "unknown", Cause.send_before_passed)]


def test_crash_after_crash_stays_in_doubt() -> None:
    rig = Rig()
    rig.tell("attempt")
    for _ in range(3):
        restart(rig)
        assert rig.call().restored
        assert len(rig.engine.running) == 1
    assert len({order.asked.transaction_id for order in rig.engine.orders}) == 1


def test_a_waiting_entry_was_never_called_whoever_restores_it() -> None:
    config = ProcessingConfig(default_limits=ProcessorLimits(in_flight_max=0))
    rig = Rig(config=config)
    rig.tell("attempt")
    assert not rig.call().in_flight
    roomy = Rig(capabilities=NOTHING, payment=rig.payment)
    roomy.driver.log = rig.driver.log
    restart(roomy)
    (order,) = roomy.engine.running
    assert (order.asked.restored, order.asked.repeat) == (False, False)
    roomy.answer(not_sent())
    assert roomy.said() == [("authorize", "not_sent", "no_connection")]


def test_an_entry_at_a_processor_that_is_gone_from_the_configuration() -> None:
    rig = Rig()
    rig.tell("attempt")
    other = Rig(processors=("b",), payment=rig.payment)
    other.driver.log = rig.driver.log
    restart(other)
    assert other.said() == [("authorize", "unknown", Cause.processor_not_configured)]


def test_a_restored_entry_does_not_wait_behind_an_open_circuit() -> None:
    """Reconciliation has to hear of it."""
    limits = ProcessorLimits(circuit_failures_max=1)
    payment = Payment()
    rig = Rig(config=ProcessingConfig(default_limits=limits), payment=payment)
    until_captured(rig)
    rig.crash()
    rig.driver.settle()
    # Its own second call opens the circuit; the next payment's is turned away.
    rig.answer(unknown(Cause.timed_out))
    assert rig.said() == [("capture", "unknown", "timed_out")]
    rig.tell("capture: unknown", "timer: ladder of capture")
    assert rig.said() == [("capture", "unknown", Cause.circuit_open)]


def test_the_answer_of_an_abandoned_call_is_nobody_s() -> None:
    rig = Rig(capabilities=DOES_NOT)
    rig.tell("attempt")
    (order,) = rig.engine.running
    restart(rig)
    rig.results()
    rig.engine.running.append(order)
    rig.answer(APPROVED, order)
    assert rig.results() == []
