"""Migrations: once each, in order, one process at a time, and clear words when they cannot."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sinks.postgres import MigrationError, ReadModelUnavailable, migrate
from sinks.postgres.columns import AUDIT_LOG, PAYMENT_INTENTS, TRANSACTIONS
from sinks.postgres.migrate import DIRECTORY, migrations
from sinks.postgres.settlement_columns import MISMATCH_RESOLUTIONS, SETTLEMENTS

NAMES = ["0001_roles", "0002_read_model", "0003_audit_log", "0004_settlements", "0005_open_transactions"]


def _copy(directory: Path, **changed: str) -> Path:
    """The migrations of this release, some of them with other text."""
    for migration in migrations():
        (directory / f"{migration.name}.sql").write_text(changed.get(migration.name, migration.sql))
    return directory


@pytest.fixture
def stranger(postgres_database: str) -> Iterator[str]:
    """The URI of a user who may create neither roles nor tables."""
    name = f"stranger_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'stranger'".encode())
        yield make_conninfo(postgres_database, user=name, password="stranger")
        connection.execute(f"GRANT {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_every_migration_is_applied_once(postgres_database: str) -> None:
    assert migrate(postgres_database) == NAMES
    assert migrate(postgres_database) == []


def test_two_processes_at_once_apply_each_migration_once(postgres_database: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(migrate, [postgres_database] * 4))
    assert sorted(applied) == [[], [], [], NAMES]


def test_every_column_has_its_field(uri: str, database: psycopg.Connection) -> None:
    for table, columns in {
        "payment_intents": PAYMENT_INTENTS,
        "transactions": TRANSACTIONS,
        "audit_log": AUDIT_LOG,
        "settlements": SETTLEMENTS,
        "mismatch_resolutions": MISMATCH_RESOLUTIONS,
    }.items():
        found = database.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,))
        assert {name for (name,) in found} == {column.name for column in columns}


def test_a_migration_that_changed_after_it_was_applied(uri: str, tmp_path: Path) -> None:
    changed = _copy(tmp_path, **{"0002_read_model": "SELECT 1"})
    with pytest.raises(MigrationError, match="0002_read_model has changed since it was applied"):
        migrate(uri, directory=changed)


def test_a_database_of_a_later_release(uri: str, tmp_path: Path) -> None:
    (tmp_path / "0001_roles.sql").write_text((DIRECTORY / "0001_roles.sql").read_text())
    with pytest.raises(MigrationError, match=r"migrations of a later release .0002_read_model, 0003_audit_log"):
        migrate(uri, directory=tmp_path)


def test_a_database_of_something_else(postgres_database: str, tmp_path: Path) -> None:
    (tmp_path / "0001_other.sql").write_text("SELECT 1")
    assert migrate(postgres_database, directory=tmp_path) == ["0001_other"]
    with pytest.raises(MigrationError, match="0001_other where this release has 0001_roles"):
        migrate(postgres_database)


@pytest.mark.parametrize("name", ["0003_gap.sql", "2_short.sql", "0002_Upper.sql"])
def test_files_are_numbered_without_gaps(tmp_path: Path, name: str) -> None:
    (tmp_path / "0001_first.sql").write_text("SELECT 1")
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match="is not migration 0002"):
        migrations(tmp_path)


def test_a_migration_that_fails_leaves_nothing_and_can_be_mended(postgres_database: str, tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first ();")
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE second (); SELECT 1 / 0;")
    with pytest.raises(MigrationError, match="0002_second: division by zero"):
        migrate(postgres_database, directory=tmp_path)
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE second ();")
    assert migrate(postgres_database, directory=tmp_path) == ["0002_second"]


def test_roles_that_cannot_be_made_are_named_with_the_remedy(
    stranger: str, postgres_database: str, tmp_path: Path
) -> None:
    roles = (DIRECTORY / "0001_roles.sql").read_text().replace("paystream_", f"other_{uuid.uuid4().hex[:8]}_")
    (tmp_path / "0001_roles.sql").write_text(roles)
    with psycopg.connect(postgres_database, autocommit=True) as owner:
        owner.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    with pytest.raises(
        MigrationError, match=r"does not exist, and stranger_.* may not create roles. .*CREATE ROLE"
    ) as raised:
        migrate(stranger, directory=tmp_path)
    assert "GRANT" in str(raised.value)


def test_a_user_who_may_not_act_as_the_owner(stranger: str, postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as owner:
        owner.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        migrate(postgres_database)
        owner.execute("DROP TABLE schema_migrations")
    with pytest.raises(MigrationError, match=r"stranger_.* may not act as paystream_owner. .*GRANT paystream_owner TO"):
        migrate(stranger)


def test_a_user_who_may_create_nothing(stranger: str) -> None:
    with pytest.raises(MigrationError, match="permission denied for schema public: migrate as the owner"):
        migrate(stranger)


def test_a_database_that_cannot_hold_all_texts(postgres_database: str) -> None:
    name = f"ascii_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0".encode())
        try:
            with pytest.raises(MigrationError, match="encoded as SQL_ASCII: create it with ENCODING 'UTF8'"):
                migrate(make_conninfo(postgres_database, dbname=name))
        finally:
            connection.execute(f"DROP DATABASE {name}".encode())


def test_no_server(postgres_database: str) -> None:
    assert conninfo_to_dict(postgres_database)["host"] == "127.0.0.1"
    with pytest.raises(ReadModelUnavailable):
        migrate(make_conninfo(postgres_database, port=1))
