"""The read model in PostgreSQL: its schema, its one writer per partition, and its readers.

A projection of `payments.events` that can be thrown away and rebuilt. `migrate` makes the schema, `ReadModelWriter`
writes and `Projection` says what (driven by `topology.postgres`), `ReadModel` reads (driven by ingress).
"""

from sinks.postgres.errors import (
    EventContradicted,
    EventRefused,
    MigrationError,
    OffsetsMoved,
    ReadModelError,
    ReadModelUnavailable,
)
from sinks.postgres.migrate import migrate
from sinks.postgres.projection import Place, Placed, Projection
from sinks.postgres.reader import LookUp, Reading, ReadModel
from sinks.postgres.settlements import Asked, Finding, FoundTransaction, SettlementReader
from sinks.postgres.writer import Position, Progress, ReadModelWriter

__all__ = [
    "Asked",
    "EventContradicted",
    "EventRefused",
    "Finding",
    "FoundTransaction",
    "LookUp",
    "MigrationError",
    "OffsetsMoved",
    "Place",
    "Placed",
    "Position",
    "Progress",
    "Projection",
    "ReadModel",
    "ReadModelError",
    "ReadModelUnavailable",
    "ReadModelWriter",
    "Reading",
    "SettlementReader",
    "migrate",
]
