"""Records to bytes and back, in the Confluent wire format.

A message is a zero byte, the schema id (four bytes, big-endian) and the Avro binary encoding. It is written under
today's schema of its record and read under the one that wrote it, by functions that are generated from the schema
(`writer`, `reader`), since this runs for every message.

Times and dates stay plain integers: logical types are for the readers of the topics.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from enum import EnumType
from functools import cache
from typing import Any

from msgspec import Struct

from schemas import commands, operations, payment, processing, settlement
from schemas.reader import Read, reader
from schemas.registry import latest_ids, registered_schemas
from schemas.writer import Write, writer

__all__ = ["HEADER_BYTES", "CodecError", "Record", "decode", "encode", "headers_of", "record_name", "written_under"]

Record = (
    commands.PaymentCommand
    | commands.CommandReply
    | processing.ProcessorResult
    | processing.TimerFired
    | processing.InFlight
    | processing.Numbering
    | processing.ClockOffset
    | processing.Pending
    | processing.ShardClock
    | payment.PaymentEvent
    | payment.PaymentIntent
    | operations.DeadLetter
    | operations.Forgotten
    | operations.Merchant
    | operations.WebhookAttempt
    | settlement.Capture
    | settlement.MismatchResolved
    | settlement.OpenCapture
    | settlement.Settlement
    | settlement.SettlementFile
    | settlement.SettlementLine
)

_CLASSES: dict[str, type[Any]] = {
    name: cls
    for module in (commands, operations, payment, processing, settlement)
    for name, cls in vars(module).items()
    if isinstance(cls, EnumType) or (isinstance(cls, type) and issubclass(cls, Struct) and cls is not Struct)
}
HEADER_BYTES = 5

# The field that is new in the latest schema of a record, and the schema before it. A record in which it has its default
# is written under that: so processes of the version before read what they know, and a fleet is upgraded one by one.
_NEW_IN: Mapping[str, tuple[str, int]] = {"PaymentCommand": ("merchant_disabled", 1), "PaymentEvent": ("evidence", 4)}

# What Python raises on bytes that only look like a record.
_CORRUPT = (LookupError, MemoryError, OverflowError, ValueError)


class CodecError(ValueError):
    """Bytes that are no message of ours. `cause` is a stable name; the text does not echo the content."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


def record_name(data: bytes) -> str:
    """The name of the record that a message holds; raises CodecError."""
    return registered_schemas()[_schema_id(data)].record


def headers_of(name: str) -> list[bytes]:
    """How the messages of a record begin, one for each version of its schema."""
    return [_header(schema.id) for schema in registered_schemas().values() if schema.record == name]


def encode(record: Record) -> bytes:
    """The message of a record. A field that breaks the schema raises what Python makes of it: a bug, not an input."""
    field, unsaid, before, latest = _writers(type(record).__name__)
    header, write = before if field and getattr(record, field) == unsaid else latest
    return header + write(record)


def written_under(record: Record) -> int:
    """The id of the schema under which a record is written: the latest, or the one before where that says all of it."""
    return _schema_id(encode(record))


def decode(data: bytes) -> Record:
    """The record in a message; raises CodecError (not_framed, unknown_schema_id, corrupt)."""
    read = _reader(_schema_id(data))
    try:
        record, end = read(data, HEADER_BYTES)
    except _CORRUPT as error:
        raise CodecError("corrupt", type(error).__name__) from error
    if end == len(data):
        return typing.cast("Record", record)
    raise CodecError("corrupt", "bytes after the end of the record" if end < len(data) else "cut short")


def _schema_id(data: bytes) -> int:
    if len(data) < HEADER_BYTES or data[0] != 0:
        raise CodecError("not_framed", f"{len(data)} bytes without the header")
    schema_id = int.from_bytes(data[1:HEADER_BYTES], "big")
    if schema_id not in registered_schemas():
        raise CodecError("unknown_schema_id", str(schema_id))
    return schema_id


def _header(schema_id: int) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big")


_Writer = tuple[bytes, Write]
"""The header of a schema, and what writes a record under it."""


@cache
def _writers(name: str) -> tuple[str, Any, _Writer, _Writer]:
    """How a record is written: the field that is new in it (empty: none), its default, under the schema before and now.

    The default is the schema's, for that is what a record under the schema before stands for.
    """
    latest = latest_ids()[name]
    field, before = _NEW_IN.get(name, ("", latest))
    defaults = {one["name"]: one.get("default") for one in registered_schemas()[latest].schema["fields"]}
    return field, defaults.get(field), _writer(before), _writer(latest)


def _writer(schema_id: int) -> _Writer:
    return _header(schema_id), writer(registered_schemas()[schema_id].schema)


@cache
def _reader(schema_id: int) -> Read:
    return reader(registered_schemas()[schema_id].schema, _CLASSES)
