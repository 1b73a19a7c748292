"""Runs processor calls on an event loop in the dataflow's thread: orders in, finished calls out.

Driven by the sides of processing and reconciliation. Thousands of calls run at once, one task each; they go on in
`work`, for which the flow gives the time that it would wait in, and a moment of each epoch. Nothing here decides
whether a call may be made. What finishes waits in `take` until the flow collects it.

A thread for the loop would gain nothing, for the two would take turns under one interpreter lock, and lose much: a
thread that lets go of the lock for each read and write gets it back only when the other one is made to let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from msgspec import Struct

from schemas.identifiers import PaymentIntentId
from schemas.processing import CallKind, InFlightCall, Outcome
from topology.calls.metrics import count_call
from topology.processors.deadlines import Deadlines
from topology.processors.port import Answer, Call, Cause, Departure, Processor, boot_seconds

__all__ = ["CallEngine", "Engine", "FinishedCall", "Order"]

log = logging.getLogger("paystream.calls")

_END_SECONDS_MAX = 2.5
# Adapters keep the deadline themselves; one that does not must not hold its slot for ever.
_OVERDUE_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 0.5
# As many rounds of the loop as a call needs from its order to its write, or from its answer's bytes to its end.
_ROUNDS = 5


class Order(Struct, frozen=True, kw_only=True):
    """A call that is to be made now. `kind` is lookup for a look-up; `asked.call` is then what is looked up."""

    payment_intent_id: PaymentIntentId
    partition: int
    asked: InFlightCall
    kind: CallKind
    deadline_seconds: float
    send_before: float | None = None


class FinishedCall(Struct, frozen=True):
    """A call that has ended, whatever came of it."""

    order: Order
    answer: Answer


class Engine(Protocol):
    """What the sides need of an engine; tests drive the flows with one that calls nobody."""

    def start(self) -> None:
        """Be ready for orders."""

    def submit(self, orders: Sequence[Order]) -> None:
        """Make these calls."""

    def work(self, seconds: float | None, until: Future[None] | None = None) -> None:
        """Go on with all calls. See `topology.kafka.Side.work`."""

    def take(self, limit: int) -> list[FinishedCall]:
        """What has finished since the last call, oldest first."""

    def hold_back(self, cause: Cause) -> None:
        """Let nothing leave any more that has not left; those calls finish as not sent."""

    def close(self) -> None:
        """Abandon every call; nothing leaves after this returns."""


class CallEngine:
    """The engine on asyncio. Started and closed once per run of a flow; may be started again after that."""

    def __init__(
        self, processors: Sequence[Processor], *, boot_seconds: Callable[[], float] = boot_seconds, name: str = "calls"
    ) -> None:
        self._processors = {processor.name: processor for processor in processors}
        self._boot_seconds = boot_seconds
        self._name = name
        self._inbox: deque[Order] = deque()
        self._finished: deque[FinishedCall] = deque()
        self._departures: dict[asyncio.Task[None], Departure] = {}
        self._deadlines = Deadlines(look_every_seconds=_LOOK_EVERY_SECONDS)
        self._held_back: Cause | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._until: Future[None] | None = None
        self._until_done = asyncio.Event()

    def start(self) -> None:
        """Open the processors; raises what they raise."""
        assert self._loop is None, "already running"
        # Not uvloop: it writes to sockets at the end of a round, and what has passed its gate has to leave at once.
        self._loop = asyncio.SelectorEventLoop()
        try:
            self._run(self._open())
        except BaseException:
            self.close()
            raise

    def submit(self, orders: Sequence[Order]) -> None:
        """Make these calls, from the next `work` on."""
        assert self._loop is not None, "not running"
        self._inbox.extend(orders)

    def work(self, seconds: float | None, until: Future[None] | None = None) -> None:
        """Go on with all calls; wait for what is `until`, or else for the end of one, if any are under way."""
        if self._loop is not None:
            self._run(self._work(seconds, until))

    def take(self, limit: int) -> list[FinishedCall]:
        """What has finished."""
        return [self._finished.popleft() for _ in range(min(limit, len(self._finished)))]

    def hold_back(self, cause: Cause) -> None:
        """Let nothing leave any more; orders that come later are not sent either."""
        self._held_back = cause
        for departure in self._departures.values():
            departure.hold_back(cause)
        not_begun = Answer(outcome=Outcome.not_sent, code=cause)
        self._finished.extend(FinishedCall(order, not_begun) for order in self._inbox)
        self._inbox.clear()

    def close(self) -> None:
        """Abandon every call."""
        if self._loop is None:
            return
        self.hold_back(Cause.abandoned)
        try:
            self._run(self._end())
        finally:
            self._loop.close()
            self._loop = self._held_back = self._until = None
            self._inbox, self._finished = deque(), deque()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        self._loop.run_until_complete(coroutine)

    async def _open(self) -> None:
        self._departures, self._ended = {}, asyncio.Event()
        self._deadlines = Deadlines(look_every_seconds=_LOOK_EVERY_SECONDS)
        self._deadlines.open()
        for processor in self._processors.values():
            await processor.open()

    async def _work(self, seconds: float | None, until: Future[None] | None) -> None:
        # First what lies on the connections: a call shall not be written to one that the other side has closed.
        await asyncio.sleep(0)
        self._begin()
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        if seconds == 0:
            return
        if until is not None:
            await _wait_for(self._told_of(until), seconds)
        elif self._departures and not self._finished:
            self._ended.clear()
            await _wait_for(self._ended, seconds)

    def _begin(self) -> None:
        while self._inbox:
            order = self._inbox.popleft()
            departure = Departure(boot_seconds=self._boot_seconds, send_before=order.send_before)
            if self._held_back is not None:
                departure.hold_back(self._held_back)
            task = asyncio.get_running_loop().create_task(self._make(order, departure))
            self._departures[task] = departure
            self._deadlines.add(task, order.deadline_seconds + _OVERDUE_SECONDS)

    def _told_of(self, until: Future[None]) -> asyncio.Event:
        """The event of what is waited for, which may be asked for many times."""
        if until is not self._until:
            self._until, self._until_done = until, asyncio.Event()
            loop, done = asyncio.get_running_loop(), self._until_done
            until.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
        return self._until_done

    async def _end(self) -> None:
        calls = list(self._departures)
        for call in calls:
            call.cancel()
        await self._wait_for_the_end_of(calls)
        closing = [self._deadlines.close(), *(processor.close() for processor in self._processors.values())]
        await self._wait_for_the_end_of([asyncio.ensure_future(each) for each in closing])

    async def _wait_for_the_end_of(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        if not tasks:
            return
        done, pending = await asyncio.wait(tasks, timeout=_END_SECONDS_MAX)
        if pending:
            log.error("%s: %d did not end in %.1f s", self._name, len(pending), _END_SECONDS_MAX)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("%s: did not end well", self._name, exc_info=error)

    async def _make(self, order: Order, departure: Departure) -> None:
        name, started = order.asked.processor, time.monotonic()
        task = asyncio.current_task()
        assert task is not None
        try:
            answer = await self._answer(order, departure, task)
        finally:
            del self._departures[task]
            self._deadlines.discard(task)
        nothing_learnt = answer.outcome in (Outcome.not_sent, Outcome.unknown)
        count_call(
            name,
            order.kind,
            answer.outcome,
            code=answer.code or "" if nothing_learnt else "",
            seconds=time.monotonic() - started,
        )
        self._finished.append(FinishedCall(order, answer))
        self._ended.set()

    async def _answer(self, order: Order, departure: Departure, task: asyncio.Task[None]) -> Answer:
        processor = self._processors.get(order.asked.processor)
        if processor is None:
            missing = Cause.processor_not_configured
            return departure.nothing_learnt(not_sent=missing, unknown=missing)
        call = Call(
            payment_intent_id=order.payment_intent_id, asked=order.asked, deadline_seconds=order.deadline_seconds
        )
        method = {
            CallKind.authorize: processor.authorize,
            CallKind.capture: processor.capture,
            CallKind.void: processor.void,
            CallKind.lookup: processor.lookup,
        }[order.kind]
        failed = Cause.adapter_failed
        try:
            answer = await method(call, departure)
        except asyncio.CancelledError:
            if not self._deadlines.has_cancelled(task) or task.uncancel():
                raise
            return departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.timed_out)
        except Exception:
            # A bug in an adapter must not lose the call: what it did before it failed is known from the gate.
            log.exception("%s: the adapter of %s failed", self._name, order.asked.processor)
            return departure.nothing_learnt(not_sent=failed, unknown=failed)
        if answer.outcome is Outcome.not_sent and not departure.hold_back(failed):
            log.error("%s: the adapter of %s says not sent of what it sent", self._name, order.asked.processor)
            return Answer(outcome=Outcome.unknown, code=failed)
        return answer


async def _wait_for(event: asyncio.Event, seconds: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
