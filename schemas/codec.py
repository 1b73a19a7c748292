"""Records to bytes and back, in the Confluent wire format.

A message is a zero byte, the schema id (four bytes, big-endian) and the Avro binary encoding. It is written under
today's schema of its record and read by resolving the schema that wrote it against today's. The functions between
dataclass and Avro are generated once per dataclass from its type hints, since this runs for every message.

Times and dates stay plain integers: logical types are for the readers of the topics.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import cavro

from schemas import commands, operations, payment, processing, settlement
from schemas.registry import latest_ids, registered_schemas

__all__ = ["CodecError", "Record", "decode", "encode", "record_name"]

Record = (
    commands.PaymentCommand
    | commands.CommandReply
    | processing.ProcessorResult
    | processing.TimerFired
    | processing.InFlight
    | processing.Pending
    | payment.PaymentEvent
    | payment.PaymentIntent
    | operations.DeadLetter
    | operations.Forgotten
    | operations.Merchant
    | operations.WebhookAttempt
    | settlement.Capture
    | settlement.OpenCapture
    | settlement.Settlement
    | settlement.SettlementLine
)

_CLASSES: dict[str, type[Any]] = {
    name: cls
    for module in (commands, operations, payment, processing, settlement)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and is_dataclass(cls)
}
_HEADER_BYTES = 5
_ONE_BYTE = cavro.Schema({"type": "fixed", "name": "OneByte", "size": 1})

# What the Avro library and our own construction raise on bytes that only look like a record.
_CORRUPT = (ArithmeticError, EOFError, LookupError, MemoryError, TypeError, ValueError, cavro.CavroException)

Encoder = Callable[[Any], Any]
Decoder = Callable[[Any], Any]


class CodecError(ValueError):
    """Bytes that are no message of ours. `cause` is a stable name; the text does not echo the content."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


def record_name(data: bytes) -> str:
    """The name of the record that a message holds; raises CodecError."""
    return registered_schemas()[_schema_id(data)].record


def encode(record: Record) -> bytes:
    """The message of a record. A field that breaks the schema raises cavro.InvalidValue: a bug, not an input."""
    header, schema, to_avro = _writer(type(record).__name__)
    return header + typing.cast("bytes", schema.binary_encode(to_avro(record)))


def decode(data: bytes) -> Record:
    """The record in a message; raises CodecError (not_framed, unknown_schema_id, corrupt)."""
    schema, from_avro = _reader(_schema_id(data))
    reader = cavro.MemoryReader(data[_HEADER_BYTES:])
    try:
        record = from_avro(schema.binary_read(reader))
    except _CORRUPT as error:
        raise CodecError("corrupt", type(error).__name__) from error
    try:
        _ONE_BYTE.binary_read(reader)
    except EOFError:
        return typing.cast("Record", record)
    raise CodecError("corrupt", "bytes after the end of the record")


def _schema_id(data: bytes) -> int:
    if len(data) < _HEADER_BYTES or data[0] != 0:
        raise CodecError("not_framed", f"{len(data)} bytes without the header")
    schema_id = int.from_bytes(data[1:_HEADER_BYTES], "big")
    if schema_id not in registered_schemas():
        raise CodecError("unknown_schema_id", str(schema_id))
    return schema_id


def _parse(schema: Mapping[str, Any]) -> Any:
    return cavro.Schema(schema, logical_types=(), record_values_type_hint=True)


@cache
def _writer(name: str) -> tuple[bytes, Any, Encoder]:
    schema_id = latest_ids()[name]
    header = b"\x00" + schema_id.to_bytes(4, "big")
    return header, _parse(registered_schemas()[schema_id].schema), _encoder(name)


@cache
def _reader(schema_id: int) -> tuple[Any, Decoder]:
    written = registered_schemas()[schema_id]
    latest = latest_ids()[written.record]
    schema = _parse(registered_schemas()[latest].schema)
    if schema_id != latest:
        schema = schema.reader_for_writer(_parse(written.schema))
    return schema, _decoder(written.record)


