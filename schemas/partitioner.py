"""Which partition a key belongs to: murmur2, as Java's default partitioner and librdkafka's `murmur2_random` have it.

Every writer of the co-partitioned topics uses it, so that consumers in any language agree; the flows check it.
"""

from __future__ import annotations

import itertools
import struct
from functools import lru_cache

__all__ = ["key_in", "partition"]

_WORDS = struct.Struct("<I")
_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


@lru_cache(maxsize=65_536)
def partition(key: str, partitions: int) -> int:
    """The partition of a key (UTF-8) among that many.

    >>> partition("pi_00000000000000000000000000000000", 1)
    0
    """
    return (_murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def key_in(number: int, partitions: int, *, prefix: str) -> str:
    """A key that begins so and belongs to that partition: for a record that is meant for all who hold the partition.

    >>> partition(key_in(3, 4, prefix="clock-3-"), 4)
    3
    """
    return next(key for guess in itertools.count() if partition(key := f"{prefix}{guess}", partitions) == number)


def _murmur2(data: bytes) -> int:
    length = len(data)
    h = _SEED ^ length
    whole = length - length % 4
    for (word,) in _WORDS.iter_unpack(data[:whole]):
        k = word * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15
