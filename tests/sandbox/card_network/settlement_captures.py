"""Captures for the tests of settlement files."""

from sandbox.card_network.booking import Booking, Kind, Status

__all__ = ["AT", "capture"]

AT = 1_700_000_000_000_000
"""2023-11-14 22:13:20 UTC."""


def capture(number: int, *, amount_minor: int, currency: str, merchant: str | None = None) -> Booking:
    """An approved capture, `number` microseconds after AT."""
    return Booking(
        reference=f"tx_{number}",
        kind=Kind.capture,
        status=Status.approved,
        payment_intent="pi_1",
        amount_minor=amount_minor,
        currency=currency,
        processor_reference=f"cn_{number}",
        at_micros=AT + number,
        merchant=merchant,
        authorization_reference="tx_a",
    )
