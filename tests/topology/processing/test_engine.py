"""The engine: many calls at once on one loop, none of them lost, whatever an adapter does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from unittest import mock

import pytest

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.processing import CallKind, InFlightCall, Outcome
from topology.calls import engine as engine_module
from topology.calls.engine import CallEngine, FinishedCall, Order
from topology.processors import Answer, Call, Capabilities, Cause, Departure, HeldBack, Lease

Behaviour = Callable[[Call, Departure], Awaitable[Answer]]

APPROVED = Answer(outcome=Outcome.approved)


class Scripted:
    """A processor that does what the test says."""

    def __init__(self, name: str, behave: Behaviour) -> None:
        self.name = name
        self.capabilities = Capabilities()
        self.opened = 0
        self.closed = 0
        self._behave = behave

    def prepare(self, asked: InFlightCall, lease: Lease) -> Mapping[str, str]:
        return {}

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def authorize(self, call: Call, departure: Departure) -> Answer:
        return await self._behave(call, departure)

    capture = void = authorize

    async def lookup(self, call: Call, departure: Departure) -> Answer:
        return Answer(outcome=Outcome.not_found)


def order(
    number: int = 1, *, processor: str = "a", kind: CallKind = CallKind.authorize, deadline_seconds: float = 5.0
) -> Order:
    asked = InFlightCall(
        transaction_id=TransactionId(f"tx_{number:032x}"),
        call=CallKind.authorize,
        processor=processor,
        in_flight=True,
        amount_minor=1,
        currency="usd",
        sequence=1,
    )
    return Order(
        payment_intent_id=PaymentIntentId(f"pi_{number:032x}"),
        partition=0,
        asked=asked,
        kind=kind,
        deadline_seconds=deadline_seconds,
    )


Start = Callable[..., CallEngine]


@pytest.fixture
def start() -> Iterator[Start]:
    engines: list[CallEngine] = []

    def starting(*processors: Scripted) -> CallEngine:
        engines.append(CallEngine(processors))
        engines[-1].start()
        return engines[-1]

    yield starting
    for engine in engines:
        engine.close()


def wait_for(engine: CallEngine, count: int, *, seconds: float = 5.0) -> list[FinishedCall]:
    finished: list[FinishedCall] = []
    until = time.monotonic() + seconds
    while len(finished) < count and time.monotonic() < until:
        engine.work(0.05)
        finished.extend(engine.take(1_000))
    return finished


def work_for(engine: CallEngine, seconds: float) -> None:
    """Whether calls end meanwhile or not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        engine.work(0.005)


async def approve(_call: Call, departure: Departure) -> Answer:
    departure.leave()
    return APPROVED


def approve_after(seconds: float) -> Behaviour:
    async def approve_then(_call: Call, departure: Departure) -> Answer:
        departure.leave()
        await asyncio.sleep(seconds)
        return APPROVED

    return approve_then


def test_thousands_at_once(start: Start) -> None:
    engine = start(Scripted("a", approve_after(0.2)))
    engine.submit([order(number) for number in range(3_000)])
    finished = wait_for(engine, 3_000)
    assert len({each.order.asked.transaction_id for each in finished}) == 3_000
    assert {each.answer.outcome for each in finished} == {Outcome.approved}


def test_a_slow_processor_holds_up_no_other(start: Start) -> None:
    engine = start(Scripted("slow", approve_after(60.0)), Scripted("a", approve))
    engine.submit([order(number, processor="slow") for number in range(100)])
    engine.submit([order(1_000)])
    (finished,) = wait_for(engine, 1)
    assert finished.order.asked.processor == "a"


def test_look_ups_and_processors_that_are_not_there(start: Start) -> None:
    engine = start(Scripted("a", approve))
    engine.submit([order(1, kind=CallKind.lookup), order(2, processor="gone")])
    outcomes = {each.order.asked.processor: each.answer for each in wait_for(engine, 2)}
    assert outcomes["a"].outcome is Outcome.not_found
    assert outcomes["gone"] == Answer(outcome=Outcome.not_sent, code=Cause.processor_not_configured)


async def fail_before(_call: Call, _departure: Departure) -> Answer:
    raise RuntimeError("a bug")


async def fail_after(_call: Call, departure: Departure) -> Answer:
    departure.leave()
    raise RuntimeError("a bug")


async def lie(_call: Call, departure: Departure) -> Answer:
    departure.leave()
    return Answer(outcome=Outcome.not_sent, code=Cause.no_connection)


@pytest.mark.parametrize(
    ("behave", "outcome", "cause"),
    [
        (fail_before, Outcome.not_sent, Cause.adapter_failed),
        (fail_after, Outcome.unknown, Cause.adapter_failed),
        (lie, Outcome.unknown, Cause.adapter_failed),
        (approve_after(60.0), Outcome.unknown, Cause.timed_out),
    ],
)
def test_an_adapter_that_breaks_its_word_loses_no_call(
    start: Start, monkeypatch: pytest.MonkeyPatch, behave: Behaviour, outcome: Outcome, cause: Cause
) -> None:
    monkeypatch.setattr(engine_module, "_OVERDUE_SECONDS", 0.05)
    engine = start(Scripted("a", behave))
    engine.submit([order(deadline_seconds=0.05)])
    (finished,) = wait_for(engine, 1)
    assert finished.answer == Answer(outcome=outcome, code=cause)