@cache
def _fields(name: str) -> dict[str, Any]:
    """The fields of a dataclass with their types."""
    hints = typing.get_type_hints(_CLASSES[name])
    return {field.name: hints[field.name] for field in fields(_CLASSES[name])}


@cache
def _encoder(name: str) -> Encoder:
    """A function from the dataclass to the dict that Avro takes."""
    names: dict[str, Any] = {}
    items = [f"{field!r}: {_encoding(hint, f'r.{field}', names)}" for field, hint in _fields(name).items()]
    return typing.cast("Encoder", eval(f"lambda r: {{{', '.join(items)}}}", names))


def _encoding(hint: Any, value: str, names: dict[str, Any]) -> str:
    """The expression that turns `value`, of that type, into what Avro takes."""
    branches, nullable = _branches(hint)
    if len(branches) > 1:
        names["tagged"] = _tagged
        return f"tagged({value})"
    (branch,) = branches
    if typing.get_origin(branch) is tuple and is_dataclass(element := typing.get_args(branch)[0]):
        inner = f"[{_named(_encoder, element, names)}(x) for x in {value}]"
    elif is_dataclass(branch):
        inner = f"{_named(_encoder, branch, names)}({value})"
    else:
        return value
    return f"None if {value} is None else {inner}" if nullable else inner


def _tagged(record: Any) -> dict[str, Any]:
    """A record in a union of records, with its name, because two of them may have the same fields."""
    name = type(record).__name__
    return {"-type": f"paystream.{name}", **_encoder(name)(record)}


@cache
def _decoder(name: str) -> Decoder:
    """A function from the Avro library's record to the dataclass."""
    names: dict[str, Any] = {name: _CLASSES[name]}
    items = [f"{field}={_decoding(hint, f'r.{field}', names)}" for field, hint in _fields(name).items()]
    return typing.cast("Decoder", eval(f"lambda r: {name}({', '.join(items)})", names))


def _decoding(hint: Any, value: str, names: dict[str, Any]) -> str:
    branches, nullable = _branches(hint)
    if len(branches) > 1:
        names["by_name"] = {branch.__name__: _decoder(branch.__name__) for branch in branches}
        return f"by_name[type({value}).__name__]({value})"
    inner = _decoding_one(branches[0], value, names)
    return f"None if {value} is None else {inner}" if nullable and inner != value else inner


def _decoding_one(branch: Any, value: str, names: dict[str, Any]) -> str:
    if is_dataclass(branch):
        return f"{_named(_decoder, branch, names)}({value})"
    if isinstance(branch, type) and issubclass(branch, StrEnum):
        names[f"symbols_{branch.__name__}"] = dict(branch.__members__)
        return f"symbols_{branch.__name__}[{value}]"
    if typing.get_origin(branch) is tuple:
        element = _decoding_one(typing.get_args(branch)[0], "x", names)
        return f"tuple({value})" if element == "x" else f"tuple([{element} for x in {value}])"
    if typing.get_origin(branch) is Mapping:
        element = _decoding_one(typing.get_args(branch)[1], "v", names)
        return value if element == "v" else f"{{k: {element} for k, v in {value}.items()}}"
    return value


def _named(make: Callable[[str], Any], cls: Any, names: dict[str, Any]) -> str:
    """A name for the function of a nested dataclass, defined in `names`."""
    name = f"of_{cls.__name__}"
    names[name] = make(cls.__name__)
    return name


def _branches(hint: Any) -> tuple[list[Any], bool]:
    """The members of an optional or union type, and whether None is one of them."""
    if not isinstance(hint, types.UnionType) and typing.get_origin(hint) is not typing.Union:
        return [hint], False
    members = typing.get_args(hint)
    return [member for member in members if member is not types.NoneType], types.NoneType in members
