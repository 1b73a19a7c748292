"""What `decide` answers."""

from __future__ import annotations

from msgspec import Struct

from schemas.identifiers import TransactionId
from schemas.payment import PaymentEvent, ReplyTo
from topology.domain.refusals import DeadLetterCause, Refusal

__all__ = ["Decision", "refused"]


class Decision(Struct, frozen=True, kw_only=True):
    """What an input does to a payment.

    `events` are numbered and carry the state; the last one's `payment_intent` is the new state, and no events means
    that nothing changes. `transaction_id` is what the command opened or found. `left_processing` names who hears a
    second reply now, and about which Transaction. With a refusal or a dead letter there are no events.
    """

    events: tuple[PaymentEvent, ...] = ()
    refusal: Refusal | None = None
    transaction_id: TransactionId | None = None
    replayed: bool = False
    left_processing: tuple[tuple[ReplyTo, TransactionId], ...] = ()
    dead_letter: DeadLetterCause | None = None


_REFUSED = {refusal: Decision(refusal=refusal) for refusal in Refusal}


def refused(refusal: Refusal) -> Decision:
    """The decision that changes nothing, by name."""
    return _REFUSED[refusal]
