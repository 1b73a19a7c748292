"""The names of the events, past tense. Sinks and merchants rely on them: a name is for life."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["EventType"]


class EventType(StrEnum):
    """What happened to a payment."""

    payment_intent_created = "payment_intent.created"
    payment_intent_canceled = "payment_intent.canceled"
    """Canceled with nothing to void; where a void had to end first, that `transaction.completed` tells."""

    transaction_created = "transaction.created"
    transaction_requires_action = "transaction.requires_action"
    transaction_challenge_returned = "transaction.challenge_returned"
    transaction_pending = "transaction.pending"
    transaction_rerouted = "transaction.rerouted"
    transaction_repeated = "transaction.repeated"
    transaction_noted = "transaction.noted"
    """Something is on record now that decides nothing: a count of look-ups, a result while its void is open."""

    transaction_completed = "transaction.completed"
    transaction_contradicted = "transaction.contradicted"
    """A closed Transaction was told otherwise. It stays as it was; somebody is alerted."""
