"""Framing: any stream is cut into messages or refused, whatever pieces it comes in, in bounded memory."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from topology.processors.iso8583.frames import BadFrame, FrameReader, frame_of, message_in
from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.spec import MESSAGE_BYTES_MAX, SPEC

BODIES = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


def framed(body: bytes) -> bytes:
    return struct.pack(">H", len(body)) + body


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@given(BODIES, st.lists(st.integers(min_value=0), max_size=20))
def test_the_same_messages_in_whatever_pieces(bodies: list[bytes], cuts: list[int]) -> None:
    reader = FrameReader()
    found: list[bytes] = []
    for piece in pieces(b"".join(map(framed, bodies)), cuts):
        found.extend(reader.feed(piece))
    assert found == bodies


@given(st.lists(st.binary(max_size=MESSAGE_BYTES_MAX + 10), max_size=20))
def test_any_bytes_are_cut_or_refused_and_little_is_held(data: list[bytes]) -> None:
    reader, total = FrameReader(), 0
    try:
        for piece in data:
            total += sum(2 + len(body) for body in reader.feed(piece))
            assert len(reader._buffer) <= MESSAGE_BYTES_MAX + 1
    except BadFrame:
        pass
    assert total <= sum(map(len, data))


@pytest.mark.parametrize("length", [0, MESSAGE_BYTES_MAX + 1, 65_535])
def test_a_length_that_may_not_be_is_refused_before_its_message_has_come(length: int) -> None:
    reader = FrameReader()
    assert list(reader.feed(framed(b"0110"))) == [b"0110"]
    with pytest.raises(BadFrame):
        list(reader.feed(struct.pack(">H", length)))


def test_the_longest_message_is_taken() -> None:
    body = b"x" * MESSAGE_BYTES_MAX
    assert list(FrameReader().feed(framed(body))) == [body]


def text(number: int) -> st.SearchStrategy[str]:
    """What fits a data element."""
    known = SPEC[str(number)]
    least = known["max_len"] if known["len_type"] == 0 else 1
    characters = st.characters(min_codepoint=32, max_codepoint=126)
    return st.text(characters, min_size=least, max_size=min(known["max_len"], 60) if least == 1 else least)


NUMBERS = [2, 3, 4, 7, 11, 12, 13, 22, 25, 32, 35, 37, 38, 39, 41, 42, 44, 48, 49, 62, 63, 70, 90, 95]
DOCUMENTS = st.lists(st.sampled_from(NUMBERS), unique=True).flatmap(
    lambda numbers: st.fixed_dictionaries({number: text(number) for number in numbers})
)


UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Most of the time goes into making messages up, and a busy machine takes its time."""


@UNHURRIED
@given(st.sampled_from(["0100", "0110", "0220", "0221", "0230", "0400", "0410", "0430", "0800"]), DOCUMENTS)
def test_what_is_written_is_read(mti: str, fields: dict[int, str]) -> None:
    message = Message(mti, fields)
    frame = frame_of(message)
    (body,) = FrameReader().feed(frame)
    assert message_in(body) == message


@UNHURRIED
@given(st.binary(max_size=200))
@example(b"0110" + b"8" + b"0" * 15 + b"8" + b"0" * 15 + b"0" * 40)  # a third bitmap
@example(b"0110" + b"F" * 16)
@example(b"0110" + b"4" + b"0" * 15 + b"-9")
@example(b"abcd" + b"0" * 16)
def test_any_bytes_are_a_message_or_refused_by_name(body: bytes) -> None:
    with contextlib.suppress(BadFrame):
        assert message_in(body).mti.isdecimal()


@UNHURRIED
@given(DOCUMENTS, st.data())
def test_a_damaged_message_is_a_message_or_refused(fields: dict[int, str], data: st.DataObject) -> None:
    body = bytearray(frame_of(Message("0110", fields))[2:])
    body[data.draw(st.integers(min_value=0, max_value=len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(BadFrame):
        assert message_in(bytes(body)).mti.isdecimal()


@pytest.mark.parametrize(
    ("fields", "field"), [({4: "1"}, "4"), ({11: "1234567"}, "11"), ({48: "x" * 1000}, "48"), ({62: "ä"}, "62")]
)
def test_what_does_not_fit_is_refused_by_its_field(fields: dict[int, str], field: str) -> None:
    with pytest.raises(BadFrame, match=f"field {field}$"):
        frame_of(Message("0100", fields))


def test_a_message_that_is_too_long_is_not_made() -> None:
    with pytest.raises(BadFrame):
        frame_of(Message("0100", dict.fromkeys((46, 47, 48, 56, 57), "x" * 999)))
