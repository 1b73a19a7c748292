"""Calls to a processor that knows them by number: on record before they leave, the same in each repeat."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from schemas.codec import decode, encode
from schemas.partitioner import partition
from schemas.payment import CaptureMethod, TransactionStatus
from schemas.processing import CallKind, InFlightCall, Numbering
from schemas.topics import IN_FLIGHT
from tests.topology.domain.script import INTENT, START, Payment
from tests.topology.processing.rig import Rig, not_sent, renamed, unknown
from tests.topology.processors.iso8583.calls import ACQUIRER
from topology.kafka.store import UnreadableState
from topology.processors import Answer, Capabilities, Cause
from topology.processors.iso8583.frames import frame_of
from topology.processors.iso8583.messages import prepared, request_of

ISO8583 = Capabilities(
    deduplicates=frozenset({CallKind.capture, CallKind.void}),
    deduplication_seconds=7 * 86_400.0,
    longest_hold_seconds=7 * 86_400,
)
APPROVED = Answer(
    outcome=unknown().outcome.approved,
    amount_minor=1_000,
    currency="usd",
    processor_reference="000000000000",
    processor_data={"de38": "A1B2C3"},
)
SHARD = partition(INTENT, 4)
KEY = f"numbers-{SHARD}"
OWN = ("de7", "de11", "de37")


def rig(*, numbering: str = "a", **settings: Any) -> Rig:
    """A rig whose processors of these names speak ISO 8583."""
    made = Rig(capabilities=ISO8583, **settings)
    for name in numbering:
        made.processors[name].prepares = prepared
    return made


def hear(told: Rig) -> None:
    """The fold learns of the results, and the flow of what came of that."""
    for result in told.results():
        told.payment.give(result)
    told.tell()


def until_captured(told: Rig) -> InFlightCall:
    """The payment's capture is in flight."""
    told.tell("attempt")
    told.answer(APPROVED)
    hear(told)
    (order,) = told.engine.running
    assert order.kind is CallKind.capture
    return order.asked


def restart(told: Rig) -> None:
    told.crash()
    told.driver.settle()
    told.driver.settle()


def own(call: InFlightCall) -> tuple[str, ...]:
    return tuple(call.processor_data[name] for name in OWN)


def message(call: InFlightCall) -> bytes:
    return frame_of(request_of(call, payment_intent_id=INTENT, acquirer=ACQUIRER))[2:]


def numbering(told: Rig) -> Any:
    return told.driver.state(KEY)


def test_the_numbers_commit_with_the_entry_before_the_call_leaves() -> None:
    told = rig()
    told.tell("attempt")
    (order,) = told.engine.running
    changes = told.driver.log[IN_FLIGHT.name]
    assert sorted(key for _shard, key, _value in changes) == sorted([INTENT, KEY])
    assert {shard for shard, _key, _value in changes} == {SHARD}
    written = {key: decode(value) for _shard, key, value in changes if value is not None}
    assert written[KEY] == Numbering(given=1, last_at=told.clock.now())
    assert written[INTENT].calls == (order.asked,)  # type: ignore[union-attr]
    assert own(order.asked) == ("0101000001", f"{SHARD * 249_999 + 1:06}", f"0{SHARD}0000000000")


def test_what_never_committed_was_carried_by_no_call_and_is_given_again() -> None:
    told = rig()
    told.tell("attempt", lost=True)
    assert told.engine.orders == []
    told.tell()
    assert own(told.call())[2] == f"0{SHARD}0000000000"
    assert numbering(told).given == 1


def test_no_number_is_given_twice_across_payments_and_crashes() -> None:
    told = rig()
    told.tell("attempt")
    (event,) = [each for each in told.payment.events if each.type == "transaction.created"]
    number = 1
    for _ in range(3):
        told.pipe(*[renamed(event, each) for each in range(number, number + 20)])
        number += 20
        restart(told)
    everyone = [own(order.asked) for order in told.engine.orders]
    assert len(everyone) == 61
    assert len({(de7, de11) for de7, de11, _de37 in everyone}) == len({de37 for *_, de37 in everyone}) == 61


def test_a_processor_without_numbers_leaves_no_record() -> None:
    told = Rig()
    told.tell("attempt")
    assert [key for _shard, key, _value in told.driver.log[IN_FLIGHT.name]] == [INTENT]
    assert told.call().processor_data == {}


def test_a_crash_between_commit_and_call_leaves_the_authorization_unknown_and_never_called_again() -> None:
    told = rig()
    told.tell("attempt")
    first = told.call()
    restart(told)
    assert told.engine.running == []
    (result,) = told.results()
    assert (result.outcome, result.code) == ("unknown", Cause.restarted)
    assert result.processor_data == first.processor_data
    told.payment.give(result)
    told.tell("timer: ladder")
    assert told.payment.latest("authorization").processor_data == first.processor_data
    assert [order.kind for order in told.engine.orders] == [CallKind.authorize, CallKind.void]
    (void,) = told.engine.running
    assert own(void.asked) != own(first)
    document = message(void.asked).decode()
    assert document.startswith("0400")
    assert "0100" + own(first)[1] + own(first)[0] + "00000000001" in document


@pytest.mark.parametrize("called", [False, True])
def test_a_capture_is_repeated_after_a_crash_under_the_same_numbers(called: bool) -> None:
    told = rig()
    first = until_captured(told)
    if called:
        told.engine.finish(APPROVED)
    told.clock.advance(3_600.0)
    restart(told)
    (order,) = told.engine.running
    assert own(order.asked) == own(first)
    assert (message(first)[:4], message(order.asked)[:4]) == (b"0220", b"0221")
    assert message(order.asked)[4:] == message(first)[4:]
    assert "A1B2C3" in message(first).decode()


