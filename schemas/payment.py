"""The payment itself: PaymentIntent, its Transactions, and the events that tell of them.

Frozen mirrors of the Avro records of the same names in `schemas/avro/`; amounts are minor units, times are
microseconds since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from schemas.identifiers import CommandId, EventId, MerchantId, PaymentIntentId, TransactionId
from schemas.times import Micros

__all__ = [
    "Actor",
    "ActorType",
    "CaptureMethod",
    "Card",
    "NextAction",
    "PaymentError",
    "PaymentEvent",
    "PaymentIntent",
    "PaymentIntentStatus",
    "ReplyTo",
    "Transaction",
    "TransactionStatus",
    "TransactionType",
    "VoidReason",
]


class PaymentIntentStatus(StrEnum):
    """Where a PaymentIntent stands. There is no 'failed': a decline leads back to a new attempt."""

    requires_payment_method = "requires_payment_method"
    processing = "processing"
    requires_action = "requires_action"
    requires_capture = "requires_capture"
    succeeded = "succeeded"
    canceled = "canceled"


class CaptureMethod(StrEnum):
    """Whether Paystream captures as soon as an authorization is approved, or the merchant asks for it."""

    automatic = "automatic"
    manual = "manual"


class TransactionType(StrEnum):
    """What a Transaction asks of the processor."""

    authorization = "authorization"
    capture = "capture"
    void = "void"
    settlement = "settlement"


class TransactionStatus(StrEnum):
    """Where a Transaction stands: created, then requires_action or pending, then one of the final five."""

    created = "created"
    requires_action = "requires_action"
    pending = "pending"
    succeeded = "succeeded"
    declined = "declined"
    failed = "failed"
    canceled = "canceled"
    expired = "expired"


class ActorType(StrEnum):
    """Who caused a record."""

    key = "key"
    client = "client"
    operator = "operator"
    timer = "timer"
    processor = "processor"


class VoidReason(StrEnum):
    """Why a void was opened; decides where its end leads."""

    requested = "requested"
    cancel = "cancel"
    expiry = "expiry"
    challenge_timeout = "challenge_timeout"
    doubt = "doubt"
    amount_not_approved = "amount_not_approved"
    capture_failed = "capture_failed"
    late_approval = "late_approval"


class Actor(Struct, frozen=True, kw_only=True):
    """Who caused a record."""

    type: ActorType
    id: str


class ReplyTo(Struct, frozen=True, kw_only=True):
    """Where the reply to a command is awaited."""

    partition: int
    command_id: CommandId


class Card(Struct, frozen=True, kw_only=True):
    """What everyone but the processing flow may know of a card."""

    brand: str
    last4: str
    exp_month: int
    exp_year: int


class NextAction(Struct, frozen=True, kw_only=True):
    """What the customer has to do before the payment goes on."""

    type: str
    url: str


class PaymentError(Struct, frozen=True, kw_only=True):
    """Why the last attempt to pay did not succeed."""

    transaction_id: TransactionId
    code: str
    decline_code: str | None = None


class Transaction(Struct, frozen=True, kw_only=True):
    """One authorization, capture, void or settlement of a PaymentIntent."""

    id: TransactionId
    type: TransactionType
    status: TransactionStatus
    amount_minor: int
    currency: str
    processor: str
    route: tuple[str, ...] = ()
    payment_method: str | None = None
    card: Card | None = None
    authorization_id: TransactionId | None = None
    void_reason: VoidReason | None = None
    processor_reference: str | None = None
    code: str | None = None
    decline_code: str | None = None
    next_action: NextAction | None = None
    challenge_returned: bool = False
    capture_before: Micros | None = None
    lookups_not_found: int = 0
    lookups_unanswered: int = 0
    repeats: int = 0
    command_at: Micros | None = None
    fingerprint: bytes | None = None
    reply_to: ReplyTo | None = None
    processor_data: Mapping[str, str] = field(default_factory=dict)
    created_at: Micros
    completed_at: Micros | None = None


class PaymentIntent(Struct, frozen=True, kw_only=True):
    """A payment as it stands: the state of the fold, and its changelog."""

    id: PaymentIntentId
    merchant_id: MerchantId
    livemode: bool
    status: PaymentIntentStatus
    amount_minor: int
    currency: str
    capture_method: CaptureMethod
    amount_capturable_minor: int = 0
    amount_received_minor: int = 0
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    fingerprint: bytes
    sequence: int
    created_at: Micros
    updated_at: Micros
    next_action: NextAction | None = None
    last_payment_error: PaymentError | None = None
    cancellation_reason: str | None = None
    canceled_by: CommandId | None = None
    cancel_requested: bool = False
    transactions: tuple[Transaction, ...] = ()


class PaymentEvent(Struct, frozen=True, kw_only=True):
    """One step of a payment, with the state after it."""

    id: EventId
    sequence: int
    type: str
    at: Micros
    cause: str
    actor: Actor
    payment_intent: PaymentIntent
    transaction: Transaction | None = None
    evidence: str | None = None
