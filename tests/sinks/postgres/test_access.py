"""Who may do what: the audit log only grows, the sink is no owner, ingress only reads."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sinks.postgres import ReadModel, ReadModelWriter
from tests.harness.stack import wait_for
from tests.sinks.postgres.databases import empty_read_model
from tests.sinks.postgres.payments import id_of, life, progress, rows

TABLES = (
    "payment_intent_ids",
    "payment_intents",
    "transactions",
    "audit_log",
    "settlements",
    "mismatch_resolutions",
    "read_model_progress",
)


@pytest.fixture(scope="module")
def uri(postgres_uri: str) -> str:
    """One for all of these: nothing that they try is to succeed."""
    return empty_read_model(postgres_uri)


@pytest.fixture(scope="module")
def members(uri: str) -> Iterator[dict[str, str]]:
    """The URIs of two users: one is a member of paystream_writer, the other of paystream_reader."""
    names = {role: f"{role}_{uuid.uuid4().hex[:8]}" for role in ("paystream_writer", "paystream_reader")}
    with psycopg.connect(uri, autocommit=True) as connection:
        for role, name in names.items():
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'member' IN ROLE {role}".encode())
        yield {role: make_conninfo(uri, user=name, password="member") for role, name in names.items()}
        for name in names.values():
            connection.execute(f"DROP ROLE {name}".encode())


def _others(database: psycopg.Connection) -> list[tuple[object, ...]]:
    """Sessions of others: their staging tables belong to them until they have ended."""
    return rows(
        database,
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename <> current_user",
    )


def _refused(uri: str, statement: str) -> None:
    with psycopg.connect(uri) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET cause = 'mine'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "INSERT INTO audit_log TABLE audit_log ON CONFLICT (payment_intent_id, sequence) DO UPDATE SET cause = ''",
        "MERGE INTO audit_log USING payment_intents ON true WHEN MATCHED THEN DELETE",
    ],
)
def test_not_even_the_owner_changes_the_audit_log(
    writer: ReadModelWriter, database: psycopg.Connection, statement: str
) -> None:
    writer.write(life("a"), progress=[])
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="the audit log is append-only"):
        database.execute(statement.encode())
    assert len(rows(database, "SELECT FROM audit_log WHERE cause LIKE 'cmd_%'")) == 3


def test_the_audit_log_refuses_in_replica_mode_too(database: psycopg.Connection) -> None:
    assert rows(database, "SELECT tgenabled FROM pg_trigger WHERE tgname = 'append_only'") == [("A",)]


def test_the_sink_writes_and_makes_months_as_a_member_of_writer(
    members: dict[str, str], database: psycopg.Connection
) -> None:
    writer = ReadModelWriter(members["paystream_writer"])
    at = writer.load_progress("payments.events", [0])[0].next_offset
    writer.write(life("a"), progress=[progress(at, at + 3)])
    writer.close()
    wait_for(lambda: not _others(database), what="the end of the session", within_seconds=5)
    owners = rows(database, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [("paystream_owner",)]


@pytest.mark.parametrize(
    "statement",
    [
        *[f"DELETE FROM {table}" for table in TABLES],
        *[f"TRUNCATE {table}" for table in TABLES],
        "UPDATE audit_log SET cause = ''",
        "UPDATE payment_intent_ids SET created_at = now()",
        "UPDATE mismatch_resolutions SET actor_id = 'mine'",
        "DROP TABLE audit_log",
        "ALTER TABLE audit_log DISABLE TRIGGER append_only",
        "CREATE TABLE mine ()",
        "INSERT INTO schema_migrations VALUES ('x', 'y')",
    ],
)
def test_the_sink_removes_nothing(members: dict[str, str], statement: str) -> None:
    _refused(members["paystream_writer"], statement)


@pytest.mark.parametrize(
    "statement",
    [
        *[f"DELETE FROM {table}" for table in TABLES],
        *[f"INSERT INTO {table} SELECT * FROM {table}" for table in TABLES],
        "UPDATE payment_intents SET status = 'succeeded'",
        "UPDATE read_model_progress SET next_offset = 0",
        "SELECT make_month('2026-11-01')",
        "CREATE TABLE mine ()",
    ],
)
def test_ingress_changes_nothing(members: dict[str, str], statement: str) -> None:
    _refused(members["paystream_reader"], statement)


def test_ingress_reads_as_a_member_of_reader(members: dict[str, str], writer: ReadModelWriter) -> None:
    writer.write(life("a"), progress=[])

    async def run() -> None:
        async with ReadModel(members["paystream_reader"]) as model:
            assert await model.ready()
            found = await model.read(id_of("a"), partition=0)
            assert found.intent == life("a")[-1].payment_intent

    asyncio.run(run())


def test_the_reader_role_may_read_every_table(members: dict[str, str]) -> None:
    with psycopg.connect(members["paystream_reader"]) as connection:
        for table in TABLES:
            connection.execute(f"SELECT * FROM {table}".encode())
