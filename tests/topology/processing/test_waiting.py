"""Bounded calls per processor: who waits, who is turned away, who is tried again, and that nothing is lost."""

from __future__ import annotations

from typing import Any

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.payment import PaymentEvent
from schemas.processing import CallKind, InFlight
from schemas.topics import PROCESSOR_RESULTS
from tests.topology.domain.script import Payment
from tests.topology.processing.rig import APPROVED, BootClock, Rig, not_sent, renamed, unknown
from topology.calls.circuit import Backoff
from topology.calls.slots import Place, ProcessorLimits, Slots, Waiter
from topology.processing import ProcessingConfig
from topology.processors import Cause


def a_rig(**limits: Any) -> Rig:
    retry = Backoff(seconds_min=4.0, seconds_max=16.0)
    circuit = Backoff(seconds_min=10.0, seconds_max=10.0)
    defaults: dict[str, Any] = {"retry": retry, "circuit": circuit} | limits
    return Rig(config=ProcessingConfig(default_limits=ProcessorLimits(**defaults)))


def authorizations(*numbers: int, processor: str = "a") -> list[PaymentEvent]:
    """Each payment's event that asks for an authorization."""
    event = Payment().tell("attempt").events[-1]
    return [renamed(event, number, processor=processor) for number in numbers]


def captures(*numbers: int) -> list[PaymentEvent]:
    event = Payment().tell("attempt", "authorization: approved").events[-1]
    assert event.transaction is not None
    assert event.transaction.type == "capture"
    return [renamed(event, number) for number in numbers]


def entries(rig: Rig) -> list[bool]:
    """Of each payment on record, whether its call is in flight."""
    states = [rig.driver.state(key) for key, _ in rig.driver.store.items()]
    return [call.in_flight for state in states if isinstance(state, InFlight) for call in state.calls]


def called(rig: Rig) -> list[str]:
    return [order.payment_intent_id[-2:] for order in rig.engine.orders]


def test_who_has_no_slot_waits_and_is_called_when_one_is_free() -> None:
    rig = a_rig(in_flight_max=2)
    rig.pipe(*authorizations(1, 2, 3, 4))
    assert len(rig.engine.running) == 2
    assert sorted(entries(rig)) == [False, False, True, True]
    rig.answer(APPROVED)
    rig.driver.settle()
    assert len(rig.engine.running) == 2
    rig.answer(APPROVED)
    rig.driver.settle()
    assert sorted(called(rig)) == ["01", "02", "03", "04"]
    assert len(rig.results()) == 2
    assert entries(rig) == [True, True]


def test_a_waiting_entry_is_called_only_after_it_has_committed_as_in_flight() -> None:
    rig = a_rig(in_flight_max=1)
    rig.pipe(*authorizations(1, 2))
    rig.engine.finish(APPROVED)
    rig.driver.settle(lost=True)
    assert len(rig.engine.orders) == 1


def test_a_slot_that_is_given_back_is_taken_again_in_the_same_epoch() -> None:
    rig = a_rig(in_flight_max=1)
    rig.pipe(*authorizations(1, 2))
    rig.answer(APPROVED)
    assert called(rig) == ["01", "02"]


def test_too_many_waiting_authorizations_are_not_sent_at_once() -> None:
    rig = a_rig(in_flight_max=1, waiting_max=2)
    rig.pipe(*authorizations(1, 2, 3, 4, 5))
    assert rig.said() == [("authorize", "not_sent", Cause.too_many_waiting)] * 2
    assert len(entries(rig)) == 3


def test_captures_wait_whatever_their_number_and_go_first() -> None:
    rig = a_rig(in_flight_max=1, waiting_max=1)
    rig.pipe(*authorizations(1, 2))
    rig.pipe(*captures(3, 4, 5))
    assert rig.results() == []
    for _ in range(5):
        rig.answer(APPROVED)
        rig.driver.settle()
    assert called(rig)[0] in ("01", "02")
    assert sorted(called(rig)[1:4]) == ["03", "04", "05"]
    assert called(rig)[4] in ("01", "02")
    assert entries(rig) == []


