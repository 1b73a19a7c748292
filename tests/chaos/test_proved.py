"""The rule of evidence on payments made by hand: what ended without success has been refused, voided, or never sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.evidence import Booking, Leg, Step
from tests.chaos.proved import check_proofs

HOLD = Leg(id="tx_1", type="authorization", status="created", amount=5)
CAPTURE = Leg(id="tx_2", type="capture", status="created", amount=5, hold="tx_1")
VOID = Leg(id="tx_3", type="void", status="created", amount=5, hold="tx_1")
APPROVED = Booking(reference="tx_1", intent="pi_1", type="authorization", is_approved=True, amount=5, requests=1)
REFUSED = replace(APPROVED, is_approved=False)
VOIDED = replace(APPROVED, reference="tx_3", type="void")


def becomes(leg: Leg, status: str, code: str | None = None) -> Leg:
    return replace(leg, status=status, code=code)


PENDING = becomes(HOLD, "pending")
UNKNOWN = becomes(HOLD, "failed", "outcome_unknown")
DECLINED = becomes(HOLD, "declined", "card_declined")
UNSENT = becomes(HOLD, "failed", "no_connection")
Track = tuple[tuple[Leg, ...], ...]
"""The Transactions of a payment after each of its events."""


def findings(track: Track, *bookings: Booking) -> list[str]:
    steps = [
        Step(
            partition=0,
            offset=number,
            intent="pi_1",
            sequence=number,
            type="event",
            status="processing",
            amount=5,
            currency="usd",
            capture_method="manual",
            received=0,
            legs=legs,
        )
        for number, legs in enumerate(track, 1)
    ]
    return list(check_proofs(bookings, {"pi_1": steps}))


PROVED: dict[str, tuple[Track, tuple[Booking, ...]]] = {
    "declined": (((HOLD,), (DECLINED,)), (REFUSED,)),
    "declined, as a look-up found": (((HOLD,), (PENDING,), (DECLINED,)), (REFUSED,)),
    "never sent": (((HOLD,), (UNSENT,)), ()),
    "lost, and voided": (((PENDING,), (PENDING, VOID), (UNKNOWN, becomes(VOID, "succeeded"))), (VOIDED,)),
    "lost, and its void refused": (
        ((PENDING,), (PENDING, VOID), (UNKNOWN, becomes(VOID, "failed"))),
        (REFUSED, replace(VOIDED, is_approved=False)),
    ),
    "approved over another amount": (
        ((HOLD,), (becomes(HOLD, "declined", "amount_not_approved"), becomes(VOID, "succeeded"))),
        (APPROVED, VOIDED),
    ),
    "a capture that was refused": (
        ((becomes(HOLD, "succeeded"), becomes(CAPTURE, "failed", "authorization_expired")),),
        (APPROVED, replace(REFUSED, reference="tx_2", type="capture")),
    ),
    "in doubt for as long as anything is held": (
        ((PENDING, VOID), (becomes(HOLD, "expired", "hold_ended"), becomes(VOID, "expired", "hold_ended"))),
        (APPROVED,),
    ),
    "refused, and approved when it came once more": (
        ((becomes(HOLD, "succeeded"), becomes(VOID, "failed", "void_failed")),),
        (APPROVED, replace(VOIDED, was_refused=True)),
    ),
    "looked up by a person": (
        ((becomes(CAPTURE, "pending"),), (becomes(CAPTURE, "failed", "resolved_by_operator"),)),
        (APPROVED,),
    ),
    "still open": (((PENDING, VOID),), ()),
}


@pytest.mark.parametrize(("track", "bookings"), PROVED.values(), ids=PROVED)
def test_what_ended_by_evidence_is_no_finding(track: Track, bookings: tuple[Booking, ...]) -> None:
    assert findings(track, *bookings) == []


UNPROVED: dict[str, tuple[Track, tuple[Booking, ...], str]] = {
    "lost, and failed by a look-up that found nothing": (
        ((HOLD,), (PENDING,), (UNKNOWN,)),
        (),
        "unproved: the authorization tx_1 of pi_1 was in doubt and is failed (outcome_unknown), by no evidence",
    ),
    "declined, and nobody has booked that": (
        ((HOLD,), (DECLINED,)),
        (),
        "unproved: the authorization tx_1 of pi_1 is declined (card_declined), by no evidence",
    ),
    "declined, and was approved": (((HOLD,), (DECLINED,)), (APPROVED,), "tx_1 of pi_1 is declined"),
    "failed by a code that says nothing": (
        ((HOLD,), (becomes(HOLD, "failed", "timed_out"),)),
        (),
        "tx_1 of pi_1 is failed (timed_out)",
    ),
    "a repeat that was not sent, taken for the first call": (
        ((HOLD,), (PENDING,), (UNSENT,)),
        (),
        "tx_1 of pi_1 was in doubt and is failed (no_connection)",
    ),
    "never sent, and booked": (((HOLD,), (UNSENT,)), (APPROVED,), "tx_1 of pi_1 is failed (no_connection)"),
    "canceled, and its void unknown to the network": (
        ((HOLD,), (HOLD, VOID), (becomes(HOLD, "canceled"), becomes(VOID, "succeeded"))),
        (),
        "tx_1 of pi_1 is canceled",
    ),
    "against a person's word": (
        ((PENDING,), (becomes(HOLD, "failed", "resolved_by_operator"),)),
        (APPROVED,),
        "tx_1 of pi_1 was in doubt and is failed (resolved_by_operator)",
    ),
    "expired before its time": (
        ((PENDING,), (becomes(HOLD, "expired", "outcome_unknown"),)),
        (APPROVED,),
        "tx_1 of pi_1 was in doubt and is expired",
    ),
    "failed while its void goes on": (
        ((PENDING,), (PENDING, VOID), (UNKNOWN, becomes(VOID, "pending"))),
        (VOIDED,),
        "tx_1 of pi_1 was in doubt and is failed",
    ),
    "a capture that nobody booked": (
        ((becomes(HOLD, "succeeded"), becomes(CAPTURE, "declined")),),
        (APPROVED,),
        "the capture tx_2 of pi_1 is declined",
    ),
    "a void that is canceled": (
        ((becomes(HOLD, "succeeded"), becomes(VOID, "canceled")),),
        (APPROVED,),
        "the void tx_3 of pi_1 is canceled",
    ),
}


@pytest.mark.parametrize(("track", "bookings", "finding"), UNPROVED.values(), ids=UNPROVED)
def test_what_ended_without_evidence_is_found(track: Track, bookings: tuple[Booking, ...], finding: str) -> None:
    (found,) = findings(track, *bookings)
    assert finding in found
