"""Calls against a host on real connections: what leaves, how often, and what is made of what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.processing import CallKind, InFlightCall, Outcome
from tests.topology.processors.calls import departure, run
from tests.topology.processors.iso8583.calls import a_call, adapter, numbers, transaction_id
from tests.topology.processors.iso8583.host import Asked, hosting, nothing
from topology.processors import Answer, Call, Cause, Departure
from topology.processors.iso8583 import Iso8583Processor
from topology.processors.iso8583.metrics import UNMATCHED
from topology.processors.port import HeldBack

KINDS = [CallKind.authorize, CallKind.capture, CallKind.void]


async def make(processor: Iso8583Processor, call: Call, gate: Departure | None = None) -> Answer:
    method: Callable[[Call, Departure], Awaitable[Answer]] = getattr(processor, call.asked.call)
    return await method(call, gate or departure())


def unmatched(kind: str) -> float:
    return float(UNMATCHED.labels("isonet", kind)._value.get())


@pytest.mark.parametrize(("kind", "mti"), list(zip(KINDS, ["0100", "0220", "0400"], strict=True)))
def test_each_kind_is_asked_and_answered(kind: CallKind, mti: str) -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            answer = await make(processor, a_call(kind, number=7))
            assert answer.outcome is Outcome.approved
            assert answer.processor_reference == numbers(7)["de37"]
            assert answer.amount_minor == (None if kind is CallKind.void else 1_999)
            assert answer.processor_data == ({"de38": "A1B2C3"} if kind is CallKind.authorize else {})
            assert host.types() == [mti]

    run(test())


@pytest.mark.parametrize("kind", KINDS)
def test_no_answer_is_unknown_at_the_deadline(kind: CallKind) -> None:
    async def test() -> None:
        async with hosting(nothing) as host, adapter(host.port) as processor:
            began = time.monotonic()
            answer = await make(processor, a_call(kind, deadline_seconds=0.2))
            assert (answer.outcome, answer.code) == (Outcome.unknown, Cause.timed_out)
            assert 0.2 <= time.monotonic() - began < 1.0
            assert len(host.asked) == 1

    run(test())


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_in_the_tick_of_the_deadline_is_taken(kind: CallKind) -> None:
    """Bytes that have come are read in the same turn of the loop in which the deadline is noticed."""

    async def just_in_time(asked: Asked) -> None:
        asked.answer()
        # Nothing else happens until the deadline has passed.
        time.sleep(0.3)

    async def test() -> None:
        async with hosting(just_in_time) as host, adapter(host.port) as processor:
            late = unmatched("late") + unmatched("nobody")
            answer = await make(processor, a_call(kind, deadline_seconds=0.2))
            assert answer.outcome is Outcome.approved
            assert answer.processor_data == ({"de38": "A1B2C3"} if kind is CallKind.authorize else {})
            assert unmatched("late") + unmatched("nobody") == late

    run(test())


def test_an_answer_on_another_connection_is_taken() -> None:
    async def elsewhere(asked: Asked) -> None:
        asked.answer(on=next(each for each in asked.host.connections if each is not asked.connection))

    async def test() -> None:
        async with hosting(elsewhere) as host, adapter(host.port, connections=3) as processor:
            await host.until(lambda: sum(each.signed_on for each in host.connections) == 3)
            answers = await asyncio.gather(*(make(processor, a_call(number=number)) for number in range(1, 7)))
            assert {answer.outcome for answer in answers} == {Outcome.approved}
            assert len({id(asked.connection) for asked in host.asked}) > 1

    run(test())


def test_a_connection_that_breaks_ends_no_wait() -> None:
    """The host answers on the connection that is opened in its place."""

    async def test() -> None:
        async with hosting(nothing) as host, adapter(host.port) as processor:
            call = asyncio.create_task(make(processor, a_call(CallKind.capture)))
            await host.until(lambda: host.asked)
            host.asked[0].connection.reset()
            await host.until_accepted(2)
            await host.until(lambda: len(host.connections) == 1 and host.connections[0].signed_on)
            host.asked[0].answer(on=host.connections[0])
            assert (await call).outcome is Outcome.approved
            assert len(host.asked) == 1

    run(test())


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_after_the_write_is_unknown_and_written_once(kind: CallKind) -> None:
    async def reset(asked: Asked) -> None:
        asked.connection.reset()

    async def test() -> None:
        async with hosting(reset) as host, adapter(host.port, connections=2) as processor:
            gate = departure()
            answer = await make(processor, a_call(kind, deadline_seconds=0.5), gate)
            assert (answer.outcome, answer.code) == (Outcome.unknown, Cause.connection_broken)
            assert gate.left
            assert len(host.asked) == 1

    run(test())


def test_a_late_answer_only_supplies_the_approval_code_of_the_reversal() -> None:
    async def test() -> None:
        async with hosting(nothing) as host, adapter(host.port) as processor:
            late = unmatched("late")
            answer = await make(processor, a_call(number=1, deadline_seconds=0.1))
            assert answer.outcome is Outcome.unknown
            host.asked[0].answer()
            await host.until(lambda: unmatched("late") == late + 1)
            await make(processor, a_call(CallKind.void, number=2, authorization=1, deadline_seconds=0.1))
            await make(processor, a_call(CallKind.void, number=3, authorization=9, deadline_seconds=0.1))
            assert [asked.document.get("38") for asked in host.asked] == [None, "A1B2C3", None]

    run(test())


@pytest.mark.parametrize("code", ["05", "09", "96"])
def test_a_late_answer_that_approves_nothing_supplies_nothing(code: str) -> None:
    async def test() -> None:
        async with hosting(nothing) as host, adapter(host.port) as processor:
            late = unmatched("late")
            await make(processor, a_call(number=1, deadline_seconds=0.1))
            host.asked[0].answer(code, de38="A1B2C3")
            await host.until(lambda: unmatched("late") == late + 1)
            await make(processor, a_call(CallKind.void, number=2, authorization=1, deadline_seconds=0.1))
            assert "38" not in host.asked[1].document

    run(test())


def test_an_answer_that_comes_twice_is_dropped_the_second_time() -> None:
    async def twice(asked: Asked) -> None:
        asked.answer()
        asked.answer("05")

    async def test() -> None:
        async with hosting(twice) as host, adapter(host.port) as processor:
            nobody = unmatched("nobody")
            for number in range(1, 4):
                assert (await make(processor, a_call(number=number))).outcome is Outcome.approved
            await host.until(lambda: unmatched("nobody") == nobody + 3)
            assert host.accepted == 1

    run(test())


@pytest.mark.parametrize(
    "other", [{"de11": "999999"}, {"de7": "0101000000"}, {"de37": "0" * 12}, {"de41": "OTHERONE"}, {"de32": "77"}]
)
def test_an_answer_to_somebody_else_is_nobody_s(other: dict[str, Any]) -> None:
    async def first_another_s(asked: Asked) -> None:
        asked.answer("05", **other)
        asked.answer()

    async def test() -> None:
        async with hosting(first_another_s) as host, adapter(host.port) as processor:
            nobody = unmatched("nobody")
            assert (await make(processor, a_call())).outcome is Outcome.approved
            assert unmatched("nobody") == nobody + 1

    run(test())


def test_an_answer_of_another_type_is_not_the_answer() -> None:
    async def as_a_reversal(asked: Asked) -> None:
        asked.answer(t="0410")

    async def test() -> None:
        async with hosting(as_a_reversal) as host, adapter(host.port) as processor:
            answer = await make(processor, a_call(CallKind.capture, deadline_seconds=0.2))
            assert (answer.outcome, answer.code) == (Outcome.unknown, Cause.timed_out)

    run(test())


@pytest.mark.parametrize("again", [{"repeat": True}, {"restored": True}])
@pytest.mark.parametrize(("kind", "first", "repeat"), [("capture", "0220", "0221"), ("void", "0400", "0401")])
def test_a_repeat_differs_by_its_type_alone(kind: str, first: str, repeat: str, again: dict[str, Any]) -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            await make(processor, a_call(CallKind(kind), number=5))
        # Another process makes it again, some other day.
        async with hosting() as later, adapter(later.port) as processor:
            answer = await make(processor, a_call(CallKind(kind), number=5, **again))
        assert answer.outcome is Outcome.approved
        bodies = [host.asked[0].body, later.asked[0].body]
        assert [body[:4].decode() for body in bodies] == [first, repeat]
        assert bodies[0][4:] == bodies[1][4:]

    run(test())


@pytest.mark.parametrize("again", [{"repeat": True}, {"restored": True}])
def test_an_authorization_that_may_have_been_made_is_never_written(again: dict[str, Any]) -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            gate = departure()
            answer = await make(processor, a_call(**again), gate)
            assert (answer.outcome, answer.code) == (Outcome.not_sent, Cause.restarted)
            with pytest.raises(HeldBack):
                gate.leave()
            assert host.asked == []

    run(test())


def test_one_gate_lets_one_message_through() -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            gate = departure()
            assert (await make(processor, a_call(), gate)).outcome is Outcome.approved
            assert (await make(processor, a_call(), gate)).outcome is Outcome.unknown
            assert host.types() == ["0100"]

    run(test())


def test_what_is_held_back_is_not_sent() -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            answer = await make(processor, a_call(), departure(send_before=0.0))
            assert (answer.outcome, answer.code) == (Outcome.not_sent, Cause.send_before_passed)
            gate = departure()
            gate.hold_back(Cause.stopping)
            answer = await make(processor, a_call(CallKind.capture), gate)
            assert (answer.outcome, answer.code) == (Outcome.not_sent, Cause.stopping)
            assert host.asked == []

    run(test())


@pytest.mark.parametrize(
    ("entry", "outcome", "cause"),
    [
        (a_call(currency="zzz"), Outcome.not_sent, Cause.currency_not_representable),
        (a_call(amount_minor=10**12), Outcome.not_sent, Cause.amount_not_representable),
        (a_call(data={}), Outcome.not_sent, Cause.numbers_missing),
        (a_call(token="tok_ä"), Outcome.not_sent, Cause.adapter_failed),
        (a_call(CallKind.capture, data=numbers(1)), Outcome.unknown, Cause.numbers_missing),
        (a_call(CallKind.void, data={}), Outcome.unknown, Cause.numbers_missing),
    ],
)
def test_of_what_no_message_can_be_made_nothing_leaves(entry: Call, outcome: Outcome, cause: Cause) -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            gate = departure()
            answer = await make(processor, entry, gate)
            assert (answer.outcome, answer.code) == (outcome, cause)
            assert not gate.left
            with pytest.raises(HeldBack):
                gate.leave()
            assert host.asked == []

    run(test())


def test_more_than_may_wait_are_not_sent() -> None:
    async def test() -> None:
        async with hosting(nothing) as host, adapter(host.port, awaiting_max=2) as processor:
            calls = [a_call(number=number, deadline_seconds=0.3) for number in range(1, 6)]
            answers = await asyncio.gather(*(make(processor, call) for call in calls))
            assert [answer.code for answer in answers] == [Cause.timed_out] * 2 + [Cause.too_many_waiting] * 3
            assert len(host.asked) == 2
            assert (await make(processor, a_call(number=9, deadline_seconds=0.1))).code == Cause.timed_out

    run(test())


def test_a_call_that_is_abandoned_leaves_no_place_behind() -> None:
    async def test() -> None:
        async with hosting(nothing) as host, adapter(host.port, awaiting_max=1) as processor:
            call = asyncio.create_task(make(processor, a_call(number=1)))
            await host.until(lambda: host.asked)
            call.cancel()
            await asyncio.wait([call])
            answer = await make(processor, a_call(number=2, deadline_seconds=0.1))
            assert answer.code == Cause.timed_out

    run(test())


def test_a_thousand_calls_at_once_on_four_connections() -> None:
    async def after_a_while(asked: Asked) -> None:
        loop = asyncio.get_running_loop()
        connections = [each for each in asked.host.connections if each.signed_on]
        loop.call_later(0.2, lambda: asked.answer(on=connections[len(asked.host.asked) % len(connections)]))

    async def test() -> None:
        async with hosting(after_a_while) as host, adapter(host.port, connections=4) as processor:
            await host.until(lambda: sum(each.signed_on for each in host.connections) == 4)
            calls = [a_call(number=number, amount_minor=number) for number in range(1, 1_001)]
            answers = await asyncio.gather(*(make(processor, call) for call in calls))
            assert [answer.outcome for answer in answers] == [Outcome.approved] * 1_000
            assert [answer.amount_minor for answer in answers] == list(range(1, 1_001))
            assert sorted(asked.document["62"] for asked in host.asked) == [transaction_id(n) for n in range(1, 1_001)]
            shares = [sum(asked.connection is each for asked in host.asked) for each in host.connections]
            assert min(shares) > 200

    run(test())


def test_the_answer_carries_nothing_that_is_not_ours() -> None:
    """A host that puts card data into fields of its answer does not get them into our records."""
    canary = "4242424242424242"

    async def leaking(asked: Asked) -> None:
        asked.answer("05", de2=canary, de35=canary, de44=canary, de48=canary, de63=canary)

    async def test() -> None:
        async with hosting(leaking) as host, adapter(host.port) as processor:
            answer = await make(processor, a_call())
            assert answer.outcome is Outcome.declined
            assert canary not in repr(answer)
            assert "tok_visa" not in repr(answer)
            assert host.types() == ["0100"]

    run(test())


def test_a_late_answer_is_remembered_by_the_process_that_had_asked_only() -> None:
    """A void after a restart does without DE 38; all that names the authorization is on record."""

    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            await make(processor, a_call(CallKind.void, number=2, authorization=1, repeat=True))
            document: dict[str, Any] = host.asked[0].document
            assert "38" not in document
            assert document["90"].startswith("0100" + numbers(1)["de11"] + numbers(1)["de7"])

    run(test())


def test_lookups_are_not_promised_and_not_made() -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            capabilities = processor.capabilities
            assert not capabilities.lookup
            assert capabilities.deduplicates == frozenset({CallKind.capture, CallKind.void})
            call = a_call()
            asked: InFlightCall = replace(call.asked, call=CallKind.authorize)
            answer = await processor.lookup(
                Call(payment_intent_id=call.payment_intent_id, asked=asked, deadline_seconds=1.0), departure()
            )
            assert answer.outcome is Outcome.not_sent
            assert host.asked == []

    run(test())