def test_a_slow_processor_holds_up_no_other() -> None:
    rig = a_rig(in_flight_max=1)
    rig.pipe(*authorizations(1, 2, 3, processor="a"))
    rig.pipe(*authorizations(4, processor="b"))
    assert [order.asked.processor for order in rig.engine.running] == ["a", "b"]


def test_an_authorization_that_waited_for_too_long_is_not_sent() -> None:
    rig = a_rig(in_flight_max=1)
    rig.pipe(*authorizations(1, 2))
    rig.advance(400.0)
    rig.answer(APPROVED)
    rig.driver.settle()
    assert ("authorize", "not_sent", "expired_before_send") in rig.said()
    assert entries(rig) == []
    rig.pipe(*captures(3))
    assert len(rig.engine.running) == 1, "its slot is free again"


def test_a_capture_that_was_not_sent_is_tried_again_later_and_later() -> None:
    rig = a_rig()
    rig.pipe(*captures(1))
    for wait_seconds_max in (4.0, 8.0, 16.0, 16.0):
        rig.answer(not_sent())
        assert entries(rig) == [False]
        rig.advance(wait_seconds_max / 2 - 0.1)
        assert rig.engine.running == [], "with jitter, but not at once"
        rig.advance(wait_seconds_max / 2 + 0.1)
        assert len(rig.engine.running) == 1
    rig.answer(APPROVED)
    assert rig.said() == [("capture", "approved", None)]
    assert entries(rig) == []
    assert {order.asked.repeat for order in rig.engine.orders} == {False}


def test_the_promise_to_deduplicate_counts_from_the_first_call_that_may_have_left() -> None:
    rig = a_rig()
    rig.pipe(*captures(1))
    rig.answer(not_sent())
    rig.advance(10.0)
    (order,) = rig.engine.running
    assert order.asked.first_sent_at == rig.clock.now()


def test_an_authorization_that_was_not_sent_is_not_tried_again() -> None:
    rig = a_rig()
    rig.pipe(*authorizations(1))
    rig.answer(not_sent())
    assert rig.said() == [("authorize", "not_sent", "no_connection")]
    rig.advance(60.0)
    assert len(rig.engine.orders) == 1


def test_what_was_closed_while_it_waited_is_not_called() -> None:
    payment = Payment()
    rig = Rig(config=ProcessingConfig(default_limits=ProcessorLimits(in_flight_max=1)), payment=payment)
    rig.pipe(*authorizations(1))
    payment.tell("attempt", "authorization: approved", "capture: unknown", "operator: capture approved")
    asking = [event for event in payment.events if event.transaction and event.transaction.type == "capture"]
    rig.pipe(*asking)
    assert rig.calls() == ()
    rig.answer(APPROVED)
    rig.driver.settle()
    rig.driver.settle()
    assert called(rig) == ["01"]
    rig.pipe(*captures(3))
    assert called(rig) == ["01", "03"]


def test_an_open_circuit_holds_back_what_may_wait_and_turns_away_the_rest() -> None:
    rig = a_rig(circuit_failures_max=3)
    rig.pipe(*authorizations(1, 2, 3))
    for _ in range(3):
        rig.answer(unknown(Cause.timed_out))
    rig.results()
    rig.pipe(*authorizations(4), *captures(5))
    assert rig.said() == [("authorize", "not_sent", Cause.circuit_open)]
    assert rig.engine.running == []
    rig.advance(4.9)
    assert rig.engine.running == []
    rig.advance(5.2)
    assert [order.kind for order in rig.engine.running] == [CallKind.capture], "one tries"
    rig.pipe(*authorizations(6))
    assert rig.said() == [("authorize", "not_sent", Cause.circuit_open)]
    rig.answer(APPROVED)
    rig.pipe(*authorizations(7))
    assert [order.payment_intent_id[-2:] for order in rig.engine.running] == ["07"]


