"""An event as the payment's clock has it: its times shown as that clock showed them, for timers to be set by.

Pure. In live mode, and as long as the test clock was never advanced, it is the event itself.
"""

from __future__ import annotations

from msgspec.structs import replace

from schemas.payment import PaymentEvent, Transaction
from schemas.times import later
from topology.domain.results_of_authorizations import HOLD_SECONDS
from topology.test_clock import PaymentClock

__all__ = ["shown"]


def shown(event: PaymentEvent, clock: PaymentClock) -> PaymentEvent:
    """The event with the moments that timers are counted from on the payment's clock."""
    if not clock.advances:
        return event
    intent = event.payment_intent
    transactions = tuple(_transaction(one, clock) for one in intent.transactions)
    return replace(event, at=clock.shown_at(event.at), payment_intent=replace(intent, transactions=transactions))


def _transaction(one: Transaction, clock: PaymentClock) -> Transaction:
    """A processor's word of when a hold ends is taken as it stands: the simulated network's clock goes with this one.

    Where the processor said nothing, the fold has counted from the approval.
    """
    capture_before = one.capture_before
    if one.completed_at is not None and capture_before == later(one.completed_at, seconds=HOLD_SECONDS):
        capture_before = later(clock.shown_at(one.completed_at), seconds=HOLD_SECONDS)
    return replace(one, created_at=clock.shown_at(one.created_at), capture_before=capture_before)
