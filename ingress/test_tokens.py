"""Which brand of card a token of test mode stands for, so that a route by brand can be tried without a card.

The test cards are the simulated network's (README, "Test cards"). Of a real card the card form says it.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BRANDS", "brand_of"]

_VISA = (
    "tok_visa",
    "tok_chargeDeclined",
    "tok_chargeDeclinedInsufficientFunds",
    "tok_chargeDeclinedProcessingError",
    "tok_chargeDeclinedExpiredCard",
    "tok_chargeDeclinedIncorrectCvc",
    "tok_threeDSecureRequired",
    "tok_timeoutThenApproved",
    "tok_timeoutThenDeclined",
    "tok_timeoutNeverArrived",
    "tok_arrivesLate",
    "tok_slow",
    "tok_connectionReset",
    "tok_partialApproval",
    "tok_authorizationGone",
    "tok_shortHold",
    "tok_captureTimesOutOnce",
    "tok_voidTimesOutOnce",
    "tok_captureReset",
    "tok_answeredTwice",
    "tok_answerOfAnother",
)
BRANDS: Mapping[str, str] = {**dict.fromkeys(_VISA, "visa"), "tok_mastercard": "mastercard", "tok_amex": "amex"}
"""By token; lower case, as merchants' routes name them."""


def brand_of(token: str, *, livemode: bool) -> str | None:
    """The brand of the card that a token stands for; None where that is not known."""
    return None if livemode else BRANDS.get(token)
