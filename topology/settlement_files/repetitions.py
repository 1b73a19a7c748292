"""Counts what occurs more than once among millions, in eight bytes for each."""

from __future__ import annotations

from array import array

__all__ = ["Repetitions"]

_BUCKETS = 256


class Repetitions:
    """Texts by their hashes of 64 bits, compared a part of them at a time.

    Two texts under one hash are not to be expected in any file; and the count is only told, never acted upon.
    """

    def __init__(self) -> None:
        self._buckets = [array("q") for _ in range(_BUCKETS)]

    def add(self, text: str) -> None:
        """Another one."""
        known = hash(text)
        self._buckets[known & (_BUCKETS - 1)].append(known)

    def repeated(self) -> int:
        """How many there were beyond the first of each."""
        return sum(len(bucket) - len(set(bucket)) for bucket in self._buckets)
