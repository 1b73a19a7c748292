"""What can go wrong with the read model, each with what its handler needs to know."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.identifiers import PaymentIntentId

__all__ = [
    "EventContradicted",
    "EventRefused",
    "MigrationError",
    "OffsetsMoved",
    "ReadModelError",
    "ReadModelUnavailable",
]


class ReadModelError(Exception):
    """Anything that this package raises. Nothing has been written when it is raised by a writer, unless it says so."""


class ReadModelUnavailable(ReadModelError):
    """PostgreSQL could not be reached, did not answer in time, or is a standby or without our schema: ask again later.

    Raised by a writer it leaves open whether the commit took place: reload the offsets to know.
    """


class OffsetsMoved(ReadModelError):
    """Another owner of the partitions, or a promoted standby, has other offsets: reload them and go on from there."""

    def __init__(self, partitions: Sequence[tuple[str, int]]) -> None:
        super().__init__(
            "moved since they were loaded: " + ", ".join(f"{topic}/{number}" for topic, number in partitions)
        )
        self.partitions = tuple(partitions)


class EventRefused(ReadModelError):
    """The read model cannot hold an event, now or when asked again: a bug that a person has to look at."""


class EventContradicted(EventRefused):
    """Two different events have the same place in a payment's history."""

    def __init__(self, payment_intent_id: PaymentIntentId, *, sequence: int, detail: str) -> None:
        super().__init__(f"{payment_intent_id} at sequence {sequence}: {detail}")
        self.payment_intent_id = payment_intent_id
        self.sequence = sequence


class MigrationError(ReadModelError):
    """The database could not be brought to this release's schema. The message says what to do."""
