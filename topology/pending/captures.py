"""What settlement is told of captures: that one took place, came to be in doubt, or came to nothing. Pure.

A capture in doubt is told of as well, since its settlement line decides it; and its end, so that nobody waits for a
line of what did not take place.
"""

from __future__ import annotations

from schemas.payment import PaymentEvent, TransactionStatus, TransactionType
from schemas.settlement import Capture
from topology.domain import EventType

__all__ = ["capture_in"]

_TOLD = (EventType.transaction_pending, EventType.transaction_completed)


def capture_in(event: PaymentEvent) -> Capture | None:
    """What the event says of a capture; None where it says nothing that settlement has to know.

    Its key is our own id, under which the processor's file names it: the processor's may not be known yet. A capture
    that took place is over what was received, which is less than was asked for where the processor said so.
    """
    transaction = event.transaction
    if transaction is None or transaction.type is not TransactionType.capture or event.type not in _TOLD:
        return None
    took_place = transaction.status is TransactionStatus.succeeded
    return Capture(
        processor=transaction.processor,
        processor_reference=transaction.processor_reference or "",
        payment_intent_id=event.payment_intent.id,
        transaction_id=transaction.id,
        status=transaction.status,
        amount_minor=event.payment_intent.amount_received_minor if took_place else transaction.amount_minor,
        currency=transaction.currency,
        at=transaction.completed_at or event.at,
        livemode=event.payment_intent.livemode,
    )
