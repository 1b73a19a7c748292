"""The network's bookings as JSON: the answer to a request or look-up, and the ledger for tests.

Reads and writes nothing; `app` drives it.
"""

from collections.abc import Iterable, Iterator

import msgspec

from sandbox.card_network.booking import HOLD_SECONDS, Booking, Code, Kind, Status, rfc3339
from sandbox.card_network.ledger import LedgerRow

__all__ = ["answer", "capabilities", "challenge_url", "ledger_json", "stray"]


def answer(booking: Booking, *, public_url: str) -> dict[str, object]:
    """What the caller is told of a booking, each time that it asks."""
    told: dict[str, object] = {"reference": booking.reference, "type": booking.kind, "status": booking.status}
    if booking.status is Status.challenge:
        told["processor_reference"] = booking.processor_reference
        told["url"] = challenge_url(booking, public_url=public_url)
    elif booking.status is Status.declined:
        told["code"] = booking.code
        if booking.kind is Kind.authorization:
            told["decline_code"] = booking.decline_code
        else:
            told["authorization_state"] = booking.authorization_state
    else:
        told["processor_reference"] = booking.processor_reference
        if booking.kind is not Kind.void:
            told["amount_minor"] = booking.amount_minor
            told["currency"] = booking.currency
        if booking.capture_before_micros is not None:
            told["capture_before"] = rfc3339(booking.capture_before_micros)
    return told


def stray(booking: Booking) -> dict[str, object]:
    """A decline that belongs to a request that nobody has made: whoever takes it for their own ends otherwise."""
    return {
        "reference": "tx_of_nobody",
        "type": booking.kind,
        "status": Status.declined,
        "code": Code.card_declined,
        "decline_code": "generic_decline",
    }


def challenge_url(booking: Booking, *, public_url: str) -> str:
    return f"{public_url}/challenges/{booking.processor_reference}"


def capabilities(*, deduplicates_authorizations: bool) -> dict[str, object]:
    """What the network promises. Captures and voids are deduplicated always."""
    return {
        "name": "cardnet",
        "deduplicates": {"authorization": deduplicates_authorizations, "capture": True, "void": True},
        "lookup": True,
        "longest_hold_seconds": HOLD_SECONDS,
    }


def ledger_json(chunks: Iterable[list[LedgerRow]]) -> Iterator[bytes]:
    """The ledger as one JSON array, in pieces. A void of an authorization that never came has no amount (null)."""
    yield b"["
    first = True
    for chunk in chunks:
        piece = msgspec.json.encode([_ledger_entry(row) for row in chunk])[1:-1]
        yield piece if first else b"," + piece
        first = False
    yield b"]"


def _ledger_entry(row: LedgerRow) -> dict[str, object]:
    reference, payment_intent, kind, status, amount_minor, currency, at_micros, requests, processor, hold, until = row
    return {
        "reference": reference,
        "payment_intent": payment_intent,
        "type": kind,
        "status": status,
        "amount_minor": amount_minor,
        "currency": currency,
        "at": rfc3339(at_micros),
        "requests": requests,
        "processor": processor,
        "hold": hold,
        "capture_before": None if until is None else rfc3339(until),
    }
