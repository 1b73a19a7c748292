"""Reads the read model: payments, and how far it has come, in one statement and so of one moment.

Driven by ingress, from one event loop; writes nothing. Every question is answered or refused within its time-out,
whatever PostgreSQL does: gone, restarting, stopped, or silent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from schemas.identifiers import PaymentIntentId
from schemas.payment import PaymentIntent
from schemas.times import Micros
from schemas.topics import EVENTS
from sinks.postgres.columns import PAYMENT_INTENT_JSON, micros_of
from sinks.postgres.connections import conninfo, session
from sinks.postgres.errors import ReadModelUnavailable
from sinks.postgres.text import restored_json

__all__ = ["READ", "LookUp", "ReadModel", "Reading"]

log = logging.getLogger("paystream.read_model")

Row = tuple[Any, ...]

# The slim table first, then the one month that it names. Without OFFSET 0, which keeps the two from being planned as
# one join, the planner may look for the id in every month and compare the months afterwards.
_BY_ID = SQL(
    "FROM payment_intent_ids AS known CROSS JOIN LATERAL (SELECT * FROM payment_intents"
    " WHERE id = known.id AND created_at = known.created_at OFFSET 0) AS intent"
)
_LOOK_UP = (
    SQL(
        "SELECT (SELECT coalesce(json_object_agg(partition, {watermark}), '{{}}')::text"
        " FROM read_model_progress WHERE topic = %(topic)s),"
        " (SELECT coalesce(json_agg({intent}), '[]')::text {by_id} WHERE known.id = ANY(%(ids)s))"
    )
    .format(watermark=micros_of(Identifier("watermark")), intent=PAYMENT_INTENT_JSON, by_id=_BY_ID)
    .as_string()
)
READ = (
    SQL(
        "SELECT (SELECT next_offset FROM read_model_progress WHERE topic = %(topic)s AND partition = %(partition)s),"
        " (SELECT {intent}::text {by_id} WHERE known.id = %(id)s)"
    )
    .format(intent=PAYMENT_INTENT_JSON, by_id=_BY_ID)
    .as_string()
)
_READY = "SELECT count(*) FROM read_model_progress WHERE topic = %(topic)s"

_INTENT = msgspec.json.Decoder(PaymentIntent)
_INTENTS = msgspec.json.Decoder(list[PaymentIntent])
_WATERMARKS = msgspec.json.Decoder(dict[int, int])

# A pool that gives up a connection makes another on demand, so giving up early is what keeps recovery quick: its
# delays between attempts double.
_RECONNECT_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A payment, and the offset up to which its partition had been read at that moment. 0: nothing was read yet."""

    intent: PaymentIntent | None
    next_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """Those of the payments asked for that exist, and each partition's watermark at that moment.

    All events up to the watermark (record time) were in the read model. A partition without one was never read.
    """

    intents: Mapping[PaymentIntentId, PaymentIntent]
    watermarks: Mapping[int, Micros] = field(default_factory=dict)


class ReadModel:
    """A pool of connections that only read. `open()` does not wait for PostgreSQL, and nothing has to be reopened."""

    def __init__(
        self, uri: str, *, topic: str = EVENTS.name, connections_max: int = 8, timeout_seconds: float = 2.0
    ) -> None:
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._left_behind: set[asyncio.Task[Row]] = set()
        self._pool = AsyncConnectionPool(
            conninfo(uri, application="paystream-read"),
            kwargs={"autocommit": True},
            configure=self._configure,
            min_size=1,
            max_size=connections_max,
            timeout=timeout_seconds,
            reconnect_timeout=_RECONNECT_TIMEOUT_SECONDS,
            name="read-model",
            open=False,
        )

    async def open(self) -> None:
        """Begin to connect."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Let all connections go; questions on their way are refused."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def look_up(self, ids: Collection[PaymentIntentId], *, at: Micros) -> LookUp:
        """Which of these payments exist, and up to when that is known. Raises ReadModelUnavailable.

        `at` is the caller's clock: no watermark is later, so that a clock elsewhere that runs ahead cannot promise what
        the caller has yet to see.
        """
        watermarks, intents = await self._row(_LOOK_UP, {"topic": self._topic, "ids": list(ids)})
        return LookUp(
            intents={intent.id: intent for intent in _INTENTS.decode(restored_json(intents))},
            watermarks={
                partition: Micros(min(watermark, at)) for partition, watermark in _WATERMARKS.decode(watermarks).items()
            },
        )

    async def read(self, id: PaymentIntentId, *, partition: int) -> Reading:  # noqa: A002
        """A payment, and how far its partition had been read. Raises ReadModelUnavailable."""
        next_offset, intent = await self._row(READ, {"topic": self._topic, "partition": partition, "id": id})
        return Reading(
            intent=None if intent is None else _INTENT.decode(restored_json(intent)), next_offset=next_offset or 0
        )

    async def ready(self) -> bool:
        """Whether a question would be answered now."""
        try:
            await self._row(_READY, {"topic": self._topic})
        except ReadModelUnavailable as error:
            log.info("not ready: %s", error)
            return False
        return True

    async def _row(self, statement: str, parameters: dict[str, object]) -> Row:
        """The one row of a statement, within the time-out.

        A server that was stopped keeps its connections open and says nothing. Cancelling then takes psycopg seconds,
        because it asks that same server to cancel: the question is left behind, to end when it can.
        """
        task = asyncio.ensure_future(self._ask(statement, parameters))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._timeout_seconds)
        except asyncio.CancelledError:
            self._leave_behind(task)
            raise
        if not done:
            self._leave_behind(task)
            raise ReadModelUnavailable(f"no answer within {self._timeout_seconds} s")
        return task.result()

    def _leave_behind(self, task: asyncio.Task[Row]) -> None:
        self._left_behind.add(task)
        task.add_done_callback(self._ended)
        task.cancel()

    def _ended(self, task: asyncio.Task[Row]) -> None:
        self._left_behind.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("a question that was left behind ended: %s", error)

    async def _ask(self, statement: str, parameters: dict[str, object]) -> Row:
        """Ask on connection after connection until one is alive: a restart leaves a pool full of dead ones."""
        while True:
            connection: AsyncConnection | None = None
            try:
                async with self._pool.connection() as connection:
                    row = await (await connection.execute(statement, parameters)).fetchone()
                    assert row is not None
                    return row
            except (PoolTimeout, PoolClosed, TooManyRequests) as error:
                raise ReadModelUnavailable(str(error)) from error
            except psycopg.Error as error:
                if connection is None or not connection.closed:
                    raise ReadModelUnavailable(str(error)) from error

    async def _configure(self, connection: AsyncConnection) -> None:
        await connection.execute(
            session(statement_timeout_seconds=self._timeout_seconds, lock_timeout_seconds=self._timeout_seconds)
        )
