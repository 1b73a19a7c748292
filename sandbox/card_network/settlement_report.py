"""The settlement report: what the network captured on one UTC date, and what it pays out for it.

Reads bookings, yields CSV; `app` serves it. The rows, by their first field:

    header,cardnet,SEQUENCE,DATE            SEQUENCE rises by one from date to date
    line,processor_reference,…              the names of the columns
    1,cn_…,tx_…,capture,1999,usd,…          one line for each capture, in the order of booking
    total,CURRENCY,LINES,AMOUNT_MINOR,FEE_MINOR,NET_MINOR    one for each currency, by name
    trailer,SEQUENCE,LINES                  LINES of all currencies

The report of a date that is over never changes. The fee is 1.5 % (rounded half up) and 10 minor units, at most the
amount; the payout is in the currency of the capture.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from sandbox.card_network.booking import Booking, rfc3339

__all__ = ["COLUMNS", "fee_minor", "report"]

COLUMNS = (
    "line",
    "processor_reference",
    "reference",
    "kind",
    "amount_minor",
    "currency",
    "fee_minor",
    "net_minor",
    "payout_currency",
    "at",
)
_FIRST_DATE = date(2020, 1, 1)
_LINES_PER_CHUNK = 1000


@dataclass(slots=True)
class _Total:
    lines: int = 0
    amount_minor: int = 0
    fee_minor: int = 0


def fee_minor(amount_minor: int) -> int:
    return min(amount_minor, (amount_minor * 150 + 5_000) // 10_000 + 10)


def report(captures: Iterable[Booking], *, settlement_date: date) -> Iterator[str]:
    """The report in pieces; `captures` are those of `settlement_date`."""
    sequence = (settlement_date - _FIRST_DATE).days + 1
    totals: dict[str, _Total] = {}
    lines = 0
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("header", "cardnet", sequence, settlement_date.isoformat()))
    writer.writerow(COLUMNS)
    for capture in captures:
        lines += 1
        writer.writerow(_line(lines, capture, totals))
        if lines % _LINES_PER_CHUNK == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    for currency, total in sorted(totals.items()):
        net_minor = total.amount_minor - total.fee_minor
        writer.writerow(("total", currency, total.lines, total.amount_minor, total.fee_minor, net_minor))
    writer.writerow(("trailer", sequence, lines))
    yield text.getvalue()


def _line(line: int, capture: Booking, totals: dict[str, _Total]) -> tuple[object, ...]:
    assert capture.amount_minor is not None
    assert capture.currency is not None
    fee = fee_minor(capture.amount_minor)
    total = totals.setdefault(capture.currency, _Total())
    total.lines += 1
    total.amount_minor += capture.amount_minor
    total.fee_minor += fee
    return (
        line,
        capture.processor_reference,
        capture.reference,
        capture.kind,
        capture.amount_minor,
        capture.currency,
        fee,
        capture.amount_minor - fee,
        capture.currency,
        rfc3339(capture.at_micros),
    )
