"""The secrets of one stack, made by chance at its first start and kept for the next ones.

Reads and writes DIRECTORY/secrets.json (mode 600). They are worth nothing beyond the loopback address of one machine,
and still print themselves nowhere but where `ready` shows the test key. Driven by `stack`.
"""

from __future__ import annotations

import secrets
import uuid
import zlib
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbox.stack.layout import read_json, write_privately

__all__ = ["Credentials", "load_credentials", "make_test_key"]

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TEST_KEY_PREFIX = "ps_sk_test_"
KEY_LENGTH = 30
CHECKSUM_LENGTH = 6


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What the parts of one stack know each other by."""

    kafka_cluster_id: str
    postgres_superuser_password: str = field(repr=False)
    postgres_password: str = field(repr=False)
    s3_access_key: str
    s3_secret_key: str = field(repr=False)
    api_key: str = field(repr=False)
    client_secret_key: str = field(repr=False)
    """id:hex, the key of the HMAC that makes client secrets."""


def load_credentials(path: Path) -> Credentials:
    """The secrets of the stack, made now if it has none yet."""
    stored = read_json(path)
    if stored is not None:
        return Credentials(**stored)
    made = Credentials(
        kafka_cluster_id=urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "A"),
        postgres_superuser_password=_random_text(32),
        postgres_password=_random_text(32),
        s3_access_key="paystream" + _random_text(11),
        s3_secret_key=_random_text(40),
        api_key=make_test_key(),
        client_secret_key=f"csk_{_random_text(8)}:{secrets.token_hex(32)}",
    )
    write_privately(path, asdict(made))
    return made


def make_test_key() -> str:
    """A test API key: prefix, 30 characters by chance, and a checksum over all before it, for secret scanners."""
    body = TEST_KEY_PREFIX + _random_text(KEY_LENGTH)
    return body + _base62(zlib.crc32(body.encode()), length=CHECKSUM_LENGTH)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))


def _base62(number: int, *, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits
