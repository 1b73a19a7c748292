"""What the statements name is what the migrations make; told by reading both, without a server."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from sinks.postgres.columns import AUDIT_LOG, PAYMENT_INTENTS, TRANSACTIONS, Column
from sinks.postgres.migrate import migrations
from sinks.postgres.mismatches import MISMATCHES
from sinks.postgres.operators import _OPEN as OPEN
from sinks.postgres.reader import READ
from sinks.postgres.settlement_columns import MISMATCH_RESOLUTIONS, SETTLEMENTS
from sinks.postgres.settlements import _FIND as FIND
from sinks.postgres.settlements import _transaction as found_transaction

SCHEMA = "\n".join(migration.sql for migration in migrations())


def columns_of(table: str) -> list[str]:
    """The columns of a table, in its order."""
    found = re.search(rf"CREATE TABLE {table} \((.*?)\n\)", SCHEMA, re.DOTALL)
    assert found is not None, table
    return re.findall(r"^    ([a-z_0-9]+) +(?:text|bigint|integer|boolean|json|bytea|timestamptz|date)", found[1], re.M)


def columns_of_mismatches() -> list[str]:
    """The columns of the view, under the names that it gives them."""
    found = re.search(
        r"CREATE VIEW reconciliation_mismatches AS\nSELECT (.*?)\nFROM settlements AS mismatch", SCHEMA, re.S
    )
    assert found is not None
    selected = re.sub(r"least\(.*?\)\) AS ", "mismatch.that AS ", found[1], flags=re.DOTALL)
    return [item.split(" AS ")[-1].strip().removeprefix("mismatch.") for item in selected.split(",")]


def named(statement: str, alias: str) -> set[str]:
    """The columns of a table's alias that a statement names."""
    return set(re.findall(rf"\b{alias}\.([a-z_]+)", statement.replace('"', "")))


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("payment_intents", PAYMENT_INTENTS),
        ("transactions", TRANSACTIONS),
        ("audit_log", AUDIT_LOG),
        ("settlements", SETTLEMENTS),
        ("mismatch_resolutions", MISMATCH_RESOLUTIONS),
    ],
)
def test_a_table_has_the_columns_that_are_written(table: str, columns: tuple[Column, ...]) -> None:
    assert sorted(columns_of(table)) == sorted(column.name for column in columns)


def test_no_name_is_made_twice() -> None:
    made = re.findall(r"^CREATE (?:UNIQUE )?(?:TABLE|INDEX|VIEW) (\w+)", SCHEMA, re.M)
    assert len(made) > 8
    assert [name for name, times in Counter(made).items() if times > 1] == []


def test_mismatches_are_read_under_the_names_that_the_view_gives_them() -> None:
    assert {"name", "found_at", "resolved_at", "resolved_by"} <= set(columns_of_mismatches())
    assert named(MISMATCHES, "found") <= set(columns_of_mismatches())


@pytest.mark.parametrize(
    ("statement", "alias", "table"),
    [
        (OPEN, "open", "transactions"),
        (OPEN, "intent", "payment_intents"),
        (OPEN, "audit_log", "audit_log"),
        (READ, "intent", "payment_intents"),
        (READ, "entry", "transactions"),
        (READ, "settlement", "settlements"),
        (FIND, "own", "transactions"),
        (FIND, "theirs", "transactions"),
        (FIND, "found", "transactions"),
        (FIND, "intent", "payment_intents"),
        (FIND, "judged", "settlements"),
        (FIND, "settled", "settlements"),
        (FIND, "missed", "settlements"),
        (FIND, "stands", "transactions"),
        (FIND, "charged", "transactions"),
        (FIND, "last", "transactions"),
    ],
)
def test_statements_name_columns_that_are_there(statement: str, alias: str, table: str) -> None:
    assert named(statement, alias)
    assert named(statement, alias) <= set(columns_of(table))


@pytest.mark.parametrize(("was_found_captured", "captured_minor"), [(True, 1_500), (False, None)])
def test_what_was_received_is_the_charge_of_what_was_found_captured(
    was_found_captured: bool, captured_minor: int | None
) -> None:
    """A line of another capture of that payment, or of another authorization, tells of a second charge."""
    row = ("pi_1", "tx_1", "capture", "failed", 1_999, "usd", "succeeded", 1_500, "usd", False, False)
    found = found_transaction(*row, was_found_captured)
    assert found is not None
    assert (found.captured_minor, found.is_captured, found.is_open) == (captured_minor, False, False)
