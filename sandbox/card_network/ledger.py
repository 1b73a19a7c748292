"""The network's ledger: a SQLite table with one row per reference, and one with the messages of the ISO 8583 link.

Reads and writes the database file. `writer` alone writes, inside its transactions; every other thread reads through a
connection of its own and sees what is committed.

`synchronous=NORMAL` in WAL mode: a commit is handed to the operating system before it is answered, so a killed
process loses nothing that it said. Only a machine that loses power could, and with it goes the rest of the local
stack, whose Kafka does not sync every record either.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from sandbox.card_network.booking import AuthorizationState, Booking, Hold, Kind, Status
from sandbox.card_network.traces import Original, Trace

__all__ = ["Books", "Ledger", "LedgerRow"]

# Of the schema. A ledger lives as long as its stack, so another version is refused and not converted.
_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS bookings (
    reference TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    payment_intent TEXT NOT NULL,
    amount_minor INTEGER,
    currency TEXT,
    processor_reference TEXT NOT NULL,
    at_micros INTEGER NOT NULL,
    processor TEXT NOT NULL,
    merchant TEXT,
    requested_minor INTEGER,
    remaining_minor INTEGER,
    token TEXT,
    notify_url TEXT,
    authorization_reference TEXT,
    code TEXT,
    decline_code TEXT,
    authorization_state TEXT,
    hold TEXT,
    capture_before_micros INTEGER,
    position INTEGER,            -- booking order; null while a challenge is open
    requests INTEGER NOT NULL    -- how often it was asked
) STRICT;
-- Not unique: on the ISO 8583 link it is the caller's own number (DE 37).
CREATE INDEX IF NOT EXISTS bookings_by_processor_reference ON bookings (processor_reference);
CREATE UNIQUE INDEX IF NOT EXISTS bookings_by_position ON bookings (position) WHERE position IS NOT NULL;
CREATE INDEX IF NOT EXISTS approved_voids ON bookings (authorization_reference)
    WHERE kind = 'void' AND status = 'approved';
CREATE INDEX IF NOT EXISTS approved_captures ON bookings (processor, at_micros)
    WHERE kind = 'capture' AND status = 'approved';
CREATE TABLE IF NOT EXISTS messages (
    kind TEXT NOT NULL,
    transmitted TEXT NOT NULL,   -- DE 7
    trace TEXT NOT NULL,         -- DE 11
    acquirer TEXT NOT NULL,      -- DE 32
    terminal TEXT NOT NULL,      -- DE 41
    retrieval TEXT NOT NULL,     -- DE 37
    reference TEXT NOT NULL,
    PRIMARY KEY (kind, transmitted, trace, acquirer, terminal, retrieval)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS adjustments (
    number INTEGER PRIMARY KEY,
    processor TEXT NOT NULL,
    settlement_date TEXT NOT NULL,
    adjustment BLOB NOT NULL     -- JSON
) STRICT;
CREATE INDEX IF NOT EXISTS adjustments_by_file ON adjustments (processor, settlement_date);
CREATE TABLE IF NOT EXISTS clock (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    ahead_micros INTEGER NOT NULL
) STRICT;
"""

_COLUMNS = tuple(field.name for field in fields(Booking))
_VALUES = attrgetter(*_COLUMNS)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM bookings"
_INSERT = (
    f"INSERT INTO bookings ({', '.join(_COLUMNS)}, position, requests) VALUES ({', '.join('?' * len(_COLUMNS))}, ?, 1)"
)
# What can change after a row was first written: a challenge is decided, a hold is captured, voided or reduced.
_MUTABLE = ("status", "at_micros", "amount_minor", "code", "decline_code", "hold", "capture_before_micros")
_MUTABLE_VALUES = attrgetter(*_MUTABLE)
_UPDATE = (
    f"UPDATE bookings SET {', '.join(f'{name} = ?' for name in _MUTABLE)}, position = coalesce(position, ?)"
    " WHERE reference = ?"
)

LedgerRow = tuple[str, str, str, str, int | None, str | None, int, int, str, str | None, int | None]
_ROWS_PER_CHUNK = 1000


