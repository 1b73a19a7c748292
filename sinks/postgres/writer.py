"""Writes payments.events and payments.settlements into the read model: rows and offsets in one transaction.

Driven by `topology.postgres`, one call per epoch; synchronous, one connection. Reads nothing but its own progress.
Each write may be repeated, overlap another or come late: payments are guarded by sequence, the audit log by
(intent, sequence), settlements by their lines, what a person says of one by what was said before, and the whole by a
compare-and-set on the offsets, since neither a former owner of a partition nor a standby that was promoted may move
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import msgspec
import psycopg
from psycopg import Connection, Cursor
from psycopg.sql import SQL, Identifier

from schemas.identifiers import PaymentIntentId
from schemas.payment import PaymentEvent, PaymentIntent
from schemas.settlement import MismatchResolved, Settlement
from schemas.times import Micros, to_datetime
from sinks.postgres import merge
from sinks.postgres.columns import Row, micros_of, row_of_event, row_of_intent, rows_of_transactions
from sinks.postgres.connections import conninfo, ending_silence, session
from sinks.postgres.errors import EventContradicted, EventRefused, OffsetsMoved, ReadModelUnavailable
from sinks.postgres.settlement_columns import id_of_settlement, row_of_resolution, row_of_settlement
from sinks.postgres.text import restored_json

__all__ = ["Position", "Progress", "ReadModelWriter"]

_STATEMENT_TIMEOUT_SECONDS = 30.0
# Longer than the server lets a transaction rest that holds the offsets of a process which was stopped.
_LOCK_TIMEOUT_SECONDS = 10.0
# For all statements of a write together, where the server cannot end them. Shorter than a member of the group may be
# away.
_SILENCE_SECONDS = 45.0

# The classes of SQLSTATE that are about what was to be written: two rows where one may be, a value out of range, a
# constraint, a limit of the program (a key too long for an index). All others are about the server.
_ABOUT_THE_EVENTS = ("21", "22", "23", "54")

_BEGIN_PROGRESS = (
    "INSERT INTO read_model_progress (topic, partition) SELECT %(topic)s, unnest(%(partitions)s::integer[])"
    " ON CONFLICT (topic, partition) DO NOTHING"
)
_LOAD_PROGRESS = (
    SQL(
        "SELECT partition, next_offset, {} FROM read_model_progress"
        " WHERE topic = %(topic)s AND partition = ANY(%(partitions)s)"
    )
    .format(micros_of(Identifier("watermark")))
    .as_string()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far the read model has come in one partition; all events up to the watermark (record time) are in it."""

    next_offset: int
    watermark: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How one write moves one partition: from `start_offset`, as loaded or last written, to `end_offset`."""

    topic: str
    partition: int
    start_offset: int
    end_offset: int
    watermark: Micros


@dataclass(frozen=True, slots=True)
class _Batch:
    """Events without repetitions, and the newest state of each payment among them."""

    events: dict[tuple[PaymentIntentId, int], PaymentEvent]
    newest: dict[PaymentIntentId, PaymentIntent]
    settlements: dict[str, Settlement]
    resolutions: dict[str, MismatchResolved]

    @classmethod
    def of(
        cls,
        given: Iterable[PaymentEvent],
        settlements: Iterable[Settlement],
        resolutions: Iterable[MismatchResolved],
    ) -> _Batch:
        events: dict[tuple[PaymentIntentId, int], PaymentEvent] = {}
        newest: dict[PaymentIntentId, PaymentIntent] = {}
        for event in given:
            intent = event.payment_intent
            if event.sequence != intent.sequence:
                raise EventContradicted(intent.id, sequence=event.sequence, detail=f"its state is of {intent.sequence}")
            if events.setdefault((intent.id, event.sequence), event) != event:
                raise EventContradicted(intent.id, sequence=event.sequence, detail="two events in one batch")
            known = newest.get(intent.id)
            if known is None or known.sequence < intent.sequence:
                newest[intent.id] = intent
        settled: dict[str, Settlement] = {}
        for settlement in settlements:
            settled.setdefault(id_of_settlement(settlement), settlement)
        resolved: dict[str, MismatchResolved] = {}
        for resolution in resolutions:
            resolved.setdefault(resolution.settlement_id, resolution)
        return cls(events, newest, settled, resolved)

    def months(self) -> set[date]:
        """The first days of the months of creation and settlement. Raises EventRefused where one is in no calendar."""
        moments = [intent.created_at for intent in self.newest.values()]
        moments += [settlement.at for settlement in self.settlements.values()]
        try:
            times = {to_datetime(moment) for moment in moments}
        except OverflowError as error:
            raise EventRefused(f"time of creation or settlement: {error}") from error
        return {date(moment.year, moment.month, 1) for moment in times}


class ReadModelWriter:
    """The one writer of some partitions, for one thread. Connects when first used, and again after any loss."""

    def __init__(self, uri: str) -> None:
        self._conninfo = conninfo(uri, application="paystream-sink")
        self._connection: Connection | None = None
        self._months: set[date] = set()

    def load_progress(self, topic: str, partitions: Iterable[int]) -> dict[int, Position]:
        """How far the read model has come in these partitions; one that is new here begins at 0."""
        wanted = sorted(set(partitions))
        with self._connected() as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.execute(_BEGIN_PROGRESS, {"topic": topic, "partitions": wanted})
            cursor.execute(_LOAD_PROGRESS, {"topic": topic, "partitions": wanted})
            return {
                partition: Position(next_offset=next_offset, watermark=Micros(watermark))
                for partition, next_offset, watermark in cursor
            }

    def write(
        self,
        events: Sequence[PaymentEvent],
        *,
        progress: Sequence[Progress],
        settlements: Sequence[Settlement] = (),
        resolutions: Sequence[MismatchResolved] = (),
    ) -> None:
        """Write an epoch, all of it or nothing; `resolutions` of one mismatch are in the order of the log.

        Raises OffsetsMoved where the offsets are not where `progress` starts, EventContradicted where history already
        says something else, EventRefused where an event cannot be stored for any other reason, ReadModelUnavailable
        where it is not known whether the write took place.
        """
        batch = _Batch.of(events, settlements, resolutions)
        with self._connected() as connection:
            self._make_months(connection, batch.months())
            with connection.transaction(), connection.cursor() as cursor:
                # Staging first: it locks nothing, so a process that is stopped meanwhile is in nobody's way.
                _stage(cursor, batch)
                _move_offsets(cursor, progress)
                _merge(cursor, batch)
                cursor.execute(merge.MERGE_SETTLEMENTS)
                cursor.execute(merge.MERGE_RESOLUTIONS)

    def close(self) -> None:
        """Let the connection go; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _make_months(self, connection: Connection, months: set[date]) -> None:
        """Make partitions, outside the write's transaction so that their locks are short."""
        for month in sorted(months - self._months):
            connection.execute("SELECT make_month(%s)", (month,))
            self._months.add(month)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The connection; another where there is none, or where the server ended it while it rested."""
        try:
            if self._connection is not None and not _answers(self._connection):
                self.close()
            if self._connection is None:
                self._connection = self._connect()
            with ending_silence(self._connection, seconds=_SILENCE_SECONDS):
                yield self._connection
        except psycopg.Error as error:
            if isinstance(error, psycopg.DataError) or (error.sqlstate or "")[:2] in _ABOUT_THE_EVENTS:
                # A month that was detached meanwhile is to be made again.
                self._months.clear()
                raise EventRefused(_reason(error)) from error
            self.close()
            raise ReadModelUnavailable(str(error)) from error

    def _connect(self) -> Connection:
        # Another server may be answering now, without the partitions that the former one had.
        self._months.clear()
        connection = Connection.connect(self._conninfo, autocommit=True)
        try:
            with ending_silence(connection, seconds=_SILENCE_SECONDS):
                connection.execute(
                    session(
                        statement_timeout_seconds=_STATEMENT_TIMEOUT_SECONDS, lock_timeout_seconds=_LOCK_TIMEOUT_SECONDS
                    )
                )
                for staged in merge.STAGED.values():
                    connection.execute(staged.create)
        except BaseException:
            connection.close()
            raise
        return connection


def _reason(error: psycopg.Error) -> str:
    """What PostgreSQL says, without the rows that it would show."""
    diagnosis = error.diag
    if diagnosis.message_primary is None:
        return str(error)
    places = (diagnosis.table_name, diagnosis.column_name, diagnosis.constraint_name)
    named = ", ".join(place for place in places if place)
    return f"{error.sqlstate}: {diagnosis.message_primary}{named and f' ({named})'}"


def _answers(connection: Connection) -> bool:
    """Whether a resting connection still has a server behind it: an answer, not a guess, for one short round trip."""
    try:
        with ending_silence(connection, seconds=_SILENCE_SECONDS):
            connection.execute("")
    except psycopg.OperationalError:
        return False
    return True


def _stage(cursor: Cursor, batch: _Batch) -> None:
    newest = batch.newest.values()
    _copy(cursor, "payment_intents", map(row_of_intent, newest))
    _copy(cursor, "transactions", (row for intent in newest for row in rows_of_transactions(intent)))
    _copy(cursor, "audit_log", map(row_of_event, batch.events.values()))
    _copy(cursor, "settlements", map(row_of_settlement, batch.settlements.values()))
    _copy(cursor, "mismatch_resolutions", map(row_of_resolution, batch.resolutions.values()))


def _copy(cursor: Cursor, table: str, rows: Iterable[Row]) -> None:
    with cursor.copy(merge.STAGED[table].copy) as copy:
        for row in rows:
            copy.write_row(row)


def _move_offsets(cursor: Cursor, progress: Sequence[Progress]) -> None:
    """Compare-and-set, in one order for all writers, so that two of them wait for each other and never deadlock."""
    moved: list[tuple[str, int]] = []
    for step in sorted(progress, key=lambda step: (step.topic, step.partition)):
        cursor.execute(
            merge.COMPARE_AND_SET,
            {
                "topic": step.topic,
                "partition": step.partition,
                "start": step.start_offset,
                "end": step.end_offset,
                "watermark": step.watermark,
            },
        )
        if cursor.rowcount != 1:
            moved.append((step.topic, step.partition))
    if moved:
        raise OffsetsMoved(moved)


def _merge(cursor: Cursor, batch: _Batch) -> None:
    for statement in merge.MERGES:
        cursor.execute(statement)
    cursor.execute(merge.CHANGED_CREATION)
    if found := cursor.fetchone():
        raise EventContradicted(found[0], sequence=found[1], detail="its time of creation has changed")
    cursor.execute(merge.MERGE_AUDIT_LOG)
    if cursor.rowcount < len(batch.events):
        _compare(cursor, batch)


def _compare(cursor: Cursor, batch: _Batch) -> None:
    """Events that were there already have to be the same ones.

    Compared as records, not as JSON: a later release may have written fields that an earlier one did not know.
    """
    cursor.execute(merge.STORED_EVENTS)
    for (document,) in cursor:
        try:
            stored = msgspec.json.decode(restored_json(document), type=PaymentEvent)
        except msgspec.DecodeError as error:
            raise EventRefused(f"the audit log has what is no event: {error}") from error
        intent_id = stored.payment_intent.id
        if batch.events[intent_id, stored.sequence] != stored:
            raise EventContradicted(intent_id, sequence=stored.sequence, detail="the audit log has another event")
