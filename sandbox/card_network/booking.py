"""A booking: one row of the network's ledger, and the words that it is written in.

Reads and writes nothing. `decisions` makes bookings, `ledger` keeps them, `answers` and `iso8583.answers` tell them.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

__all__ = [
    "HOLD_SECONDS",
    "HTTP_PROCESSOR",
    "ISO_PROCESSOR",
    "AuthorizationState",
    "Booking",
    "Code",
    "Hold",
    "Kind",
    "Status",
    "processor_reference",
    "rfc3339",
]

# The longest that the network holds money for an authorization (capture_before), seven days.
HOLD_SECONDS = 7 * 24 * 3600

# The names under which the network is known by each of its protocols, in its settlement files among others.
HTTP_PROCESSOR = "cardnet"
ISO_PROCESSOR = "isonet"


class Kind(StrEnum):
    authorization = "authorization"
    capture = "capture"
    void = "void"


class Status(StrEnum):
    approved = "approved"
    declined = "declined"
    challenge = "challenge"


class Hold(StrEnum):
    """What has become of the money that an authorization asked for. Expiry is not written: it follows from the time.

    A hold that is `dropped` was approved, and the bank has let go of it without telling anybody.
    """

    none = "none"
    challenged = "challenged"
    held = "held"
    dropped = "dropped"
    captured = "captured"
    voided = "voided"


class AuthorizationState(StrEnum):
    """What a declined capture or void says about the authorization."""

    open = "open"
    gone = "gone"
    captured = "captured"


class Code(StrEnum):
    """Why something was declined, beside the codes in the table of cards."""

    invalid_token = "invalid_token"
    card_declined = "card_declined"
    processing_error = "processing_error"
    authentication_failed = "authentication_failed"
    authentication_required = "authentication_required"
    voided = "voided"
    voided_before_arrival = "voided_before_arrival"
    authorization_not_found = "authorization_not_found"
    authorization_not_approved = "authorization_not_approved"
    authorization_declined = "authorization_declined"
    authorization_voided = "authorization_voided"
    authorization_expired = "authorization_expired"
    authorization_captured = "authorization_captured"
    amount_exceeds_authorized = "amount_exceeds_authorized"
    currency_mismatch = "currency_mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One transaction as the network has it. Times are microseconds since 1970, UTC.

    A void books the amount that it releases and its currency, and none where its authorization has not arrived; what
    a partial one leaves held is its `remaining_minor`. An authorization's `amount_minor` is what is held (at first:
    what was approved), `requested_minor` what was asked for. `hold` and `capture_before_micros` belong to
    authorizations; `authorization_reference` to captures and voids, `authorization_state` to declined ones. `merchant`
    is known where the protocol says it.
    """

    reference: str
    kind: Kind
    status: Status
    payment_intent: str
    amount_minor: int | None
    currency: str | None
    processor_reference: str
    at_micros: int
    processor: str = HTTP_PROCESSOR
    merchant: str | None = None
    requested_minor: int | None = None
    remaining_minor: int | None = None
    token: str | None = None
    notify_url: str | None = None
    authorization_reference: str | None = None
    code: str | None = None
    decline_code: str | None = None
    authorization_state: AuthorizationState | None = None
    hold: Hold | None = None
    capture_before_micros: int | None = None


def processor_reference(reference: str, *, hold_number: int = 1) -> str:
    """The network's own number for a transaction, derived from the caller's reference.

    A second hold under one reference (deduplication off) has a number of its own.
    """
    return "cn_" + hashlib.sha256(f"{reference}#{hold_number}".encode()).hexdigest()[:24]


def rfc3339(at_micros: int) -> str:
    """A time as it stands in JSON and CSV: RFC 3339, UTC, microseconds."""
    seconds, micros = divmod(at_micros, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"