def test_a_repeat_that_reconciliation_asks_for_has_the_same_numbers() -> None:
    told = rig()
    first = until_captured(told)
    told.answer(unknown())
    hear(told)
    assert told.payment.latest("capture").processor_data.items() >= dict(zip(OWN, own(first), strict=True)).items()
    told.clock.advance(600.0)
    told.tell("timer: ladder of capture")
    restart(told)
    (order,) = told.engine.running
    assert message(order.asked) == b"0221" + message(first)[4:]
    assert numbering(told).given == 2


def test_a_void_is_repeated_until_acknowledged_under_the_same_numbers() -> None:
    told = rig()
    told.tell("attempt")
    told.answer(unknown())
    hear(told)
    told.tell("timer: ladder")
    bodies = []
    for _ in range(3):
        (order,) = told.engine.running
        bodies.append(message(order.asked))
        told.answer(unknown())
        hear(told)
        told.tell("timer: ladder of void")
    assert [body[:4] for body in bodies] == [b"0400", b"0401", b"0401"]
    assert len({body[4:] for body in bodies}) == 1
    told.answer(Answer(outcome=APPROVED.outcome))
    hear(told)
    assert told.payment.latest("authorization").status is not TransactionStatus.succeeded
    assert told.payment.latest("void").status is TransactionStatus.succeeded


def test_what_was_not_sent_waits_with_its_numbers() -> None:
    told = rig()
    first = until_captured(told)
    told.answer(not_sent())
    assert not told.call().in_flight
    told.advance(120.0)
    (order,) = told.engine.running
    assert message(order.asked) == message(first)
    restart(told)
    assert numbering(told).given == 2


def test_a_fail_over_does_not_carry_the_numbers_of_the_first() -> None:
    told = rig(numbering="a")
    told.tell("attempt")
    first = own(told.call())
    told.answer(not_sent())
    (result,) = told.results()
    assert tuple(result.processor_data[name] for name in OWN) == first
    told.payment.give(result)
    told.tell()
    (order,) = told.engine.running
    assert (order.asked.processor, order.asked.processor_data) == ("b", {})
    both = rig(numbering="ab")
    both.tell("attempt")
    both.answer(not_sent())
    hear(both)
    (order,) = both.engine.running
    assert order.asked.processor == "b"
    assert own(order.asked)[2] == f"0{SHARD}0000000001"


def test_a_void_at_another_processor_knows_nothing_of_the_numbers_at_this_one() -> None:
    """The one that was failed over from approves after all: its void is about its own hold."""
    told = rig(numbering="b", payment=Payment(capture=CaptureMethod.manual))
    told.tell("attempt")
    told.answer(not_sent())
    hear(told)
    told.answer(APPROVED)
    hear(told)
    assert own_data(told, "authorization").keys() == {*OWN, "de4", "de38"}
    told.tell("authorization: approved by=a")
    (order,) = told.engine.running
    assert (order.kind, order.asked.processor, order.asked.processor_data) == (CallKind.void, "a", {})
    told.tell("void")
    (_, order) = told.engine.running
    assert order.asked.processor == "b"
    assert order.asked.processor_data["authorization.de38"] == "A1B2C3"


def own_data(told: Rig, kind: str) -> dict[str, str]:
    return dict(told.payment.latest(kind).processor_data)


def test_the_results_say_the_numbers_whatever_came_of_the_call() -> None:
    for answer in (APPROVED, unknown(), not_sent(), Answer(outcome=APPROVED.outcome.declined, code="card_declined")):
        told = rig()
        told.tell("attempt")
        expected = dict(told.call().processor_data)
        told.answer(answer)
        (result,) = told.results()
        assert expected.items() <= result.processor_data.items()
        assert not any(name.startswith("authorization.") for name in result.processor_data)


@pytest.mark.parametrize("seconds", [-86_400.0, -1.0, 0.0])
def test_a_clock_that_is_set_back_sets_no_transmission_time_back(seconds: float) -> None:
    told = rig()
    first = until_captured(told)
    told.answer(APPROVED)
    other = rig(payment=Payment(capture=CaptureMethod.manual))
    other.driver.log = told.driver.log
    other.crash()
    other.clock.at = START
    other.clock.advance(seconds)
    (event,) = [each for each in told.payment.events if each.type == "transaction.created"][:1]
    other.pipe(replace(event, sequence=100))
    (order,) = other.engine.running
    assert own(order.asked)[0] >= own(first)[0]
    assert own(order.asked)[1:] != own(first)[1:]


def test_a_numbering_that_is_none_stops_the_process() -> None:
    told = rig()
    told.tell("attempt")
    told.driver.log[IN_FLIGHT.name].append((SHARD, KEY, b"\x00\x00\x00\x00\x00"))
    with pytest.raises(UnreadableState, match=KEY):
        told.crash()


def test_a_restore_tells_numberings_from_payments() -> None:
    told = rig()
    told.tell("attempt")
    told.driver.log[IN_FLIGHT.name].append((0, "numbers-0", encode(Numbering(given=7, last_at=START))))
    restart(told)
    assert told.said() == [("authorize", "unknown", Cause.restarted)]
    assert told.calls() == ()
