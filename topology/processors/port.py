"""The port between the flows and the card processors: what is asked, what comes of it, and the gate between the two.

An adapter turns a `Call` into the processor's protocol and what comes back into an `Answer`. The engine in
`topology.calls` drives it, on an asyncio loop in the dataflow's thread. The one thing that an adapter must never get
wrong is whether a request can have left: it passes the `Departure` right before the first byte is written, and
everything after that which is no readable answer is *unknown*.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from schemas.identifiers import PaymentIntentId
from schemas.processing import (
    AuthorizationState,
    CallKind,
    InFlightCall,
    Outcome,
    ProcessorResult,
    ResultSource,
)
from schemas.times import Micros

__all__ = [
    "OF_AUTHORIZATION",
    "Answer",
    "Call",
    "Capabilities",
    "Cause",
    "Departure",
    "HeldBack",
    "Lease",
    "Number",
    "Processor",
    "boot_seconds",
]


OF_AUTHORIZATION: Final = "authorization."
"""What the names of an authorization's data begin with where they travel with a capture or void, beside its own."""


class Cause(StrEnum):
    """Why nothing was learnt: the code of a result that is not_sent or unknown."""

    # not_sent, and unknown for a call that may have been executed before
    abandoned = "abandoned"
    amount_not_representable = "amount_not_representable"
    circuit_open = "circuit_open"
    currency_not_representable = "currency_not_representable"
    deduplication_ended = "deduplication_ended"
    expired_before_send = "expired_before_send"
    no_connection = "no_connection"
    numbers_missing = "numbers_missing"
    processor_not_configured = "processor_not_configured"
    send_before_passed = "send_before_passed"
    stopping = "stopping"
    too_many_waiting = "too_many_waiting"
    # unknown
    adapter_failed = "adapter_failed"
    connection_broken = "connection_broken"
    mismatched_answer = "mismatched_answer"
    restarted = "restarted"
    server_error = "server_error"
    timed_out = "timed_out"
    unexpected_status = "unexpected_status"
    unknown_code = "unknown_code"
    unreadable_answer = "unreadable_answer"


# The processor itself, or the way to it, is not well: these count against its circuit.
ILLNESSES = frozenset({Cause.no_connection, Cause.connection_broken, Cause.server_error, Cause.timed_out})


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a processor promises. `deduplicates` lists the kinds of call that it executes once per key of ours.

    `deduplication_seconds` is how long it promises to remember a key, from its first use; `longest_hold_seconds` the
    longest that it holds money for an authorization, None where it does not say.
    """

    deduplicates: frozenset[CallKind] = frozenset()
    lookup: bool = False
    deduplication_seconds: float = 0.0
    longest_hold_seconds: int | None = None


class Call(Struct, frozen=True, kw_only=True):
    """One call. Its key is `asked.transaction_id`; `asked.call` is its kind, of a look-up what is looked up."""

    payment_intent_id: PaymentIntentId
    asked: InFlightCall
    deadline_seconds: float


class Answer(Struct, frozen=True, kw_only=True):
    """What came of a call."""

    outcome: Outcome
    amount_minor: int | None = None
    currency: str | None = None
    code: str | None = None
    decline_code: str | None = None
    authorization_state: AuthorizationState | None = None
    processor_reference: str | None = None
    challenge_url: str | None = None
    capture_before: Micros | None = None
    processor_data: Mapping[str, str] = {}

    @property
    def shows_illness(self) -> bool:
        """Whether the processor, or the way to it, failed, rather than this one call."""
        return self.outcome in (Outcome.not_sent, Outcome.unknown) and self.code in ILLNESSES

    def result(
        self,
        payment_intent_id: PaymentIntentId,
        asked: InFlightCall,
        *,
        kind: CallKind,
        source: ResultSource,
        at: Micros,
    ) -> ProcessorResult:
        """The record that it becomes; `kind` is lookup where `asked` was looked up."""
        return ProcessorResult(
            payment_intent_id=payment_intent_id,
            transaction_id=asked.transaction_id,
            processor=asked.processor,
            call=kind,
            outcome=self.outcome,
            source=source,
            at=at,
            amount_minor=self.amount_minor,
            currency=self.currency,
            code=self.code,
            decline_code=self.decline_code,
            authorization_state=self.authorization_state,
            processor_reference=self.processor_reference,
            challenge_url=self.challenge_url,
            capture_before=self.capture_before,
            processor_data=self.processor_data,
        )


class HeldBack(Exception):
    """The call may not leave. Raised to the adapter that was about to write."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


