"""Records about the running of the pipeline: dead letters, webhook attempts, merchants, forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.identifiers import EventId, MerchantId, PaymentIntentId
from schemas.times import Micros

__all__ = [
    "DeadLetter",
    "Forgotten",
    "Merchant",
    "WebhookAttempt",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAttempt:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant:
    """A merchant, as merchant administration has it."""

    id: MerchantId
    name: str
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    disabled: bool = False
    updated_at: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How far a shard of the fold has forgotten final PaymentIntents: kept in the changelog of the payments flow."""

    up_to: Micros
