"""The SQL of a write: staging tables, and the statements that merge them into the read model.

Built once from the columns. Every merge may be applied again, in any order: rows that stand are replaced only by a
higher sequence, and history is only added to.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Identifier, Placeholder

from sinks.postgres.columns import AUDIT_LOG, PAYMENT_INTENTS, TRANSACTIONS, Column, time_of
from sinks.postgres.settlement_columns import MISMATCH_RESOLUTIONS, SETTLEMENTS

__all__ = [
    "CHANGED_CREATION",
    "COMPARE_AND_SET",
    "MERGES",
    "MERGE_AUDIT_LOG",
    "MERGE_RESOLUTIONS",
    "MERGE_SETTLEMENTS",
    "STAGED",
    "STORED_EVENTS",
    "Staged",
]

Columns = tuple[Column, ...]


def _list(expressions: list[Composable]) -> Composable:
    return SQL(", ").join(expressions)


def _names(columns: Columns) -> Composable:
    return _list([column.identifier for column in columns])


def _insert(table: str, columns: Columns) -> Composable:
    return SQL("INSERT INTO {table} ({names}) SELECT {values} FROM {staged}").format(
        table=Identifier(table),
        names=_names(columns),
        values=_list([column.kind.store(column.identifier) for column in columns]),
        staged=Identifier(f"staged_{table}"),
    )


def _upsert(table: str, columns: Columns, *, key: tuple[str, ...]) -> str:
    """Insert, or replace what an older sequence left."""
    changed = [SQL("{0} = EXCLUDED.{0}").format(column.identifier) for column in columns if column.name not in key]
    statement = SQL(
        "{insert} ON CONFLICT ({key}) DO UPDATE SET {changed} WHERE {table}.sequence < EXCLUDED.sequence"
    ).format(
        insert=_insert(table, columns),
        key=_list([Identifier(name) for name in key]),
        changed=_list([*changed]),
        table=Identifier(table),
    )
    return statement.as_string()


class Staged:
    """A private table of the session that each commit empties, and the COPY that fills it."""

    def __init__(self, table: str, columns: Columns) -> None:
        name = Identifier(f"staged_{table}")
        definitions = [SQL("{} " + column.kind.staged_type).format(column.identifier) for column in columns]
        self.create = (
            SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DELETE ROWS").format(name, _list([*definitions])).as_string()
        )
        self.copy = SQL("COPY {} ({}) FROM STDIN").format(name, _names(columns)).as_string()


STAGED = {
    "payment_intents": Staged("payment_intents", PAYMENT_INTENTS),
    "transactions": Staged("transactions", TRANSACTIONS),
    "audit_log": Staged("audit_log", AUDIT_LOG),
    "settlements": Staged("settlements", SETTLEMENTS),
    "mismatch_resolutions": Staged("mismatch_resolutions", MISMATCH_RESOLUTIONS),
}

_CREATED = time_of(Identifier("staged_payment_intents", "created_at"))

MERGES = (
    SQL(
        "INSERT INTO payment_intent_ids (id, created_at) SELECT id, {} FROM staged_payment_intents"
        " ON CONFLICT (id) DO NOTHING"
    )
    .format(_CREATED)
    .as_string(),
    _upsert("payment_intents", PAYMENT_INTENTS, key=("id", "created_at")),
    _upsert("transactions", TRANSACTIONS, key=("payment_intent_id", "id", "payment_intent_created_at")),
)

# An intent whose creation moved would stand in two months and be found in one.
CHANGED_CREATION = (
    SQL(
        "SELECT id, sequence FROM staged_payment_intents JOIN payment_intent_ids AS known USING (id)"
        " WHERE known.created_at <> {} LIMIT 1"
    )
    .format(_CREATED)
    .as_string()
)

MERGE_AUDIT_LOG = (
    SQL("{} ON CONFLICT (payment_intent_id, sequence) DO NOTHING").format(_insert("audit_log", AUDIT_LOG)).as_string()
)

# The same line again is no second row, whenever it was decided again; in a month that was detached nobody asks for it.
MERGE_SETTLEMENTS = (
    SQL(
        "{} WHERE NOT EXISTS (SELECT FROM settlements AS known WHERE known.id = staged_settlements.id)"
        " ON CONFLICT (id, at) DO NOTHING"
    )
    .format(_insert("settlements", SETTLEMENTS))
    .as_string()
)

# The first word about a mismatch stays: all lie in one partition, so the order of the log is everybody's.
MERGE_RESOLUTIONS = (
    SQL("{} ON CONFLICT (settlement_id) DO NOTHING")
    .format(_insert("mismatch_resolutions", MISMATCH_RESOLUTIONS))
    .as_string()
)

# What stands in the places that the staged events claim, those just inserted included.
STORED_EVENTS = "SELECT audit_log.event::text FROM staged_audit_log JOIN audit_log USING (payment_intent_id, sequence)"

COMPARE_AND_SET = (
    SQL(
        "UPDATE read_model_progress SET next_offset = %(end)s, watermark = greatest(watermark, {})"
        " WHERE topic = %(topic)s AND partition = %(partition)s AND next_offset = %(start)s"
    )
    .format(time_of(SQL("{}::bigint").format(Placeholder("watermark"))))
    .as_string()
)
