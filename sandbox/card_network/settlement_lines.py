"""The lines of a settlement file, before they are written down in a format: captures, and what is made to be wrong.

Reads bookings and adjustments, yields lines; `settlement_report` and `settlement_json` write them. Tests of
reconciliation order what they need of a file (POST /settlement/adjustments): a line that is left out, that stands there
twice, or over another amount or currency, and lines that no capture of ours has made. All of these come down to two
things that are kept: the capture that is left out, and the line that is added.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

import msgspec

from sandbox.card_network.booking import Booking, Kind, processor_reference

__all__ = ["Adjusting", "Adjustment", "Line", "Total", "Unfit", "adjustments_of", "fee_minor", "lines"]

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Amount = Annotated[int, msgspec.Meta(ge=-999_999_999_999, le=999_999_999_999)]
_Currency = Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$")]
_LineKind = Literal["capture", "fee", "refund", "chargeback"]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line. Amounts are signed: what we get is positive. The fee is the network's, and net of it is paid out."""

    processor_reference: str
    reference: str
    kind: str
    amount_minor: int
    currency: str
    fee_minor: int
    merchant: str
    at_micros: int

    @property
    def net_minor(self) -> int:
        return self.amount_minor - self.fee_minor


class Adjustment(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of an order: the reference of a capture that is left out, or a line that is added."""

    omitted: str | None = None
    added: Line | None = None


class Adjusting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order, as it comes in the body of POST /settlement/adjustments.

    `omit`, `double` and `change` are about the capture `reference`; `change` says the new amount, currency or both.
    `add` adds a line: what it does not say is taken from the booking with that reference, of whatever kind and status,
    if there is one.
    """

    processor: Literal["cardnet", "isonet"]
    date: Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    action: Literal["omit", "double", "change", "add"]
    reference: _Text | None = None
    kind: _LineKind = "capture"
    processor_reference: _Text | None = None
    amount_minor: _Amount | None = None
    currency: _Currency | None = None
    fee_minor: _Amount | None = None


class Unfit(Exception):
    """The order cannot be carried out; says why."""


class Total(msgspec.Struct, kw_only=True):
    """The sums over lines of one currency."""

    lines: int = 0
    amount_minor: int = 0
    fee_minor: int = 0
    net_minor: int = 0

    def add(self, line: Line) -> None:
        self.lines += 1
        self.amount_minor += line.amount_minor
        self.fee_minor += line.fee_minor
        self.net_minor += line.net_minor


def fee_minor(amount_minor: int) -> int:
    """1.5 % (rounded half up) and 10 minor units, at most the amount."""
    return min(amount_minor, (amount_minor * 150 + 5_000) // 10_000 + 10)


def adjustments_of(order: Adjusting, booking: Booking | None, *, at_micros: int) -> list[Adjustment]:
    """What is to be kept of an order, given the booking that it is about; raises Unfit."""
    if order.action == "add":
        return [Adjustment(added=_added(order, booking, at_micros))]
    if booking is None or booking.kind is not Kind.capture:
        raise Unfit("reference is not that of a capture")
    line = _line(booking)
    if order.action == "double":
        return [Adjustment(added=line)]
    omitted = Adjustment(omitted=booking.reference)
    if order.action == "omit":
        return [omitted]
    amount_minor = line.amount_minor if order.amount_minor is None else order.amount_minor
    changed = msgspec.structs.replace(
        line,
        amount_minor=amount_minor,
        currency=order.currency or line.currency,
        fee_minor=fee_minor(amount_minor) if order.fee_minor is None else order.fee_minor,
    )
    return [omitted, Adjustment(added=changed)]


def lines(captures: Iterable[Booking], adjustments: Sequence[Adjustment], *, grouped: bool) -> Iterator[Line]:
    """All lines of a file: the captures in the order in which they come, and what was added.

    `grouped` captures come by currency, then by merchant, and what was added takes its place among them; otherwise it
    stands at the end.
    """
    omitted = {adjustment.omitted for adjustment in adjustments if adjustment.omitted is not None}
    added = [adjustment.added for adjustment in adjustments if adjustment.added is not None]
    booked = (_line(capture) for capture in captures if capture.reference not in omitted)
    if grouped:
        yield from heapq.merge(booked, sorted(added, key=_group), key=_group)
    else:
        yield from booked
        yield from added


def _group(line: Line) -> tuple[str, str]:
    return line.currency, line.merchant


def _line(capture: Booking) -> Line:
    assert capture.amount_minor is not None
    assert capture.currency is not None
    return Line(
        processor_reference=capture.processor_reference,
        reference=capture.reference,
        kind="capture",
        amount_minor=capture.amount_minor,
        currency=capture.currency,
        fee_minor=fee_minor(capture.amount_minor),
        merchant=capture.merchant or "",
        at_micros=capture.at_micros,
    )


def _added(order: Adjusting, booking: Booking | None, at_micros: int) -> Line:
    amount_minor = order.amount_minor
    currency = order.currency
    if booking is not None:
        amount_minor = booking.amount_minor if amount_minor is None else amount_minor
        currency = currency or booking.currency
    if amount_minor is None or currency is None:
        raise Unfit("amount_minor and currency are needed, for no booking has the reference, or it has none")
    usual_fee = fee_minor(amount_minor) if order.kind == "capture" else 0
    number = booking.processor_reference if booking is not None else processor_reference(f"{order.kind}@{at_micros}")
    return Line(
        processor_reference=order.processor_reference or number,
        reference=order.reference or "",
        kind=order.kind,
        amount_minor=amount_minor,
        currency=currency,
        fee_minor=usual_fee if order.fee_minor is None else order.fee_minor,
        merchant=(booking.merchant if booking is not None else None) or "",
        at_micros=at_micros if booking is None else booking.at_micros,
    )