class Books:
    """The ledger through one connection: for one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        (last_position,) = connection.execute("SELECT coalesce(max(position), 0) FROM bookings").fetchone()
        self._next_position = int(last_position) + 1

    def find(self, reference: str) -> Booking | None:
        row = self.connection.execute(f"{_SELECT} WHERE reference = ?", (reference,)).fetchone()
        return None if row is None else _booking(row)

    def find_by_processor_reference(self, processor_reference: str) -> Booking | None:
        row = self.connection.execute(f"{_SELECT} WHERE processor_reference = ?", (processor_reference,)).fetchone()
        return None if row is None else _booking(row)

    def has_void_of(self, authorization_reference: str) -> bool:
        """Whether an authorization was voided, as a whole where it has not come: what is unknown has no parts."""
        query = (
            "SELECT 1 FROM bookings WHERE authorization_reference = ? AND kind = 'void' AND status = 'approved' LIMIT 1"
        )
        return self.connection.execute(query, (authorization_reference,)).fetchone() is not None

    def reference_of(self, kind: Kind, trace: Trace) -> str | None:
        """The reference that exactly this message came under before."""
        query = (
            "SELECT reference FROM messages WHERE kind = ? AND transmitted = ? AND trace = ? AND acquirer = ?"
            " AND terminal = ? AND retrieval = ?"
        )
        row = self.connection.execute(query, (kind, *trace)).fetchone()
        return None if row is None else str(row[0])

    def reference_of_original(self, original: Original) -> str | None:
        """The reference of the authorization with these original data elements."""
        query = (
            "SELECT reference FROM messages WHERE kind = 'authorization' AND transmitted = ? AND trace = ?"
            " AND acquirer = ? AND terminal = ? LIMIT 1"
        )
        row = self.connection.execute(query, original).fetchone()
        return None if row is None else str(row[0])

    def note_message(self, kind: Kind, trace: Trace, reference: str) -> None:
        """Remember what a message came under."""
        self.connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", (kind, *trace, reference))

    def insert(self, booking: Booking) -> None:
        self.connection.execute(_INSERT, (*_VALUES(booking), self._position_of(booking)))

    def replace(self, booking: Booking) -> None:
        """Write what has become of a booking; a challenge that is decided takes its place in the order now."""
        values = (*_MUTABLE_VALUES(booking), self._position_of(booking), booking.reference)
        self.connection.execute(_UPDATE, values)

    def count_request(self, reference: str) -> int:
        """Note that `reference` was asked once more; how often that makes."""
        query = "UPDATE bookings SET requests = requests + 1 WHERE reference = ? RETURNING requests"
        (requests,) = self.connection.execute(query, (reference,)).fetchone()
        return int(requests)

    def adjust(self, processor: str, settlement_date: str, adjustment: bytes) -> None:
        """Note what is to be wrong in a settlement file."""
        query = "INSERT INTO adjustments (processor, settlement_date, adjustment) VALUES (?, ?, ?)"
        self.connection.execute(query, (processor, settlement_date, adjustment))

    def set_clock(self, ahead_micros: int) -> None:
        """Note how far the network's clock is ahead of the machine's."""
        self.connection.execute("INSERT OR REPLACE INTO clock VALUES (1, ?)", (ahead_micros,))

    def _position_of(self, booking: Booking) -> int | None:
        if booking.status is Status.challenge:
            return None
        position = self._next_position
        self._next_position += 1
        return position


class Ledger:
    """The database file. Raises sqlite3.Error where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self.connect()) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()
            if tables and version != _VERSION:
                raise sqlite3.DatabaseError("another version of the network has made it; remove it")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {_VERSION}")

    def connect(self) -> sqlite3.Connection:
        """A connection for one thread at a time, whichever thread that is, that commits only when it is told to."""
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def rows(self) -> Iterator[list[LedgerRow]]:
        """Every decided transaction in booking order, in chunks, all of one moment.

        (reference, payment_intent, kind, status, amount_minor, currency, at_micros, requests, processor, hold,
        capture_before_micros)
        """
        yield from self._chunks(
            "SELECT reference, payment_intent, kind, status, amount_minor, currency, at_micros, requests, processor,"
            " hold, capture_before_micros FROM bookings WHERE position IS NOT NULL ORDER BY position"
        )

    def captures(
        self, processor: str, *, from_micros: int, until_micros: int, grouped: bool = False
    ) -> Iterator[Booking]:
        """The approved captures of a span of time, in its order; `grouped`: by currency, then by merchant.

        Streamed: what has to be sorted for that, SQLite sorts in temporary files.
        """
        groups = "currency, coalesce(merchant, ''), " if grouped else ""
        chunks = self._chunks(
            f"{_SELECT} WHERE kind = 'capture' AND status = 'approved' AND processor = ? AND at_micros >= ?"
            f" AND at_micros < ? ORDER BY {groups}at_micros, position",
            (processor, from_micros, until_micros),
        )
        for chunk in chunks:
            yield from map(_booking, chunk)

    def adjustments(self, processor: str, settlement_date: str) -> list[bytes]:
        """What is to be wrong in one settlement file, in the order in which that was said."""
        query = "SELECT adjustment FROM adjustments WHERE processor = ? AND settlement_date = ? ORDER BY number"
        with closing(self.connect()) as connection:
            return [adjustment for (adjustment,) in connection.execute(query, (processor, settlement_date))]

    def clock_ahead_micros(self) -> int:
        """How far the network's clock is ahead of the machine's."""
        with closing(self.connect()) as connection:
            (ahead,) = connection.execute("SELECT coalesce(max(ahead_micros), 0) FROM clock").fetchone()
            return int(ahead)

    def _chunks(self, query: str, parameters: tuple[str | int, ...] = ()) -> Iterator[list[Any]]:
        with closing(self.connect()) as connection:
            cursor = connection.execute(query, parameters)
            while chunk := cursor.fetchmany(_ROWS_PER_CHUNK):
                yield chunk


def _booking(row: tuple[Any, ...]) -> Booking:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["kind"] = Kind(values["kind"])
    values["status"] = Status(values["status"])
    if values["hold"] is not None:
        values["hold"] = Hold(values["hold"])
    if values["authorization_state"] is not None:
        values["authorization_state"] = AuthorizationState(values["authorization_state"])
    return Booking(**values)
