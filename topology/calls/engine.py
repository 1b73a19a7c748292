"""Runs processor calls on an event loop in a thread of its own: orders in, finished calls out.

Driven by the sides of processing and reconciliation from the dataflow's thread. Thousands of calls run at once, one
task each; nothing here decides whether a call may be made. What finishes waits in `take` until the flow collects it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from schemas.identifiers import PaymentIntentId
from schemas.processing import CallKind, InFlightCall, Outcome
from topology.calls.metrics import count_call
from topology.processors.deadlines import Deadlines
from topology.processors.port import Answer, Call, Cause, Departure, Processor, boot_seconds

__all__ = ["CallEngine", "Engine", "FinishedCall", "Order"]

log = logging.getLogger("paystream.calls")

_END_SECONDS_MAX = 5.0
# Adapters keep the deadline themselves; one that does not must not hold its slot for ever.
_OVERDUE_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 0.5


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
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start the thread and open the processors; raises what they raise."""
        assert self._thread is None, "already running"
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name=self._name, daemon=True)
        self._thread.start()
        started.wait()
        if (failure := self._failure) is not None:
            self.close()
            raise RuntimeError(f"{self._name} did not start") from failure

    def submit(self, orders: Sequence[Order]) -> None:
        """Make these calls. One wake-up of the loop for all of them."""
        if orders:
            self._inbox.extend(orders)
            self._on_loop(self._begin)

    def take(self, limit: int) -> list[FinishedCall]:
        """What has finished; raises if the loop has died, because then nothing ever will."""
        self._check()
        taken: list[FinishedCall] = []
        while self._finished and len(taken) < limit:
            taken.append(self._finished.popleft())
        return taken

    def hold_back(self, cause: Cause) -> None:
        """Let nothing leave any more; orders that come later are not sent either."""
        self._on_loop(self._hold_back, cause)

    def close(self) -> None:
        """Abandon every call and end the thread."""
        if self._thread is None:
            return
        if self._failure is None:
            self._on_loop(self._abandon)
        self._thread.join(_END_SECONDS_MAX)
        if self._thread.is_alive():
            log.error("%s: the loop did not end in %.0f s", self._name, _END_SECONDS_MAX)
        self._thread = self._loop = self._end = self._failure = self._held_back = None
        self._inbox, self._finished = deque(), deque()

    # From here on: the loop's thread.

    def _run(self, started: threading.Event) -> None:
        try:
            # Not uvloop: it lets go of the GIL before each callback, and the dataflow's thread waits for it.
            asyncio.run(self._serve(started))
        except BaseException as error:
            log.exception("%s: the loop has died", self._name)
            self._failure = error
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._departures = {}
        self._deadlines = Deadlines(look_every_seconds=_LOOK_EVERY_SECONDS)
        try:
            for processor in self._processors.values():
                await processor.open()
            started.set()
            self._deadlines.open()
            await self._end.wait()
            tasks = list(self._departures)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await self._deadlines.close()
            for processor in self._processors.values():
                await processor.close()

    def _begin(self) -> None:
        while self._inbox:
            order = self._inbox.popleft()
            departure = Departure(boot_seconds=self._boot_seconds, send_before=order.send_before)
            if self._held_back is not None:
                departure.hold_back(self._held_back)
            task = asyncio.get_running_loop().create_task(self._make(order, departure))
            self._departures[task] = departure
            self._deadlines.add(task, order.deadline_seconds + _OVERDUE_SECONDS)

    def _hold_back(self, cause: Cause) -> None:
        self._held_back = cause
        for departure in self._departures.values():
            departure.hold_back(cause)

    def _abandon(self) -> None:
        self._hold_back(Cause.abandoned)
        assert self._end is not None
        self._end.set()

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

    # From here on: either thread.

    def _on_loop(self, function: Callable[..., None], *arguments: object) -> None:
        self._check()
        assert self._loop is not None, "not running"
        self._loop.call_soon_threadsafe(function, *arguments)

    def _check(self) -> None:
        if self._failure is not None:
            raise RuntimeError(f"the loop of {self._name} has died") from self._failure
