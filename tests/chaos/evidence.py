"""What a run left behind, as the checker sees it: plain rows, read from outside.

`Step` is one event of `payments.events` as a committed reader sees it; `State` is what the fold remembers of one
PaymentIntent; `Booking` is one row of the card network's ledger; `Row` is one PaymentIntent of the read model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.history import Operation

__all__ = ["Booking", "Evidence", "Leg", "Row", "State", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A Transaction of a PaymentIntent at some moment."""

    id: str
    type: str
    status: str
    amount: int
    hold: str | None = None
    """Of a capture or void: the authorization that it is about."""


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