def test_authorizations_that_wait_are_turned_away_when_the_circuit_opens() -> None:
    rig = a_rig(in_flight_max=1, circuit_failures_max=1)
    rig.pipe(*authorizations(1, 2, 3))
    rig.answer(not_sent(Cause.no_connection))
    rig.driver.settle()
    assert sorted(rig.said()) == [
        ("authorize", "not_sent", Cause.circuit_open),
        ("authorize", "not_sent", Cause.circuit_open),
        ("authorize", "not_sent", Cause.no_connection),
    ]


def test_declines_do_not_open_the_circuit_nor_what_we_held_back() -> None:
    rig = a_rig(circuit_failures_max=1)
    rig.pipe(*authorizations(1, 2))
    rig.answer(unknown(Cause.unknown_code))
    rig.answer(not_sent(Cause.send_before_passed))
    rig.pipe(*authorizations(3))
    assert len(rig.engine.running) == 1


def test_thousands_wait_and_all_are_called() -> None:
    rig = a_rig(in_flight_max=1_500, waiting_max=10_000)
    numbers = range(1, 2_001)
    rig.pipe(*authorizations(*numbers))
    assert len(rig.engine.running) == 1_500
    for order in list(rig.engine.running):
        rig.engine.finish(APPROVED, order)
    for _ in range(4):
        rig.driver.settle()
    assert len(rig.engine.running) == 500
    for order in list(rig.engine.running):
        rig.engine.finish(APPROVED, order)
    rig.driver.settle()
    assert len(rig.driver.read(PROCESSOR_RESULTS)) == 2_000
    assert len(rig.driver.store) == 0


def test_nobody_jumps_the_queue() -> None:
    slots = Slots({"a": ProcessorLimits(in_flight_max=1)}, declared={"a"}, boot_seconds=BootClock())
    waiters = [
        Waiter(PaymentIntentId(f"pi_{number:032x}"), 0, TransactionId(f"tx_{number:032x}"), patient=False)
        for number in range(3)
    ]
    assert slots.admit("a", waiters[0]) is Place.slot
    assert slots.admit("a", waiters[1]) is Place.queue
    slots.release("a", waiters[0].transaction_id, APPROVED)
    assert slots.admit("a", waiters[2]) is Place.queue
    assert [verdict.waiter for verdict in slots.verdicts(10)] == [waiters[1]]


def test_no_more_is_read_while_too_many_captures_wait_until_some_fewer_do() -> None:
    limits = ProcessorLimits(in_flight_max=1)
    rig = Rig(config=ProcessingConfig(default_limits=limits, patient_max=10))
    rig.pipe(*captures(*range(1, 11)))
    assert not rig.side.is_full(), "one is in flight and nine wait"
    rig.pipe(*captures(11))
    assert rig.side.is_full()
    rig.answer(APPROVED)
    rig.driver.settle()
    assert rig.side.is_full(), "nine wait, which is not much fewer"
    rig.answer(APPROVED)
    rig.driver.settle()
    assert not rig.side.is_full()


def test_those_that_rest_count_too_but_not_those_that_cannot_have_a_turn_here() -> None:
    rig = Rig(config=ProcessingConfig(patient_max=1))
    rig.pipe(*(renamed(event, number, processor="gone") for number in (2, 3) for event in captures(number)))
    assert not rig.side.is_full()
    rig.pipe(*captures(1))
    rig.answer(not_sent())
    assert rig.side.is_full()


def test_a_successor_of_one_that_was_full_is_full_at_once() -> None:
    config = ProcessingConfig(default_limits=ProcessorLimits(in_flight_max=1), patient_max=3)
    rig = Rig(config=config)
    rig.pipe(*captures(1, 2, 3, 4, 5))
    rig.crash()
    assert rig.side.is_full()


def test_authorizations_never_hold_up_the_input() -> None:
    rig = Rig(config=ProcessingConfig(default_limits=ProcessorLimits(in_flight_max=1), patient_max=2))
    rig.pipe(*authorizations(*range(1, 11)))
    assert not rig.side.is_full()
