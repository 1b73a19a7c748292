"""The wire's fixed facts: which field is encoded how, the message types, the longest message. Pure.

All is ASCII: the message type, both bitmaps (in hexadecimal), the lengths of variable fields. The field formats are
those of ISO 8583:1987 as `pyiso8583` ships them; nothing of the profile differs from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from iso8583.specs import default_ascii

__all__ = [
    "ADVICE",
    "AUTHORIZATION",
    "ECHO",
    "MESSAGE_BYTES_MAX",
    "NETWORK_MANAGEMENT",
    "SIGN_OFF",
    "SIGN_ON",
    "SPEC",
    "answering",
    "repeating",
]

SPEC: Final[Mapping[str, Mapping[str, Any]]] = default_ascii

MESSAGE_BYTES_MAX: Final = 4_096
"""Whoever announces a longer message is out of step, or means harm."""

AUTHORIZATION: Final = "0100"
ADVICE: Final = "0220"
NETWORK_MANAGEMENT: Final = "0800"

SIGN_ON: Final = "001"
SIGN_OFF: Final = "002"
ECHO: Final = "301"


def repeating(mti: str) -> str:
    """The message type under which an advice or a reversal is repeated.

    >>> repeating("0220"), repeating("0400")
    ('0221', '0401')
    """
    return mti[:3] + "1"


def answering(mti: str) -> str:
    """The message type of the answer; a repeat is answered as the first.

    >>> answering("0100"), answering("0221"), answering("0420")
    ('0110', '0230', '0430')
    """
    return f"{mti[:2]}{int(mti[2]) + 1}0"