def boot_seconds() -> float:
    """Seconds by the clock that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Departure:
    """The gate that one call passes once, right before its first byte is written.

    Used in the loop's thread only, so that passing it and holding back exclude each other: *not sent* may be said
    exactly of a departure that was held back, for it can never leave afterwards.
    """

    __slots__ = ("_boot_seconds", "_held_back", "_left", "_send_before")

    def __init__(self, *, boot_seconds: Callable[[], float], send_before: float | None) -> None:
        self._boot_seconds = boot_seconds
        self._send_before = send_before
        self._left = False
        self._held_back: Cause | None = None

    @property
    def left(self) -> bool:
        """Whether the request, or a part of it, may have left."""
        return self._left

    def leave(self) -> None:
        """Say that the next thing is the write. Raises HeldBack; then nothing may be written."""
        if self._left:
            # A client library that tries again by itself would send the request twice.
            raise HeldBack(Cause.abandoned)
        if self._held_back is None and self._send_before is not None and self._boot_seconds() >= self._send_before:
            self._held_back = Cause.send_before_passed
        if self._held_back is not None:
            raise HeldBack(self._held_back)
        self._left = True

    def hold_back(self, cause: Cause) -> bool:
        """See to it that the call does not leave any more; False where it may have left already."""
        if not self._left and self._held_back is None:
            self._held_back = cause
        return not self._left

    def nothing_learnt(self, *, not_sent: Cause, unknown: Cause) -> Answer:
        """The answer of a call that failed: not sent if it can be held back, else unknown."""
        if self.hold_back(not_sent):
            return Answer(outcome=Outcome.not_sent, code=self._held_back)
        return Answer(outcome=Outcome.unknown, code=unknown)


class Number(NamedTuple):
    """One number of a shard: how many were given before it, and the whole second that stands beside it."""

    ordinal: int
    at: Micros


class Lease(Protocol):
    """The numbers of the shard that a call belongs to, for whoever owns the shard.

    What is taken is on record once the entry that carries it is, so that it is never given again, whoever owns the
    shard then.
    """

    @property
    def shard(self) -> int:
        """The shard's number, from 0."""

    @property
    def shards(self) -> int:
        """How many shards there are, which is for life."""

    def take(self, *, cycle: int) -> Number:
        """The next number.

        Its second never goes back, and is a later one each time that the ordinal is a multiple of `cycle`: so the pair
        of second and ordinal modulo `cycle` is given once.
        """


class Processor(Protocol):
    """A card processor. All coroutines run on one loop; each answers within the call's deadline, and raises nothing.

    What is on the wire is under `call.asked.transaction_id` as the key, the same each time that the call is made.
    """

    @property
    def name(self) -> str:
        """The name that routes and records know it by."""

    @property
    def capabilities(self) -> Capabilities | None:
        """What it promises; None for as long as it has not said, and then nothing is called."""

    def prepare(self, asked: InFlightCall, lease: Lease) -> Mapping[str, str]:
        """What has to be on record of a call before it may leave, and is not yet in its `processor_data`.

        Called when the call is announced, each time anew; without I/O. What it says commits with the entry, and stands
        in the call's result, whatever that is.
        """

    async def open(self) -> None:
        """Get ready, on the loop that the calls will run on. A processor that is down is no reason to fail."""

    async def close(self) -> None:
        """Let go of all connections."""

    async def authorize(self, call: Call, departure: Departure) -> Answer:
        """Hold money; never captures. Approved, declined, challenge, not sent or unknown."""

    async def capture(self, call: Call, departure: Departure) -> Answer:
        """Take held money. Approved, declined, not sent or unknown."""

    async def void(self, call: Call, departure: Departure) -> Answer:
        """Release held money, or see to it that it is never held. Approved, declined, not sent or unknown."""

    async def lookup(self, call: Call, departure: Departure) -> Answer:
        """What the processor knows of an earlier call; changes nothing. As that call's answer, or not_found."""