def test_hold_back_what_has_not_left(start: Start) -> None:
    async def leave_late(call: Call, departure: Departure) -> Answer:
        early = int(call.asked.transaction_id[3:], 16) == 1
        if early:
            departure.leave()
        await asyncio.sleep(0.2)
        try:
            if not early:
                departure.leave()
        except HeldBack:
            return departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.timed_out)
        return APPROVED

    engine = start(Scripted("a", leave_late))
    engine.submit([order(1), order(2)])
    work_for(engine, 0.05)
    engine.submit([order(4)])
    engine.hold_back(Cause.stopping)
    assert engine.take(10) == [FinishedCall(order(4), Answer(outcome=Outcome.not_sent, code=Cause.stopping))]
    engine.submit([order(3)])
    answers = {each.order.payment_intent_id[-1]: each.answer for each in wait_for(engine, 3)}
    assert answers["1"] == APPROVED
    assert answers["2"] == answers["3"] == Answer(outcome=Outcome.not_sent, code=Cause.stopping)


def test_nothing_leaves_after_close() -> None:
    left: list[str] = []

    async def leave_later(call: Call, departure: Departure) -> Answer:
        await asyncio.sleep(0.1)
        departure.leave()
        left.append(call.payment_intent_id)
        return APPROVED

    processor = Scripted("a", leave_later)
    engine = CallEngine([processor])
    engine.start()
    engine.submit([order(number) for number in range(10)])
    work_for(engine, 0.02)
    engine.close()
    assert processor.closed == 1
    engine.work(0.15)
    assert left == []
    assert engine.take(10) == []
    engine.close()


def test_an_engine_may_be_started_again() -> None:
    processor = Scripted("a", approve)
    engine = CallEngine([processor])
    for round_number in range(2):
        engine.start()
        engine.submit([order(round_number)])
        assert len(wait_for(engine, 1)) == 1
        engine.close()
    assert (processor.opened, processor.closed) == (2, 2)


def test_a_processor_that_does_not_open() -> None:
    class Broken(Scripted):
        async def open(self) -> None:
            raise OSError("no certificate")

    engine = CallEngine([Broken("a", approve)])
    for _ in range(2):
        with pytest.raises(OSError, match="no certificate"):
            engine.start()
    engine.close()


def test_it_waits_for_what_it_is_given_and_goes_on_meanwhile(start: Start) -> None:
    engine = start(Scripted("a", approve_after(0.05)))
    engine.submit([order(1)])
    awaited: Future[None] = Future()
    threading.Timer(0.15, awaited.set_result, [None]).start()
    began = time.monotonic()
    engine.work(5.0, awaited)
    assert awaited.done()
    assert time.monotonic() - began < 2.0, "it comes back once that is done"
    assert len(engine.take(10)) == 1
    began = time.monotonic()
    engine.work(0.05, Future())
    assert 0.05 <= time.monotonic() - began < 1.0, "no longer than it may"
    engine.work(None, awaited)


def test_without_anything_to_await_it_is_the_end_of_a_call(start: Start) -> None:
    engine = start(Scripted("a", approve_after(0.05)))
    engine.work(60.0)
    engine.submit([order(1)])
    engine.work(60.0)
    engine.work(60.0)
    assert len(engine.take(10)) == 1


def test_at_once_a_call_gets_as_far_as_it_can_without_waiting(start: Start) -> None:
    """From its order to its write, and from its answer to its end: an epoch gives it no more time than that."""
    engine = start(Scripted("a", approve))
    engine.submit([order(1)])
    engine.work(0)
    assert len(engine.take(10)) == 1


def test_an_engine_that_was_not_started_has_nothing_to_do() -> None:
    CallEngine([Scripted("a", approve)]).work(60.0)


def test_what_is_awaited_is_told_of_once_however_often_it_is_waited_for(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start(Scripted("a", approve))
    awaited: Future[None] = Future()
    with mock.patch.object(awaited, "add_done_callback", wraps=awaited.add_done_callback) as add:
        for _ in range(20):
            engine.work(0.001, awaited)
    assert add.call_count == 1
    awaited.set_exception(OSError("the commit failed"))
    engine.work(5.0, awaited)
    gc.collect()
    assert not caplog.records


def test_a_connection_that_was_closed_meanwhile_is_known_to_be_before_a_call_is_made(start: Start) -> None:
    class Connected(Scripted, asyncio.Protocol):
        is_lost = False

        async def open(self) -> None:
            await asyncio.get_running_loop().create_connection(lambda: self, sock=ours)

        def connection_lost(self, _error: Exception | None) -> None:
            self.is_lost = True

    async def say(_call: Call, departure: Departure) -> Answer:
        return Answer(outcome=Outcome.declined if processor.is_lost else Outcome.approved)

    ours, theirs = socket.socketpair()
    processor = Connected("a", say)
    engine = start(processor)
    theirs.close()
    engine.submit([order(1)])
    engine.work(0)
    (finished,) = engine.take(10)
    assert finished.answer.outcome is Outcome.declined


def test_it_ends_although_an_adapter_does_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_module, "_END_SECONDS_MAX", 0.1)

    class Failing(Scripted):
        async def close(self) -> None:
            raise OSError("no goodbye")

    async def hold_on(_call: Call, departure: Departure) -> Answer:
        while not over:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return APPROVED

    over = False
    failing, other = Failing("a", hold_on), Scripted("b", approve)
    engine = CallEngine([failing, other])
    engine.start()
    engine.submit([order(1)])
    engine.work(0)
    with mock.patch.object(asyncio.SelectorEventLoop, "close"):
        # The loop stays, so that what would not end can be ended here.
        loop = engine._loop
        engine.close()
    assert [record.getMessage() for record in caplog.records] == [
        "calls: 1 did not end in 0.1 s",
        "calls: did not end well",
    ]
    assert other.closed == 1
    over = True
    assert loop is not None
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    engine.start()
    engine.close()
