"""Frames on the wire: two bytes of length (big-endian, not counting themselves), then an ISO 8583:1987 message.

Reads a stream and turns its bytes into a `Frame`, and fields into bytes; the encoding is pyiso8583's `default_ascii`.
`server` drives it. A frame can hold card data, so its content stands in no message, no log and no repr.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import iso8583
from iso8583.specs import default_ascii as SPEC  # noqa: N812

__all__ = ["MESSAGE_BYTES_MAX", "Frame", "Unreadable", "decode", "encode", "next_message"]

MESSAGE_BYTES_MAX = 4096
_LENGTH_BYTES = 2
# Beside the data elements, pyiso8583 tells the type and the bitmaps.
_NOT_ELEMENTS = ("h", "t", "p", "1")


class Unreadable(Exception):
    """What came is no message of the link; nothing after it on the connection can be trusted."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: its type, and its data elements by number."""

    mti: str
    elements: Mapping[int, str] = field(repr=False)


async def next_message(reader: asyncio.StreamReader) -> bytes | None:
    """The next message as it came, None at the end of the connection, in the middle of a message too.

    Raises Unreadable where its length is not one that a message can have.
    """
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        if not 0 < length <= MESSAGE_BYTES_MAX:
            raise Unreadable("a length that no message has")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return None


def decode(message: bytes) -> Frame:
    """The message in `message`; raises Unreadable."""
    try:
        decoded, _encoded = iso8583.decode(message, SPEC)
    # It looks a third bitmap's elements up in a specification that has none.
    except (iso8583.DecodeError, KeyError):
        raise Unreadable("no message of ISO 8583") from None
    elements = {int(number): value for number, value in decoded.items() if number not in _NOT_ELEMENTS}
    return Frame(decoded["t"], elements)


def encode(mti: str, elements: Mapping[int, str]) -> bytes:
    """A frame as it goes on the wire."""
    decoded = {"t": mti, **{str(number): value for number, value in elements.items()}}
    message, _encoded = iso8583.encode(decoded, SPEC)
    return len(message).to_bytes(_LENGTH_BYTES, "big") + bytes(message)
