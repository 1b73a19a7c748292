"""The merchants of a run: one whose payments go by HTTP, one whose payments go by ISO 8583.

In some seeds each of them has the other's processor to fail over to. A merchant's key is made up here and worth nothing
beyond the stack of one seed. Driven by `run`; each `client` is one of them.
"""

from __future__ import annotations

from ingress.keys import checksum
from tests.chaos.evidence import ISO8583

__all__ = ["API_KEYS", "HTTP", "route_of", "setting"]

HTTP = "cardnet"
"""The processor that speaks HTTP."""

_PREFIX = "ps_sk_test_"
_LETTERS = {"mer_http": "H", "mer_iso8583": "I"}
_PROCESSORS = {"mer_http": (HTTP, ISO8583), "mer_iso8583": (ISO8583, HTTP)}


def _key(letter: str) -> str:
    body = _PREFIX + letter * 30
    return body + checksum(body)


API_KEYS = {merchant: _key(letter) for merchant, letter in _LETTERS.items()}
"""By merchant."""


def setting() -> str:
    """What the processes of a stack are told of these merchants."""
    return "PAYSTREAM_API_KEYS=" + ",".join(f"{key}={merchant}" for merchant, key in API_KEYS.items())


def route_of(merchant: str, *, seed: int) -> tuple[str, ...]:
    """The processors of a merchant in this seed, in order of preference: in every second pair of seeds it has both."""
    processors = _PROCESSORS[merchant]
    return processors if seed % 4 < 2 else processors[:1]
