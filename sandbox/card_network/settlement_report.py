"""The settlement file as CSV: what the network captured for one settlement date, and what it pays out for it.

Reads lines, yields text; `settlement_api` serves it. The rows, by their first field:

    header,PROCESSOR,SEQUENCE,DATE          SEQUENCE rises by one from date to date
    line,processor_reference,…              the names of the columns
    1,cn_…,tx_…,capture,1999,usd,…          one line for each capture, in the order of booking
    total,CURRENCY,LINES,AMOUNT_MINOR,FEE_MINOR,NET_MINOR    one for each currency, by name
    trailer,SEQUENCE,LINES                  LINES of all currencies

The file of a date that is over never changes, but by adjustments. docs/settlement-files.md describes it for readers.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import date

from sandbox.card_network.booking import rfc3339
from sandbox.card_network.settlement_lines import Line, Total

__all__ = ["COLUMNS", "file_sequence", "report"]

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


def file_sequence(settlement_date: date) -> int:
    """The number of a processor's file of that date, in every format."""
    return (settlement_date - _FIRST_DATE).days + 1


def report(lines: Iterable[Line], *, processor: str, settlement_date: date) -> Iterator[str]:
    """The file in pieces."""
    sequence = file_sequence(settlement_date)
    totals: dict[str, Total] = {}
    number = 0
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("header", processor, sequence, settlement_date.isoformat()))
    writer.writerow(COLUMNS)
    for number, line in enumerate(lines, 1):
        totals.setdefault(line.currency, Total()).add(line)
        writer.writerow(_row(number, line))
        if number % _LINES_PER_CHUNK == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    for currency, total in sorted(totals.items()):
        writer.writerow(("total", currency, total.lines, total.amount_minor, total.fee_minor, total.net_minor))
    writer.writerow(("trailer", sequence, number))
    yield text.getvalue()


def _row(number: int, line: Line) -> tuple[object, ...]:
    return (
        number,
        line.processor_reference,
        line.reference,
        line.kind,
        line.amount_minor,
        line.currency,
        line.fee_minor,
        line.net_minor,
        line.currency,
        rfc3339(line.at_micros),
    )
