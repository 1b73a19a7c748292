"""A command and its answer: hand it to the log, wait for the reply, tell doubt from what surely was not done.

The reply comes once the command's outcome is committed, and a second one when the PaymentIntent next leaves processing,
where the command asked for that. No reply within the time says nothing about the command.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from ingress.ports import CommandLog, Delivery, EventLog, NotHandedOver, ReplyTopic, Waiter
from ingress.problems import Problem
from schemas.commands import CommandReply, PaymentCommand
from schemas.partitioner import partition
from schemas.payment import PaymentIntentStatus

__all__ = ["Deadline", "Exchange"]


class Deadline:
    """When a client has waited long enough."""

    def __init__(self, *, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._at = loop.time() + seconds
        self._passed: asyncio.Future[None] = loop.create_future()

    def remaining_seconds(self) -> float:
        """The seconds that are left, 0 when it has passed."""
        return 0.0 if self._passed.done() else max(0.0, self._at - asyncio.get_running_loop().time())

    def pass_now(self) -> None:
        """Let it have passed."""
        if not self._passed.done():
            self._passed.set_result(None)

    async def wait_for_any(self, *futures: asyncio.Future[Any]) -> None:
        """Wait until one of the futures is done, or the deadline has passed."""
        any_of: set[asyncio.Future[Any]] = {*futures, self._passed}
        await asyncio.wait(any_of, timeout=self.remaining_seconds(), return_when=asyncio.FIRST_COMPLETED)


class Exchange:
    """Hands commands over and waits for their replies."""

    def __init__(self, *, log: CommandLog, replies: ReplyTopic, events: EventLog) -> None:
        self._log = log
        self._replies = replies
        self._events = events
        self._answered_at: dict[int, float] = {}
        # A request may wait for something else once it has its reply.
        self._deadlines: weakref.WeakSet[Deadline] = weakref.WeakSet()
        self._hurries = False

    def answered_seconds_ago(self, shard: int) -> float:
        """How long ago a command of that partition was last answered."""
        return asyncio.get_running_loop().time() - self._answered_at.get(shard, float("-inf"))

    def reply_partition(self) -> int:
        """The partition to name in a command; raises the 503 Problem while a reply would not be heard."""
        number = self._replies.partition
        if number is None:
            raise Problem.unavailable("not_ready", "The log has not been reached yet.")
        return number

    async def ask(self, command: PaymentCommand, deadline: Deadline) -> CommandReply | None:
        """The reply to answer the client with, or None where there is none in time or delivery is in doubt.

        With `command.wait` it is one that shows the intent when it has left processing. Raises the 503 Problem for a
        command that no broker has.
        """
        waiter = self._replies.expect(command.id, wait=command.wait, at=command.at)
        self._deadlines.add(deadline)
        if self._hurries:
            deadline.pass_now()
        try:
            first = await self._first(waiter, self._send(command), deadline)
            if first is None:
                return None
            self._note_answer(first)
            if not command.wait or not waiter.outcome_follows or not _is_processing(first):
                return first
            return await _within(waiter.left_processing, deadline)
        finally:
            self._replies.dismiss(waiter)

    async def tell(self, command: PaymentCommand) -> None:
        """Hand a command over whose reply nobody awaits; raises the 503 Problem where no broker has it."""
        if await self._send(command) is Delivery.never_sent:
            raise _not_handed_over()

    def hurry(self) -> None:
        """The process is about to end: who waits for a reply has waited long enough, and who comes does not wait."""
        self._hurries = True
        for deadline in self._deadlines:
            deadline.pass_now()

    def _send(self, command: PaymentCommand) -> asyncio.Future[Delivery]:
        try:
            return self._log.send(command)
        except NotHandedOver:
            raise _not_handed_over() from None

    async def _first(
        self, waiter: Waiter, delivery: asyncio.Future[Delivery], deadline: Deadline
    ) -> CommandReply | None:
        await deadline.wait_for_any(waiter.first, delivery)
        if not waiter.first.done() and delivery.done():
            match delivery.result():
                case Delivery.never_sent:
                    raise _not_handed_over()
                case Delivery.in_doubt:
                    return None
                case Delivery.delivered:
                    return await _within(waiter.first, deadline)
        return waiter.first.result() if waiter.first.done() else None

    def _note_answer(self, reply: CommandReply) -> None:
        if self._events.partitions is not None:
            shard = partition(reply.payment_intent_id, self._events.partitions)
            self._answered_at[shard] = asyncio.get_running_loop().time()


def _is_processing(reply: CommandReply) -> bool:
    """Whether the reply shows a PaymentIntent that is still being processed."""
    intent = reply.payment_intent
    return reply.refusal is None and intent is not None and intent.status is PaymentIntentStatus.processing


async def _within(future: asyncio.Future[CommandReply], deadline: Deadline) -> CommandReply | None:
    await deadline.wait_for_any(future)
    return future.result() if future.done() else None


def _not_handed_over() -> Problem:
    return Problem.unavailable("log_unavailable", "The request was not taken on; nothing was done.")
