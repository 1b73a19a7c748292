"""What the API needs of the world: a log to hand commands to, replies, the ends of partitions, a read model.

The Kafka side is in `log`, `replies` and `read_index`, the read model in `sinks.postgres.reader`; tests have fakes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from typing import Protocol

from schemas.commands import CommandReply, PaymentCommand
from schemas.identifiers import CommandId, MerchantId, PaymentIntentId
from schemas.operations import Merchant
from schemas.payment import PaymentIntent
from schemas.times import Micros

__all__ = [
    "Clock",
    "CommandLog",
    "Delivery",
    "EventLog",
    "LookUp",
    "Merchants",
    "NotHandedOver",
    "ReadModel",
    "Reading",
    "ReplyTopic",
    "SystemClock",
    "Waiter",
]


class Delivery(Enum):
    """What became of a command that was given to the producer."""

    delivered = auto()
    never_sent = auto()
    """Provably no broker has it, and none will."""
    in_doubt = auto()
    """A broker may have it."""


class NotHandedOver(Exception):
    """The command was refused before the producer took it: no broker has it."""


class CommandLog(Protocol):
    """Where commands go."""

    def send(self, command: PaymentCommand) -> asyncio.Future[Delivery]:
        """Give a command to the producer; raises NotHandedOver at once where that is not possible."""
        ...

    def connected(self) -> bool:
        """Whether a broker was there a moment ago."""
        ...

    def clock_ahead_seconds(self) -> float:
        """By how much at least this process's clock is ahead of most brokers'; below zero: behind them."""
        ...


class Waiter:
    """The replies to one command that one request waits for.

    `at` is the time of the command, by which its replies are told from those to the same request asked before.
    `repeats`: another request waits for the same command's already, and what is heard is said to that one.
    `outcome_follows`: a second reply will come, since that one asked for it.
    """

    def __init__(
        self,
        command_id: CommandId,
        *,
        at: Micros | None = None,
        outcome_follows: bool = False,
        repeats: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.command_id = command_id
        self.at = at
        self.outcome_follows = outcome_follows
        self.repeats = repeats
        self.first: asyncio.Future[CommandReply] = loop.create_future()
        self.left_processing: asyncio.Future[CommandReply] = loop.create_future()


class ReplyTopic(Protocol):
    """Where replies come from."""

    @property
    def partition(self) -> int | None:
        """The partition to name in commands; None while replies would not be heard."""
        ...

    def expect(self, command_id: CommandId, *, wait: bool, at: Micros | None = None) -> Waiter:
        """Begin to wait for replies to a command of that time, before it is sent; `wait`: it asks for a second one."""
        ...

    def dismiss(self, waiter: Waiter) -> None:
        """No longer wait."""
        ...


class EventLog(Protocol):
    """The topic of events, of which only the ends are asked for."""

    @property
    def partitions(self) -> int | None:
        """How many partitions the topics keyed by intent have; None while that is not known."""
        ...

    async def ends(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """The offset after the last record of each partition, committed or not; None where no broker answered."""
        ...


class Reading(Protocol):
    """One PaymentIntent and how far the read model had come, from one statement."""

    @property
    def intent(self) -> PaymentIntent | None: ...

    @property
    def next_offset(self) -> int:
        """All events of the partition before this offset are in the read model."""
        ...


class Merchants(Protocol):
    """What merchant administration has said."""

    @property
    def ready(self) -> bool:
        """Whether all that was said is known here."""
        ...

    def find(self, merchant_id: MerchantId) -> Merchant | None:
        """What is on record of a merchant; None where nothing is."""
        ...


class LookUp(Protocol):
    """Several PaymentIntents and how far the read model had come in time."""

    @property
    def intents(self) -> Mapping[PaymentIntentId, PaymentIntent]: ...

    @property
    def watermarks(self) -> Mapping[int, Micros]:
        """By partition: all events up to that record time are in the read model."""
        ...


class ReadModel(Protocol):
    """The read model; the first two methods raise `sinks.postgres.errors.ReadModelUnavailable`."""

    async def look_up(self, ids: Sequence[PaymentIntentId], *, at: Micros) -> LookUp:
        """Those of the PaymentIntents that are known, and the watermarks, none of them later than `at`."""
        ...

    async def read(self, payment_intent_id: PaymentIntentId, *, partition: int) -> Reading:
        """One PaymentIntent with the progress of its partition."""
        ...

    async def ready(self) -> bool:
        """Whether a read would be answered now."""
        ...


class Clock(Protocol):
    """The time."""

    def now(self) -> Micros:
        """Microseconds since the epoch."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> Micros:
        return Micros(time.time_ns() // 1_000)
