"""What a run left behind, as the checker sees it: plain rows, read from outside.

`Step` is one event of `payments.events` as a committed reader sees it; `State` is what the fold remembers of one
PaymentIntent; `Booking` is one row of the card network's ledger; `Row` is one PaymentIntent of the read model.
`Settlement` is what was done and seen of settlement files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import msgspec

from tests.chaos.history import Operation

__all__ = [
    "ISO8583",
    "OPEN",
    "Adjustment",
    "Booking",
    "Evidence",
    "Leg",
    "Line",
    "Row",
    "Settled",
    "Settlement",
    "State",
    "Step",
    "as_json",
]

ISO8583 = "isonet"
"""The processor that speaks ISO 8583: it takes the same authorization again for another one."""

OPEN = frozenset({"created", "requires_action", "pending"})
"""Where a Transaction stands that has not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A Transaction of a PaymentIntent at some moment."""

    id: str
    type: str
    status: str
    amount: int
    hold: str | None = None
    """Of a capture or void: the authorization that it is about."""
    processor: str = ""
    """Whom it was asked of; another one where it could not be sent to the first."""
    code: str | None = None
    """Why it did not succeed, in a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An event: the PaymentIntent as it stands after it."""

    partition: int
    offset: int
    intent: str
    sequence: int
    type: str
    status: str
    amount: int
    currency: str
    capture_method: str
    received: int
    legs: tuple[Leg, ...] = ()
    content: str = ""
    """A digest of the whole PaymentIntent."""
    document: str = ""
    """A digest of the whole event."""
    written_at: float | None = None
    """When the broker appended it, in seconds since 1970; None where nobody looked."""
    evidence: str | None = None
    """What decided it where neither an answer nor a timer did: a line of a settlement file, or a person's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A PaymentIntent in the read model."""

    intent: str
    sequence: int
    status: str
    amount: int
    received: int
    legs: tuple[Leg, ...] = ()
    content: str = ""
    """A digest of the whole PaymentIntent, as the read model gives it to ingress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What the card network did under one reference."""

    reference: str
    intent: str
    type: str
    is_approved: bool
    amount: int
    requests: int
    currency: str | None = None
    processor: str = ""
    at: float | None = None
    """When it was booked, in seconds since 1970; None where nobody looked."""
    was_refused: bool = False
    """Whether it was refused at another time than it was approved, by a processor that does not know its key again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The last record of a PaymentIntent in `payments.intents`."""

    sequence: int | None
    """None: it has been forgotten."""
    written_at: float
    """Seconds of the one steady clock of this machine."""
    content: str = ""
    """A digest of the whole PaymentIntent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """What a settlement file was made to say wrongly, by its `action`: omit, double, change or add a line."""

    action: str
    processor: str
    reference: str
    """A Transaction, or the reference of nobody."""
    kind: str = "capture"
    amount: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a settlement file, as it is in the log."""

    processor: str
    file: str
    """The SHA-256 of the file."""
    number: int
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a capture, or of a line. What belongs to the line or the capture is None where there is none."""

    processor: str
    reference: str
    outcome: str
    intent: str | None = None
    transaction: str | None = None
    captured: int | None = None
    captured_currency: str | None = None
    line: int | None = None
    """The line's number in its file."""
    gross: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """All of it, once every window has ended."""

    adjustments: Sequence[Adjustment]
    files: Mapping[str, int]
    """By SHA-256, how many lines a file has that was imported."""
    lines: Sequence[Line]
    settled: Sequence[Settled]
    rows: Sequence[Settled] | None
    """The same from the read model; None where there is none."""
    mismatches: Sequence[tuple[str, str]] | None
    """The reference and name of every mismatch that the read model shows; None where there is none."""
    waiting: Sequence[str] = ()
    """The keys under which the settlement flow still waits for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All of it, once the system has healed."""

    history: Sequence[Operation]
    steps: Sequence[Step]
    rows: Mapping[str, Row] | None
    """By PaymentIntent; None where there is no read model."""
    bookings: Sequence[Booking]
    dead_letters: Sequence[str] = field(default=())
    """The causes of dead letters."""
    repeats_are_holds: bool = False
    """Whether the network holds anew each time that an authorization is asked, under whichever reference."""
    states: Mapping[str, State] | None = None
    """The last record of each PaymentIntent in the fold's changelog; None where nobody looked."""
    audited: Mapping[tuple[str, int], str] | None = None
    """By PaymentIntent and sequence, a digest of the event in the audit log; None where nobody looked."""
    history_is_whole: bool = True
    """Whether all that was ever asked is in the history, with its body."""
    settlement: Settlement | None = None
    """None where nothing has been settled yet."""


def as_json(evidence: Evidence) -> bytes:
    """All of it, to be looked at by whoever wants to know why a seed failed."""
    content = {one.name: getattr(evidence, one.name) for one in fields(evidence)}
    audited = [[*place, digest] for place, digest in (evidence.audited or {}).items()]
    return msgspec.json.format(msgspec.json.encode({**content, "audited": audited}), indent=1) + b"\n"
