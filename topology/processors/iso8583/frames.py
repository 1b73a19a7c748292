"""Messages to bytes and back: two bytes of length, big-endian and without themselves, then the message. Pure.

Bytes are never echoed: an error names the field at which a message could not be read, and nothing of its content.
"""

from __future__ import annotations

from collections.abc import Iterator

import iso8583

from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.spec import MESSAGE_BYTES_MAX, SPEC

__all__ = ["BadFrame", "FrameReader", "frame_of", "message_in"]

_LENGTH_BYTES = 2
# What the library raises on bytes that are no message: its own errors, and what Python makes of the rest.
_NO_MESSAGE = (LookupError, ValueError, TypeError)


class BadFrame(ValueError):
    """Bytes that are no message, or a message that has no bytes; the text does not echo either."""


class FrameReader:
    """Cuts a stream of bytes into messages. Holds at most one message that is not whole yet."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole now, in order. Raises BadFrame once one is announced that may not be."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= _LENGTH_BYTES:
                length = int.from_bytes(buffer[at : at + _LENGTH_BYTES], "big")
                if not 0 < length <= MESSAGE_BYTES_MAX:
                    raise BadFrame(f"a message of {length} bytes is announced")
                end = at + _LENGTH_BYTES + length
                if len(buffer) < end:
                    return
                body = bytes(buffer[at + _LENGTH_BYTES : end])
                at = end
                yield body
        finally:
            del buffer[:at]


def message_in(body: bytes) -> Message:
    """The message that these bytes are; raises BadFrame."""
    try:
        decoded, _encoded = iso8583.decode(body, SPEC)
    except _NO_MESSAGE as error:
        where = _where(error)
    else:
        if decoded["t"].isdecimal():
            fields = {int(name): value for name, value in decoded.items() if name.isdecimal()}
            # The second bitmap, which is no data element though it has a number.
            fields.pop(1, None)
            return Message(decoded["t"], fields)
        where = "t"
    # Raised out here, so that it does not carry the library's error, which holds the bytes, as its context.
    raise BadFrame(f"no message: field {where}")


def frame_of(message: Message) -> bytes:
    """The bytes of a message, with its length; raises BadFrame where a field does not fit its format."""
    document = {"t": message.mti, **{str(number): value for number, value in message.unmasked().items()}}
    try:
        body, _encoded = iso8583.encode(document, SPEC)
    except _NO_MESSAGE as error:
        where = _where(error)
    else:
        if len(body) <= MESSAGE_BYTES_MAX:
            return len(body).to_bytes(_LENGTH_BYTES, "big") + bytes(body)
        where = "p"
    raise BadFrame(f"not to be encoded: field {where}")


def _where(error: Exception) -> str:
    return error.field if isinstance(error, iso8583.DecodeError | iso8583.EncodeError) else "unknown"
