"""API keys: their form, and which merchant one stands for.

A key is `ps_sk_test_`, 30 base62 characters and 6 of checksum: the CRC-32 of everything before, in base62, padded with
zeros. The checksum lets a secret scanner tell a key from noise; it is no protection. Keys are kept as digests only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.identifiers import MerchantId, parse_merchant_id

__all__ = ["InvalidApiKey", "Keyring", "Principal", "checksum"]

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKSUM_LENGTH = 6
_FORM = re.compile(r"ps_(?P<kind>sk|pk)_(?P<mode>live|test)_[0-9A-Za-z]{36}", re.ASCII)


class InvalidApiKey(ValueError):
    """A configured key that cannot be used. The message does not echo it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks: the merchant, and the key by a name that is no secret."""

    merchant_id: MerchantId
    key_id: str
    livemode: bool = False


def checksum(body: str) -> str:
    """The six characters that follow the rest of a key.

    >>> checksum("ps_sk_test_000000000000000000000000000000")
    '28OUGk'
    """
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def _well_formed(key: str) -> re.Match[str] | None:
    form = _FORM.fullmatch(key)
    if form is None or not hmac.compare_digest(checksum(key[:-_CHECKSUM_LENGTH]), key[-_CHECKSUM_LENGTH:]):
        return None
    return form


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that are accepted."""

    _principals: Mapping[bytes, Principal] = field(repr=False)

    @classmethod
    def of(cls, merchants: Mapping[str, str]) -> Keyring:
        """The keyring of these keys, each with the id of its merchant; raises InvalidApiKey, InvalidIdentifier."""
        principals: dict[bytes, Principal] = {}
        for number, (key, merchant) in enumerate(merchants.items(), start=1):
            form = _well_formed(key)
            if form is None:
                raise InvalidApiKey(f"API key number {number} is malformed (its form or its checksum)")
            if form["mode"] == "live":
                raise InvalidApiKey(f"API key number {number} is a live key; there is only test mode")
            if form["kind"] != "sk":
                raise InvalidApiKey(f"API key number {number} is no secret key (ps_sk_test_…)")
            digest = _digest(key)
            principals[digest] = Principal(merchant_id=parse_merchant_id(merchant), key_id=f"key_{digest.hex()[:16]}")
        return cls(principals)

    def principal(self, key: str) -> Principal | None:
        """Whom the key stands for; None for a malformed or unknown one."""
        if _well_formed(key) is None:
            return None
        presented = _digest(key)
        found: Principal | None = None
        # Every digest is compared, each in constant time: how long it takes tells nothing about the keys.
        for digest, principal in self._principals.items():
            if hmac.compare_digest(digest, presented):
                found = principal
        return found
