"""A message that cannot print what it holds: card data, and whatever else a host may put where we do not expect it.

Shown are only the fields that the profile uses for numbers, codes and our own references; of all others (PAN, expiry,
track data, PIN, chip data, the private field 48, and any that the profile does not know) only that they are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["SHOWN", "Message"]

SHOWN: Final = frozenset({3, 4, 7, 11, 12, 13, 22, 25, 32, 37, 39, 41, 42, 49, 62, 63, 70, 90, 95})
"""The data elements that may be printed."""


class Message:
    """A message: its type and its data elements, by number, as text. Without those, in `repr`, that are not shown."""

    __slots__ = ("_fields", "mti")

    def __init__(self, mti: str, fields: Mapping[int, str]) -> None:
        self.mti = mti
        self._fields = dict(fields)

    def get(self, number: int) -> str | None:
        """A data element; None where there is none."""
        return self._fields.get(number)

    def unmasked(self) -> dict[int, str]:
        """All of them, for the encoder; never to be printed."""
        return dict(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and (self.mti, self._fields) == (other.mti, other._fields)

    def __hash__(self) -> int:
        return hash((self.mti, self._fields.get(7), self._fields.get(11)))

    def __repr__(self) -> str:
        shown = (f"{number}={value if number in SHOWN else '…'}" for number, value in sorted(self._fields.items()))
        return f"Message({', '.join((self.mti, *shown))})"
