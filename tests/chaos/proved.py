"""The rule of evidence (DESIGN.md section 7), held against the network's books: nothing fails because nobody knew.

That the books have nothing under a reference is no evidence: what was asked may have been lost, or be on its way still.
Evidence is the processor's own refusal of it, a void that it has answered, the end of the longest time for which it
holds money, or the word of a person who has looked; without any, only what for certain was never sent may have failed.
Pure functions of the log and the bookings. Driven by `checker`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.evidence import OPEN, Booking, Leg, Step

__all__ = ["check_proofs"]

_NEVER_SENT = frozenset(
    {
        *("not_sent", "no_connection", "circuit_open", "too_many_waiting", "processor_not_configured"),
        *("expired_before_send", "send_before_passed", "payment_method_unusable", "stopping", "abandoned"),
        *("amount_not_representable", "currency_not_representable", "numbers_missing"),
    }
)
"""Codes by which an authorization failed that left nobody."""

_BY_TIME = ("expired", "hold_ended")
"""A hold that was in doubt, and its void, after the longest time for which the processor holds anything."""

_BY_A_PERSON = "resolved_by_operator"
"""Somebody has looked it up and answers for it, with what proves it on record; the books may not say otherwise."""


def check_proofs(bookings: Sequence[Booking], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    """Everything that ended without success and without evidence; `steps` in the order of the log."""
    booked: defaultdict[str, dict[str, Booking]] = defaultdict(dict)
    for booking in bookings:
        booked[booking.intent][booking.reference] = booking
    for intent, own in steps.items():
        doubted = {leg.id for step in own for leg in step.legs if leg.status == "pending"}
        for leg in own[-1].legs:
            if leg.status in OPEN or leg.status == "succeeded":
                continue
            if not _is_proved(leg, own[-1], booked[intent], was_in_doubt=leg.id in doubted):
                how = "was in doubt and " if leg.id in doubted else ""
                yield f"unproved: the {leg.type} {leg.id} of {intent} {how}is {leg.status} ({leg.code}), by no evidence"


def _is_proved(leg: Leg, last: Step, booked: Mapping[str, Booking], *, was_in_doubt: bool) -> bool:
    booking = booked.get(leg.id)
    if booking is not None and (booking.was_refused or not booking.is_approved):
        return True
    if (leg.status, leg.code) == _BY_TIME:
        return True
    if leg.code == _BY_A_PERSON:
        return booking is None
    if leg.type != "authorization":
        return False
    voids = [one for one in last.legs if one.type == "void" and one.hold == leg.id]
    if any((void.status not in OPEN and void.id in booked) or (void.status, void.code) == _BY_TIME for void in voids):
        return True
    return booking is None and leg.status == "failed" and not was_in_doubt and leg.code in _NEVER_SENT
