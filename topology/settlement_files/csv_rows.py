"""The card network's own format: CSV whose rows are told apart by their first field.

header,PROCESSOR,SEQUENCE,DATE
line,processor_reference,…          the names of the columns
1,cn_…,tx_…,capture,1999,usd,…      one row for each line
total,CURRENCY,LINES,AMOUNT_MINOR,FEE_MINOR,NET_MINOR
trailer,SEQUENCE,LINES
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO

from topology.settlement_files.port import FIELDS, Header, Item, Malformed, Row, Total, Trailer

__all__ = ["CsvRows"]

_LINE_BYTES_MAX = 4_096
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_COLUMNS = list(FIELDS)
_HEADER_FIELDS, _TOTAL_FIELDS, _TRAILER_FIELDS = 4, 6, 3


class CsvRows:
    """`csv` (`topology.settlement_files.port.SettlementFormat`)."""

    name = "csv"

    def detects(self, beginning: bytes) -> bool:
        """Whether it begins with the header's name."""
        return beginning.startswith(b"header,")

    def whole(self, value: object) -> int | None:
        """Digits, and a minus before them, as no other program would write them."""
        return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else None

    def items(self, stream: BinaryIO) -> Iterator[Item]:
        """Row by row; a row that cannot be read is told, and the next one read."""
        lines = _Lines(stream)
        has_columns = False
        for row in _rows(lines):
            if lines.malformed is not None:
                yield lines.malformed
                lines.malformed = None
            elif has_columns or row[:1] == ["header"]:
                yield _item(lines.place, row)
            else:
                has_columns = True
                yield from _columns(lines.place, row)


class _Lines:
    """The lines of the file as text, counted. A line that is no text becomes an empty row, and is told of."""

    def __init__(self, stream: BinaryIO) -> None:
        self.place = 0
        self.malformed: Malformed | None = None
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        while raw := self._stream.readline(_LINE_BYTES_MAX + 1):
            self.place += 1
            if len(raw) > _LINE_BYTES_MAX:
                self._skip_the_rest(raw)
                yield self._not_text(f"is longer than {_LINE_BYTES_MAX} bytes")
                continue
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                yield self._not_text("is not UTF-8")
                continue
            content = _without_end(text)
            if '"' in content:
                # Nothing in such a file needs a quote, and a field with a line break in it would move all places.
                yield self._not_text("has a quotation mark")
            elif "\r" in content or "\0" in content:
                yield self._not_text("has a control character")
            else:
                yield text

    def tell(self, reason: str) -> None:
        """What is wrong with the line that was read last."""
        self.malformed = Malformed(self.place, reason)

    def _not_text(self, reason: str) -> str:
        self.tell(reason)
        return "\n"

    def _skip_the_rest(self, raw: bytes) -> None:
        while raw and not raw.endswith(b"\n"):
            raw = self._stream.readline(_LINE_BYTES_MAX)


def _without_end(text: str) -> str:
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _rows(lines: _Lines) -> Iterator[list[str]]:
    """One row for each line; of a line that cannot be taken apart an empty one, and it is told of."""
    reader = csv.reader(lines, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            lines.tell("cannot be taken apart into fields")
            row = []
        yield row


def _columns(place: int, row: list[str]) -> Iterator[Item]:
    """The row in which the columns are to be named. Where they are not named at all, it may be a line."""
    if row != _COLUMNS:
        yield Malformed(place, "does not name the columns of a line in their order")
        if row[:1] != ["line"]:
            yield _item(place, row)


def _item(place: int, row: list[str]) -> Item:
    if not row:
        return Malformed(place, "is empty")
    first = row[0]
    if len(row) == len(FIELDS):
        # What is left empty is not said.
        return Row(place, tuple([value or None for value in row]))
    if first == "header" and len(row) == _HEADER_FIELDS:
        return Header(place, *row[1:])
    if first == "total" and len(row) == _TOTAL_FIELDS:
        return Total(place, *row[1:])
    if first == "trailer" and len(row) == _TRAILER_FIELDS:
        return Trailer(place, *row[1:])
    return Malformed(place, "has another number of fields than such a row has")
