"""Records about the running of the pipeline: dead letters, webhook attempts, merchants, forgetting."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from schemas.identifiers import EventId, MerchantId, PaymentIntentId
from schemas.times import Micros

__all__ = [
    "DeadLetter",
    "Forgotten",
    "Merchant",
    "WebhookAttempt",
]


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A record that could not be processed, as it came."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None
    cause: str
    detail: str
    flow: str
    at: Micros


class WebhookAttempt(Struct, frozen=True, kw_only=True):
    """One attempt to deliver an event to a merchant's endpoint."""

    event_id: EventId
    payment_intent_id: PaymentIntentId
    merchant_id: MerchantId
    endpoint_id: str
    attempt: int
    delivered: bool
    status_code: int | None = None
    error: str | None = None
    duration_ms: int
    at: Micros


class Merchant(Struct, frozen=True, kw_only=True):
    """A merchant, as merchant administration has it."""

    id: MerchantId
    name: str
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    disabled: bool = False
    updated_at: Micros


class Forgotten(Struct, frozen=True, kw_only=True):
    """How far a shard of the fold has forgotten final PaymentIntents: kept in the changelog of the payments flow."""

    up_to: Micros
