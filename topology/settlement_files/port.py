"""The port between a settlement file and whoever reads it: a format turns bytes into header, lines, totals, trailer.

A format only takes apart; what the values have to be is the same for all of them, and is checked in `checking`. So a
value stays as the format has it, and the format says how a whole number is written in it. Pure: bytes in, items out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple, Protocol

__all__ = ["FIELDS", "MISSING", "Header", "Item", "Malformed", "Row", "SettlementFormat", "Total", "Trailer"]

FIELDS: Final = (
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
"""What a line says, in the order of `Row.values`. None stands for what the file leaves empty."""

MISSING: Final = object()
"""The value of a field that is not there at all."""


class Header(NamedTuple):
    """Whose file it is. `place` is, of this and of all other items, the line of the file (from 1) that they are on.

    In a format without lines it is the number of the entry that they are, or come after.
    """

    place: int
    processor: object
    file_sequence: object
    settlement_date: object


class Row(NamedTuple):
    """One line; its values in the order of FIELDS."""

    place: int
    values: tuple[object, ...]


class Total(NamedTuple):
    """What the lines of one currency add up to, of all since the total of that currency before."""

    place: int
    currency: object
    lines: object
    amount_minor: object
    fee_minor: object
    net_minor: object


class Trailer(NamedTuple):
    """The end: of which file, and how many lines it has."""

    place: int
    file_sequence: object
    lines: object


class Malformed(NamedTuple):
    """What is none of these. Nothing of the file is echoed: what is on a wrong line might be anything."""

    place: int
    reason: str


Item = Header | Row | Total | Trailer | Malformed


class SettlementFormat(Protocol):
    """A format. It is given the whole file from its beginning, and keeps none of it."""

    @property
    def name(self) -> str:
        """The name that `--format` knows it by."""

    def detects(self, beginning: bytes) -> bool:
        """Whether a file that begins like that is of this format."""

    def whole(self, value: object) -> int | None:
        """The whole number that a value is; None where it is none."""

    def items(self, stream: BinaryIO) -> Iterator[Item]:
        """What the file says, in its order; Malformed for what cannot be read, and then the rest if it can be."""
