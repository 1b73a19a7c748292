"""A nested format: one JSON document, batches by currency, in them batches by merchant, in these the lines.

    {"processor", "file_sequence", "settlement_date",
     "batches": [{"currency",
                  "merchant_batches": [{"lines": [{"line", "processor_reference", …}]}],
                  "totals": {"lines", "amount_minor", "fee_minor", "net_minor"}}],
     "trailer": {"file_sequence", "lines"}}

A line may leave its currency to its batch, which has to say it before its lines then. Parsed as it is read, by `ijson`,
so that a million lines take no more memory than one. What stands beside the members above is passed over. A place is
the number of the entry among all lines, for such a file may be a single line of text.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, BinaryIO

import ijson

from topology.settlement_files.port import FIELDS, MISSING, Header, Item, Malformed, Row, Total, Trailer

__all__ = ["NestedJson"]

_CHUNK_BYTES = 64 * 1024
_DEPTH_MAX = 64
_DIGITS_BLOCK = 320
_OPENS, _CLOSES = ("start_map", "start_array"), ("end_map", "end_array")


class _In(Enum):
    """What the parser is inside of."""

    nothing = auto()
    document = auto()
    batches = auto()
    batch = auto()
    merchant_batches = auto()
    merchant_batch = auto()
    lines = auto()
    line = auto()
    totals = auto()
    trailer = auto()
    end = auto()


# Where a member that is a map or an array leads, by where it is and its name (an item of an array has none).
_INTO = {
    (_In.nothing, "", "start_map"): _In.document,
    (_In.document, "batches", "start_array"): _In.batches,
    (_In.document, "trailer", "start_map"): _In.trailer,
    (_In.batches, "", "start_map"): _In.batch,
    (_In.batch, "merchant_batches", "start_array"): _In.merchant_batches,
    (_In.batch, "totals", "start_map"): _In.totals,
    (_In.merchant_batches, "", "start_map"): _In.merchant_batch,
    (_In.merchant_batch, "lines", "start_array"): _In.lines,
    (_In.lines, "", "start_map"): _In.line,
}
_OUT_OF = {
    _In.document: _In.end,
    _In.batches: _In.document,
    _In.batch: _In.batches,
    _In.merchant_batches: _In.batch,
    _In.merchant_batch: _In.merchant_batches,
    _In.lines: _In.merchant_batch,
    _In.line: _In.lines,
    _In.totals: _In.batch,
    _In.trailer: _In.document,
}
_ARRAYS = (_In.batches, _In.merchant_batches, _In.lines)

# The members that are kept of each map. Of others there may be any number, and they may be of any size.
_HEADER = ("processor", "file_sequence", "settlement_date")
_SUMS = ("lines", "amount_minor", "fee_minor", "net_minor")
_TRAILER = ("file_sequence", "lines")
_KEPT = {_In.document: _HEADER, _In.batch: ("currency",), _In.totals: _SUMS, _In.trailer: _TRAILER}
_KEPT_OF_A_LINE = frozenset(FIELDS)


class NestedJson:
    """`nested-json` (`topology.settlement_files.port.SettlementFormat`)."""

    name = "nested-json"

    def detects(self, beginning: bytes) -> bool:
        """Whether it begins as a JSON object does."""
        return beginning.lstrip(b" \t\r\n").startswith(b"{")

    def whole(self, value: object) -> int | None:
        """A number without fraction and exponent."""
        return value if type(value) is int else None

    def items(self, stream: BinaryIO) -> Iterator[Item]:
        """Entry by entry; where it is no JSON any more, the rest cannot be read."""
        events: list[tuple[str, Any]] = ijson.sendable_list()
        parser = ijson.basic_parse_coro(events)
        document = _Document()
        digits = _Digits()
        try:
            while True:
                chunk = stream.read(_CHUNK_BYTES)
                sound = digits.before_too_many(chunk)
                fault = _fault(parser, sound, ends=not chunk)
                if fault is None and len(sound) < len(chunk):
                    fault = f"is followed by {_DIGITS_BLOCK} digits in a row, or more"
                elif fault is None and not events and len(chunk) == _CHUNK_BYTES:
                    # The parser would go on gathering a text that has no end.
                    fault = f"is followed by a value of more than {_CHUNK_BYTES} bytes"
                # What was complete before the fault has its place before it.
                yield from document.read(events)
                del events[:]
                if fault is not None:
                    yield Malformed(document.entries, fault)
                if fault is not None or not chunk:
                    return
        except _TooDeep:
            yield Malformed(document.entries, f"is followed by more than {_DEPTH_MAX} values one inside the other")


class _Digits:
    """Finds numbers that are too long to be any, before the parser makes numbers of them.

    Where Python refuses to (from 4,301 digits on; no less than 640 can be set), ijson 3.6 goes on as if nothing had
    happened, and leaves an event without a value: whoever looks at that crashes the process. Looked for are whole
    blocks of digits. A row of two blocks less one has such a block in it, wherever it begins.
    """

    def __init__(self) -> None:
        self._rest = b""

    def before_too_many(self, chunk: bytes) -> bytes:
        """What of the next piece comes before too many digits: all of it, where there are none."""
        known = len(self._rest)
        content = self._rest + chunk
        end = len(content) - len(content) % _DIGITS_BLOCK
        self._rest = content[end:]
        for at in range(0, end, _DIGITS_BLOCK):
            if content[at : at + _DIGITS_BLOCK].isdigit():
                return chunk[: max(0, at - known)]
        return chunk


def _fault(parser: Any, piece: bytes, *, ends: bool) -> str | None:
    """Give the next piece to the parser, or tell it that there is none. What is wrong, where it cannot go on."""
    try:
        if ends:
            parser.close()
        elif piece:
            parser.send(piece)
    except ijson.JSONError:
        return "goes on with what is not JSON, or ends there"
    except (ArithmeticError, ValueError):
        # JSON bounds no exponent, Decimal does.
        return "goes on with a value that cannot be read"
    return None


class _TooDeep(Exception):
    """The parser keeps note of every map and array that is open."""


class _Document:
    """Where the parser is, and what has been gathered there."""

    def __init__(self) -> None:
        self.entries = 0
        self._inside = _In.nothing
        self._skipped = 0
        """How many maps and arrays are open that are passed over."""
        self._key = ""
        self._members: dict[_In, dict[str, Any]] = {inside: {} for inside in _In}
        self._header_told = False

    def read(self, events: list[tuple[str, Any]]) -> Iterator[Item]:
        """Go through events, and tell what is complete."""
        line = self._members[_In.line]
        for event, value in events:
            if self._skipped:
                self._skipped += (event in _OPENS) - (event in _CLOSES)
                if self._skipped > _DEPTH_MAX:
                    raise _TooDeep
            elif event == "map_key":
                self._key = value
            elif event in _OPENS:
                yield from self._open(event)
            elif event in _CLOSES:
                yield from self._close()
            elif self._inside is _In.line:
                if self._key in _KEPT_OF_A_LINE:
                    if self._key in line:
                        yield Malformed(self.entries, f"has {self._key} twice")
                    line[self._key] = value
            elif self._inside in _ARRAYS:
                yield Malformed(self.entries, f"is followed by a value that is none of the {self._inside.name}")
            elif self._key in _KEPT.get(self._inside, ()):
                self._members[self._inside][self._key] = value

    def _open(self, event: str) -> Iterator[Item]:
        key = "" if self._inside in _ARRAYS else self._key
        into = _INTO.get((self._inside, key, event))
        if into is None:
            self._skipped = 1
            return
        if into is _In.batches:
            # Lines are told as they come, so it has to be known by then whose they are.
            yield self._header()
        self.entries += into is _In.line
        self._members[into].clear()
        self._inside, self._key = into, ""

    def _close(self) -> Iterator[Item]:
        inside = self._inside
        members = self._members[inside]
        self._inside, self._key = _OUT_OF[inside], ""
        if inside is _In.line:
            yield self._row(members)
        elif inside is _In.batch:
            yield from self._total(members)
        elif inside is _In.trailer:
            yield Trailer(self.entries, *[members.get(name, MISSING) for name in _TRAILER])
        elif inside is _In.totals:
            self._members[_In.batch]["totals"] = dict(members)

    def _row(self, line: dict[str, Any]) -> Row:
        """A line with what its batch says of all of its lines; a text that is empty is not said."""
        if "currency" not in line:
            line["currency"] = self._members[_In.batch].get("currency", MISSING)
        if line.get("reference") == "":
            line["reference"] = None
        return Row(self.entries, tuple([line.get(name, MISSING) for name in FIELDS]))

    def _header(self) -> Item:
        if self._header_told:
            return Malformed(self.entries, "is followed by batches for the second time")
        self._header_told = True
        members = self._members[_In.document]
        return Header(self.entries, *[members.get(name, MISSING) for name in _HEADER])

    def _total(self, batch: dict[str, Any]) -> Iterator[Item]:
        totals = batch.get("totals")
        if isinstance(totals, dict):
            yield Total(self.entries, batch.get("currency", MISSING), *[totals.get(name, MISSING) for name in _SUMS])
