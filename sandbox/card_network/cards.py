"""The test cards: one table of token, number, brand and what the network does with it.

Reads and writes nothing. `decisions` asks what a card answers, `network` how its request arrives and how the answer
goes back. These numbers are published test numbers and the only card numbers here: requests carry tokens, and a
string that looks like a card number is refused wherever it stands (`holds_card_number`).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from sandbox.card_network.booking import Kind

__all__ = ["CARDS", "Arrival", "Card", "Delivery", "Standing", "Verdict", "holds_card_number"]


class Verdict(StrEnum):
    """What the card's bank says to an authorization; `partial` approves half of the amount."""

    approved = "approved"
    partial = "partial"
    declined = "declined"
    challenge = "challenge"


class Arrival(StrEnum):
    """When the request reaches the network's books."""

    at_once = "at_once"
    late = "late"
    never = "never"


class Delivery(StrEnum):
    """How the answer goes back to the caller; `stray`: with a decline that belongs to nobody's request."""

    at_once = "at_once"
    slow = "slow"
    hang = "hang"
    reset = "reset"
    twice = "twice"
    stray = "stray"


class Standing(StrEnum):
    """What becomes of the money that is held, if nobody captures or voids it."""

    seven_days = "seven_days"
    # For the `short_hold_seconds` of the fault plan.
    short = "short"
    # The bank lets go of it at once and tells nobody: whoever captures or voids is told that it has expired.
    dropped = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One test card. `code` and `decline_code` are set where the verdict is a decline.

    The deliveries are those of a first answer; who asks again is answered at once.
    """

    token: str
    number: str
    brand: str = "visa"
    verdict: Verdict = Verdict.approved
    code: str | None = None
    decline_code: str | None = None
    standing: Standing = Standing.seven_days
    arrival: Arrival = Arrival.at_once
    delivery: Delivery = Delivery.at_once
    capture_delivery: Delivery = Delivery.at_once
    void_delivery: Delivery = Delivery.at_once

    def delivery_of(self, kind: Kind) -> Delivery:
        """How the first answer to this kind of request goes back."""
        if kind is Kind.capture:
            return self.capture_delivery
        return self.void_delivery if kind is Kind.void else self.delivery

    @property
    def last4(self) -> str:
        return self.number[-4:]


_TABLE = (
    Card(token="tok_visa", number="4242424242424242"),
    Card(token="tok_mastercard", number="5555555555554444", brand="mastercard"),
    Card(token="tok_amex", number="378282246310005", brand="amex"),
    Card(
        token="tok_chargeDeclined",
        number="4000000000000002",
        verdict=Verdict.declined,
        code="card_declined",
        decline_code="generic_decline",
    ),
    Card(
        token="tok_chargeDeclinedInsufficientFunds",
        number="4000000000009995",
        verdict=Verdict.declined,
        code="card_declined",
        decline_code="insufficient_funds",
    ),
    Card(
        token="tok_chargeDeclinedProcessingError",
        number="4000000000000119",
        verdict=Verdict.declined,
        code="processing_error",
    ),
    Card(
        token="tok_chargeDeclinedExpiredCard",
        number="4000000000000069",
        verdict=Verdict.declined,
        code="card_declined",
        decline_code="expired_card",
    ),
    Card(
        token="tok_chargeDeclinedIncorrectCvc",
        number="4000000000000127",
        verdict=Verdict.declined,
        code="card_declined",
        decline_code="incorrect_cvc",
    ),
    Card(token="tok_threeDSecureRequired", number="4000000000003220", verdict=Verdict.challenge),
    # Our own numbers. The bank decides, and the caller does not learn it from the answer.
    Card(token="tok_timeoutThenApproved", number="4000001000000018", delivery=Delivery.hang),
    Card(
        token="tok_timeoutThenDeclined",
        number="4000001000000026",
        verdict=Verdict.declined,
        code="card_declined",
        decline_code="generic_decline",
        delivery=Delivery.hang,
    ),
    Card(
        token="tok_timeoutNeverArrived",
        number="4000001000000034",
        arrival=Arrival.never,
        delivery=Delivery.hang,
    ),
    Card(token="tok_arrivesLate", number="4000001000000042", arrival=Arrival.late, delivery=Delivery.hang),
    Card(token="tok_slow", number="4000001000000059", delivery=Delivery.slow),
    Card(token="tok_connectionReset", number="4000001000000067", delivery=Delivery.reset),
    Card(token="tok_partialApproval", number="4000001000000075", verdict=Verdict.partial),
    Card(token="tok_authorizationGone", number="4000001000000083", standing=Standing.dropped),
    Card(token="tok_shortHold", number="4000001000000091", standing=Standing.short),
    Card(token="tok_captureTimesOutOnce", number="4000001000000109", capture_delivery=Delivery.hang),
    Card(token="tok_voidTimesOutOnce", number="4000001000000117", void_delivery=Delivery.hang),
    Card(token="tok_captureReset", number="4000001000000125", capture_delivery=Delivery.reset),
    Card(token="tok_answeredTwice", number="4000001000000133", delivery=Delivery.twice),
    Card(token="tok_answerOfAnother", number="4000001000000141", delivery=Delivery.stray),
)

CARDS: dict[str, Card] = {card.token: card for card in _TABLE}

# The same rule as at the merchant API: a run of 13 to 19 digits that starts 2 to 6, spaces and dashes aside, that does
# not touch a letter or digit.
_CANDIDATE = re.compile(r"(?<![0-9A-Za-z])[2-6](?:[ -]*[0-9]){12,18}(?![0-9A-Za-z])")


def holds_card_number(text: str) -> bool:
    """Whether a card number (by shape and Luhn's check digit) stands anywhere in `text`."""
    return any(_passes_luhn(re.sub("[ -]", "", match[0])) for match in _CANDIDATE.finditer(text))


def _passes_luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
