"""Settlement files to read: the simulated network's own, and the same nested."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import date
from typing import Any

from sandbox.card_network.booking import Booking, Kind, Status, processor_reference
from sandbox.card_network.settlement_lines import fee_minor, lines
from sandbox.card_network.settlement_report import report
from schemas.times import Micros
from topology.settlement_files.checking import CheckedFile, Checking, FileRefused, Line
from topology.settlement_files.formats import FORMATS

__all__ = ["AT", "booking", "csv_file", "nested", "nested_file", "problems", "read", "reference"]

AT = Micros(1_790_000_000_000_000)


def reference(number: int) -> str:
    return f"tx_{number:032x}"


def booking(number: int, *, amount_minor: int = 1_000, currency: str = "usd") -> Booking:
    """A capture in the network's ledger."""
    return Booking(
        reference=reference(number),
        kind=Kind.capture,
        status=Status.approved,
        payment_intent=f"pi_{number:032x}",
        amount_minor=amount_minor,
        currency=currency,
        processor_reference=processor_reference(reference(number)),
        at_micros=AT + number,
    )


_CAPTURES = (
    booking(1),
    booking(2, amount_minor=2_500, currency="eur"),
    booking(3, amount_minor=500, currency="jpy"),
    booking(4, amount_minor=1_999),
)


def csv_file(captures: Sequence[Booking] = _CAPTURES) -> str:
    """The network's report on them."""
    return "".join(report(lines(captures, (), grouped=False), processor="cardnet", settlement_date=date(2026, 9, 21)))


def nested(captures: Sequence[Booking] = _CAPTURES) -> dict[str, Any]:
    """The same as a nested document, before it is text."""
    batches: list[dict[str, Any]] = []
    number = 0
    for currency in sorted({str(capture.currency) for capture in captures}):
        own: list[dict[str, Any]] = []
        for capture in captures:
            if capture.currency != currency:
                continue
            number += 1
            assert capture.amount_minor is not None
            fee = fee_minor(capture.amount_minor)
            own.append(
                {
                    "line": number,
                    "processor_reference": capture.processor_reference,
                    "reference": capture.reference,
                    "kind": "capture",
                    "amount_minor": capture.amount_minor,
                    "currency": currency,
                    "fee_minor": fee,
                    "net_minor": capture.amount_minor - fee,
                    "payout_currency": currency,
                    "at": "2026-09-21T14:13:20.000001Z",
                }
            )
        totals = {"lines": len(own)} | {
            name: sum(line[name] for line in own) for name in ("amount_minor", "fee_minor", "net_minor")
        }
        batches.append({"currency": currency, "merchant_batches": [{"lines": own}], "totals": totals})
    return {
        "processor": "cardnet",
        "file_sequence": 2456,
        "settlement_date": "2026-09-21",
        "batches": batches,
        "trailer": {"file_sequence": 2456, "lines": number},
    }


def nested_file(document: dict[str, Any] | None = None) -> str:
    return json.dumps(nested() if document is None else document)


def read(content: bytes | str, form: str) -> tuple[list[Line], CheckedFile]:
    """The lines of a file, and what it is; raises FileRefused."""
    checking = Checking(FORMATS[form])
    stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    return list(checking.lines(stream)), checking.checked()


def problems(content: bytes | str, form: str) -> list[str]:
    """What a file is refused for."""
    try:
        read(content, form)
    except FileRefused as refused:
        return refused.problems
    return []
