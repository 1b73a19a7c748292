"""What is asked of a PaymentIntent, and what the answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from schemas.identifiers import CommandId, MerchantId, PaymentIntentId, TransactionId
from schemas.payment import Actor, CaptureMethod, Card, PaymentIntent
from schemas.processing import AuthorizationState, Outcome
from schemas.times import Micros

__all__ = [
    "Authorize",
    "CancelPaymentIntent",
    "CapturePayment",
    "CommandBody",
    "CommandReply",
    "CreatePaymentIntent",
    "PaymentCommand",
    "ResolveTransaction",
    "ReturnFromChallenge",
    "VoidPayment",
    "asked_at",
    "reply_headers",
]


class CreatePaymentIntent(Struct, frozen=True, kw_only=True):
    """Open a PaymentIntent."""

    amount_minor: int
    currency: str
    capture_method: CaptureMethod
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    absent_at: Micros
    fingerprint: bytes


class Authorize(Struct, frozen=True, kw_only=True):
    """Attempt to pay: open an authorization."""

    transaction_id: TransactionId
    payment_method: str
    card: Card | None = None
    route: tuple[str, ...]
    fingerprint: bytes


class CapturePayment(Struct, frozen=True, kw_only=True):
    """Capture an approved authorization."""

    transaction_id: TransactionId
    amount_minor: int | None = None
    fingerprint: bytes


class VoidPayment(Struct, frozen=True, kw_only=True):
    """Release an approved authorization."""

    transaction_id: TransactionId
    fingerprint: bytes


class CancelPaymentIntent(Struct, frozen=True, kw_only=True):
    """Cancel the PaymentIntent; voids what is authorized."""

    transaction_id: TransactionId
    fingerprint: bytes


class ReturnFromChallenge(Struct, frozen=True, kw_only=True):
    """The customer's browser came back, or the processor called: look up how the challenge ended."""

    transaction_id: TransactionId | None = None


class ResolveTransaction(Struct, frozen=True, kw_only=True):
    """A person decides a Transaction in doubt, with evidence."""

    transaction_id: TransactionId
    outcome: Outcome
    authorization_state: AuthorizationState | None = None
    evidence: str


CommandBody = (
    CreatePaymentIntent
    | Authorize
    | CapturePayment
    | VoidPayment
    | CancelPaymentIntent
    | ReturnFromChallenge
    | ResolveTransaction
)


class PaymentCommand(Struct, frozen=True, kw_only=True):
    """What somebody asks of a PaymentIntent."""

    id: CommandId
    payment_intent_id: PaymentIntentId
    merchant_id: MerchantId
    livemode: bool
    at: Micros
    actor: Actor
    reply_partition: int | None = None
    wait: bool = False
    body: CommandBody
    merchant_disabled: bool = False


_ASKED_AT = "command-at"


def reply_headers(at: Micros | None) -> list[tuple[str, str | bytes | None]]:
    """The headers of a reply's message: when the command that it answers was made, in microseconds since the epoch.

    Not in the record, which ingress processes of an earlier version have to read.
    """
    return [] if at is None else [(_ASKED_AT, str(at).encode())]


def asked_at(headers: Sequence[tuple[str, str | bytes | None]] | None) -> Micros | None:
    """When the command that a reply answers was made, by its message's headers; None where they do not say."""
    for name, value in headers or ():
        if name == _ASKED_AT and value is not None:
            return Micros(int(value))
    return None


class CommandReply(Struct, frozen=True, kw_only=True):
    """The answer to a command: a refusal, or the PaymentIntent."""

    command_id: CommandId
    payment_intent_id: PaymentIntentId
    sequence: int
    refusal: str | None = None
    payment_intent: PaymentIntent | None = None
    transaction_id: TransactionId | None = None
    replayed: bool = False
    left_processing: bool = False
    forgotten_up_to: Micros | None = None
