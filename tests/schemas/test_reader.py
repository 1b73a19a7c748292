"""The generated codec: all that the encoding allows, schemas that have grown since, and messages cut anywhere."""

from __future__ import annotations

import contextlib
import copy
import io
import time
from typing import Any

import fastavro
import pytest
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from schemas.codec import CodecError, decode, encode
from schemas.payment import Actor, ActorType
from schemas.reader import reader
from schemas.registry import current_schemas
from schemas.writer import writer
from tests.harness.records import MESSAGES
from tests.schemas.golden import lines

HEADER_BYTES = 5
FRAMES = [bytes.fromhex(frame) for line in lines() for frame, _said in line.messages[:2]]
CARD = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2031}


class Card(Struct, frozen=True):
    """A record as its class has it today."""

    brand: str
    last4: str
    exp_month: int
    exp_year: int = 0


class One(Struct, frozen=True):
    """A record of one field."""

    value: Any


class Eight(Struct, frozen=True):
    """A record of many fields."""

    a: str
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int | None


class Two(Struct, frozen=True):
    """A record that says another one again."""

    one: Eight
    others: tuple[Eight, ...]


def schema_of(record: str, **types: Any) -> dict[str, Any]:
    listed = [{"name": name, "type": kind} for name, kind in types.items()]
    return {"type": "record", "name": record, "namespace": "paystream", "fields": listed}


def one(kind: Any) -> dict[str, Any]:
    return schema_of("One", value=kind)


def by_another_library(schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), record)
    return out.getvalue()


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_a_message_cut_anywhere_is_refused(frame: bytes) -> None:
    for length in range(HEADER_BYTES, len(frame)):
        with pytest.raises(CodecError) as refused:
            decode(frame[:length])
        assert refused.value.cause == "corrupt"


def test_a_field_that_the_class_lacks_is_dropped_and_one_that_the_schema_lacks_has_its_default() -> None:
    newer = schema_of("Card", funding=["null", "string"], brand="string", last4="string", exp_month="int")
    data = by_another_library(newer, {**CARD, "funding": "credit"})
    assert reader(newer, {"Card": Card})(data, 0) == (Card("visa", "4242", 12, 0), len(data))


@pytest.mark.parametrize("cls", MESSAGES)
def test_the_defaults_of_a_class_are_those_of_its_schema(cls: type[Any]) -> None:
    """By them a record that was written under an older schema is completed."""
    listed = {field["name"]: field for field in current_schemas()[cls.__name__]["fields"]}
    for field in fields(cls):
        default = field.default if field.default_factory is NODEFAULT else field.default_factory()
        if default is NODEFAULT:
            assert "default" not in listed[field.name], field.name
        else:
            expected = listed[field.name]["default"]
            assert default == (tuple(expected) if isinstance(expected, list) else expected), field.name


def test_several_blocks_and_blocks_with_their_size_are_read() -> None:
    """Some writers put the size in bytes before a block, and its count below zero."""
    first, second = b"\x02a\x02x", b"\x02b\x02y"
    together = b"\x03" + bytes([2 * len(first + second)]) + first + second + b"\x00"
    apart = b"\x02" + first + b"\x01" + bytes([2 * len(second)]) + second + b"\x00"
    read = reader(one({"type": "map", "values": "string"}), {"One": One})
    for data in (together, apart):
        assert read(data, 0) == (One({"a": "x", "b": "y"}), len(data))


@pytest.mark.parametrize("number", [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 2**31 - 1, 2**62, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("kind", ["long", ["null", "long"]])
def test_numbers_of_any_length(number: int, kind: Any) -> None:
    schema = one(kind)
    data = writer(schema)(One(number))
    assert data == by_another_library(schema, {"value": number})
    assert reader(schema, {"One": One})(data, 0) == (One(number), len(data))


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 8_191, 8_192, 100_000])
@pytest.mark.parametrize("kind", ["string", "bytes", ["null", "string"]])
def test_texts_of_any_length(length: int, kind: Any) -> None:
    value = b"\xff" * length if kind == "bytes" else "é" * length
    schema = one(kind)
    data = writer(schema)(One(value))
    assert data == by_another_library(schema, {"value": value})
    assert reader(schema, {"One": One})(data, 0) == (One(value), len(data))


def test_a_number_of_more_than_64_bits_is_neither_written_nor_read() -> None:
    with pytest.raises(OverflowError):
        writer(one("long"))(One(2**63))
    with pytest.raises(ValueError, match="64 bits"):
        reader(one("long"), {"One": One})(b"\xff" * 10 + b"\x7f", 0)
    assert reader(one("long"), {"One": One})(b"\xff" * 9 + b"\x01", 0) == (One(-(2**63)), 10)
    with pytest.raises(ValueError, match="64 bits"):
        reader(one("long"), {"One": One})(b"\xff" * 9 + b"\x02", 0)


def test_a_number_without_an_end_is_refused_at_once() -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="64 bits"):
        reader(one("long"), {"One": One})(b"\xff" * 10_000_000, 0)
    assert time.process_time() - began < 0.1


def test_what_a_message_says_twice_is_read_once_and_what_differs_is_read_as_it_is() -> None:
    eight = schema_of("Eight", a="string", **dict.fromkeys("bcdefg", "long"), h=["null", "long"])
    schema = schema_of("Two", one=eight, others={"type": "array", "items": "paystream.Eight"})
    read = reader(schema, {"Eight": Eight, "Two": Two})
    first = Eight("text", 1, 2, 3, 4, 5, 6, None)
    others = (first, Eight("text", 1, 2, 3, 4, 5, 6, 7), Eight("tex", 1, 2, 3, 4, 5, 6, None), first)
    data = writer(schema)(Two(first, others))
    for _ in range(2):
        record, end = read(data, 0)
        assert (record, end) == (Two(first, others), len(data))
        assert record.others[0] is record.one
    for length in range(len(data)):
        with contextlib.suppress(IndexError, ValueError, KeyError, UnicodeDecodeError):
            assert read(data[:length], 0)[1] > length, "cut, and taken for whole"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("string", b"\x01"),
        ("string", b"\x81\x01" + b"x" * 100),
        ("string", b"\x04\xff\xff"),
        ("boolean", b"\x02"),
        (["null", "string"], b"\x04\x02x"),
        ({"type": "enum", "name": "ActorType", "symbols": ["key", "client"]}, b"\x04"),
    ],
    ids=["length below zero", "long length below zero", "no UTF-8", "no boolean", "no branch", "no symbol"],
)
def test_what_no_writer_writes_is_refused(kind: Any, data: bytes) -> None:
    schema = one(kind if isinstance(kind, str | list) else {**kind, "namespace": "paystream"})
    with pytest.raises((ValueError, LookupError)):
        reader(schema, {"One": One, "ActorType": ActorType})(data, 0)


def test_what_is_remembered_is_bounded_and_never_mixed_up() -> None:
    schema = schema_of("Actor", type="string", id="string")
    write = writer(schema)
    for number in range(40_000):
        actor = Actor(type=ActorType.key, id=f"k{number}")
        assert write(actor) == b"\x06key" + bytes([2 * len(actor.id)]) + actor.id.encode()


def test_equal_records_and_changed_ones_are_written_as_they_are() -> None:
    """The bytes of a PaymentIntent are kept by its identity: of one that is gone, nothing may be left to another."""
    frames = [frame for frame in FRAMES if type(decode(frame)).__name__ == "PaymentIntent"]
    for _ in range(2_200):
        for frame in frames:
            assert encode(decode(frame)) == frame
