"""Brings a database to this release's schema: plain SQL files, numbered, each in a transaction of its own.

Driven by `paystream migrate` before anything else starts. What was applied is recorded with a checksum, so that a file
that changed afterwards is noticed. One process at a time, by an advisory lock; the others wait and find nothing to do.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import Connection

from sinks.postgres.connections import conninfo
from sinks.postgres.errors import MigrationError, ReadModelUnavailable

__all__ = ["Migration", "migrate", "migrations"]

DIRECTORY = Path(__file__).parent / "migrations"

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql", re.ASCII)
# "paystrm" and a number: which lock is meant, among all applications that use this database.
_LOCK = int.from_bytes(b"paystrm\x01", "big")
_LOCK_TIMEOUT_SECONDS = 60
_ENCODING = "UTF8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(directory: Path = DIRECTORY) -> list[Migration]:
    """The files of a directory in order; raises MigrationError unless they are numbered 1, 2, 3 …"""
    found = []
    for number, path in enumerate(sorted(directory.glob("*.sql")), start=1):
        matched = _NAME.fullmatch(path.name)
        if matched is None or int(matched[1]) != number:
            raise MigrationError(
                f"{path.name} is not migration {number:04}: files are named NNNN_what_it_does.sql, without gaps"
            )
        found.append(Migration(name=path.stem, sql=path.read_text(encoding="utf-8")))
    return found


def migrate(uri: str, *, directory: Path = DIRECTORY) -> list[str]:
    """Apply what is missing; the names of what was applied, in order, none if the schema was up to date.

    Raises MigrationError with what to do about it, and ReadModelUnavailable where the server does not answer.
    """
    wanted = migrations(directory)
    try:
        connection = Connection.connect(conninfo(uri, application="paystream-migrate"), autocommit=True)
    except psycopg.OperationalError as error:
        raise ReadModelUnavailable(str(error)) from error
    with connection:
        _check_encoding(connection)
        _lock(connection)
        applied = _applied(connection)
        _check(applied, wanted)
        missing = wanted[len(applied) :]
        for migration in missing:
            _apply(connection, migration)
        return [migration.name for migration in missing]


def _check_encoding(connection: Connection) -> None:
    row = connection.execute("SELECT getdatabaseencoding()").fetchone()
    assert row is not None
    if row[0] != _ENCODING:
        raise MigrationError(
            f"the database is encoded as {row[0]}: create it with ENCODING '{_ENCODING}' TEMPLATE template0"
        )


def _lock(connection: Connection) -> None:
    """Hold the lock until the connection closes."""
    connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT_SECONDS}s'")
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(
            f"another migration has been running for over {_LOCK_TIMEOUT_SECONDS} s; wait for it"
        ) from error


def _applied(connection: Connection) -> list[tuple[str, str]]:
    """Name and checksum of what was applied, in order. Makes the table that records it."""
    known = connection.execute("SELECT to_regclass('schema_migrations')").fetchone()
    if known == (None,):
        try:
            connection.execute(
                'CREATE TABLE schema_migrations (name text COLLATE "C" PRIMARY KEY, checksum text NOT NULL,'
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
        except psycopg.errors.InsufficientPrivilege as error:
            raise MigrationError(f"{_reason(error)}: migrate as the owner of the database") from error
    return connection.execute("SELECT name, checksum FROM schema_migrations ORDER BY name").fetchall()


def _check(applied: list[tuple[str, str]], wanted: list[Migration]) -> None:
    """What was applied has to be a beginning of what this release has."""
    names = [name for name, _ in applied]
    known = [migration.name for migration in wanted]
    if len(names) > len(known) and names[: len(known)] == known:
        raise MigrationError(
            f"the database has migrations of a later release ({', '.join(names[len(known) :])}): use that release"
        )
    for (name, checksum), migration in zip(applied, wanted, strict=False):
        if name != migration.name:
            raise MigrationError(
                f"the database has {name} where this release has {migration.name}: it is another schema's"
            )
        if checksum != migration.checksum:
            raise MigrationError(
                f"{name} has changed since it was applied: restore the file, and put the change into a new one"
            )


def _apply(connection: Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.sql.encode())
            connection.execute(
                "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (migration.name, migration.checksum)
            )
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(f"{migration.name}: a table is in use by somebody else; try again") from error
    except psycopg.Error as error:
        hint = error.diag.message_hint
        raise MigrationError(f"{migration.name}: {_reason(error)}{'. ' + hint if hint else ''}") from error


def _reason(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error)
