"""What passes between the flows while a processor is asked: results, timers, and the changelogs of who waits."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.times import Micros

__all__ = [
    "AuthorizationState",
    "CallKind",
    "ClockOffset",
    "InFlight",
    "InFlightCall",
    "Numbering",
    "Outcome",
    "Pending",
    "ProcessorResult",
    "ResultSource",
    "ShardClock",
    "Timer",
    "TimerFired",
]


class CallKind(StrEnum):
    """The kind of call that a processor is asked to carry out."""

    authorize = "authorize"
    capture = "capture"
    void = "void"
    lookup = "lookup"


class Outcome(StrEnum):
    """What came of a processor call. not_found and not_sent are no evidence of anything but themselves."""

    approved = "approved"
    declined = "declined"
    challenge = "challenge"
    not_sent = "not_sent"
    unknown = "unknown"
    not_found = "not_found"


class AuthorizationState(StrEnum):
    """What became of the authorization, as the answer to a refused capture or void says."""

    open = "open"
    gone = "gone"
    captured = "captured"


class ResultSource(StrEnum):
    """How a result was learnt."""

    answer = "answer"
    lookup = "lookup"
    settlement = "settlement"
    operator = "operator"


class ProcessorResult(Struct, frozen=True, kw_only=True):
    """What a processor said to a call, or that nothing was learnt."""

    payment_intent_id: PaymentIntentId
    transaction_id: TransactionId
    processor: str
    call: CallKind
    outcome: Outcome
    source: ResultSource
    at: Micros
    amount_minor: int | None = None
    currency: str | None = None
    code: str | None = None
    decline_code: str | None = None
    authorization_state: AuthorizationState | None = None
    processor_reference: str | None = None
    challenge_url: str | None = None
    capture_before: Micros | None = None
    actor_id: str | None = None
    evidence: str | None = None
    processor_data: Mapping[str, str] = field(default_factory=dict)


class TimerFired(Struct, frozen=True, kw_only=True):
    """A deadline or a step of the ladder has come."""

    payment_intent_id: PaymentIntentId
    transaction_id: TransactionId | None = None
    name: str
    step: int = 0
    due_at: Micros
    at: Micros


class InFlightCall(Struct, frozen=True, kw_only=True):
    """A processor call between its announcement and its outcome."""

    transaction_id: TransactionId
    call: CallKind
    processor: str
    in_flight: bool
    repeat: bool = False
    restored: bool = False
    amount_minor: int
    currency: str
    authorization_id: TransactionId | None = None
    authorization_reference: str | None = None
    payment_method: str | None = None
    sequence: int
    command_at: Micros | None = None
    first_sent_at: Micros | None = None
    processor_data: Mapping[str, str] = field(default_factory=dict)


class InFlight(Struct, frozen=True, kw_only=True):
    """The calls of one PaymentIntent: changelog of the processing flow."""

    payment_intent_id: PaymentIntentId
    sequence: int
    calls: tuple[InFlightCall, ...]


class Numbering(Struct, frozen=True, kw_only=True):
    """How far a shard has come in numbering its calls: kept in the changelog of the processing flow."""

    given: int
    last_at: Micros


class Timer(Struct, frozen=True, kw_only=True):
    """A timer that is set."""

    name: str
    transaction_id: TransactionId | None = None
    step: int = 0
    due_at: Micros
    set_at: Micros


class Pending(Struct, frozen=True, kw_only=True):
    """What reconciliation waits for, of one PaymentIntent: changelog of the reconciliation flow."""

    payment_intent_id: PaymentIntentId
    sequence: int
    timers: tuple[Timer, ...]
    lookups: tuple[InFlightCall, ...]
    livemode: bool = True


class ClockOffset(Struct, frozen=True, kw_only=True):
    """The test clock is advanced; addressed to a partition, not to an intent."""

    offset_micros: int
    actor_id: str
    at: Micros


class ShardClock(Struct, frozen=True, kw_only=True):
    """How the test clock of a shard was advanced: kept in the changelog of each flow that reads it."""

    advances: tuple[ClockOffset, ...]
