"""The base of all enumerations of names."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Symbol"]


class Symbol(StrEnum):
    """A name out of a few. Hashed as the text it is: the hash of an enumeration is slower, and every message asks."""

    __hash__ = str.__hash__
