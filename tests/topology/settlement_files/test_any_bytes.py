"""Whatever the bytes, an import accepts them or refuses them with the place; it ends in no other exception."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.topology.settlement_files.files import AT, csv_file, nested_file
from tests.topology.settlement_files.test_importing import Log
from topology.settlement_files import FORMATS, FileRefused, import_file

CSV, JSON = csv_file().encode(), nested_file().encode()
LONG = b"9" * 4_300
TOO_LONG = b"9" * 4_301

NUMBERS = [LONG, TOO_LONG, b"9" * 320, b"9" * 638, b"-" + b"9" * 5_000, b"1." + b"0" * 5_000]
NUMBERS += b"0 -0 -1 1e5 1.5 1E99999999999999999999 -1e-99999999999 999999999999999999 9223372036854775808".split()
TEXTS = rb""""\ud800" "\udc00\ud800" "\ud800\ud800" "\ud800A" "\u0000" "\x" null true false""".split()
TIMES = b"2026-09-21T24:00:00Z 0001-01-01T00:00:00+23:59 9999-12-31T23:59:59-23:59 0001-01-01 2026-02-30".split()
WORDS = b"header, line total, trailer, capture usd cardnet 2456".split()
BRACKETS = [*b'{ } [ ] : , ; {} [] "batches":[ "lines":[{'.split(), b"[" * 100, b'{"":' * 100]
CHARACTERS = [b"\r", b"\n", b"\r\n", b"\n\n", b'"', b"'", b"\\", b"\0", b"\x0b", b"\x1c", b" "]
ENCODINGS = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3", b"\x85", "\u2028".encode(), "٣".encode()]
# What is, or was, anything special to one of the readers.
TOKENS = st.sampled_from([*NUMBERS, *TEXTS, *TIMES, *WORDS, *BRACKETS, *CHARACTERS, *ENCODINGS])
ANYTHING = st.binary(max_size=12) | TOKENS


@st.composite
def made_of_tokens(draw: st.DrawFn) -> bytes:
    """Nothing that was ever a file, but begins as one perhaps."""
    beginning = draw(st.sampled_from([b"", b"header,", b"{", b'{"processor":']))
    return beginning + b"".join(draw(st.lists(ANYTHING, max_size=12)))


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    """A good file with some of its words, or some bytes in the middle of them, changed, moved, doubled or gone."""
    pieces = re.findall(rb"\w+|\W", good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(pieces) - 1))
        match draw(st.sampled_from(["replace", "insert", "cut", "double", "move", "within", "end"])):
            case "replace":
                pieces[at] = draw(ANYTHING)
            case "insert":
                pieces.insert(at, draw(ANYTHING))
            case "cut":
                del pieces[at : at + draw(st.integers(1, 30))]
            case "double":
                pieces[at:at] = pieces[at : at + draw(st.integers(1, 30))]
            case "move":
                pieces.insert(draw(st.integers(0, len(pieces) - 1)), pieces.pop(at))
            case "within":
                piece, middle = pieces[at], draw(st.integers(0, len(pieces[at])))
                pieces[at] = piece[:middle] + draw(ANYTHING) + piece[middle + 1 :]
            case "end":
                del pieces[at + 1 :]
        pieces = pieces or [b""]
    return b"".join(pieces)


def is_accepted(content: bytes, form: str | None) -> bool:
    """Whether the content is imported; anything but that and a refusal with the place is a failure."""
    log = Log()
    try:
        imported = import_file(io.BytesIO(content), log, at=AT, form=None if form is None else FORMATS[form])
    except FileRefused as refused:
        problems, count = refused.problems, refused.count
    else:
        assert len(log.lines) == imported.file.lines
        return True
    assert count >= len(problems) > 0
    assert [told for told in problems if not re.fullmatch(r"line [0-9]{1,10} [^\n]+\.", told)] == []
    assert (log.writes, log.lines) == ([], [])
    return False


NAMES = st.sampled_from([None, *FORMATS])


@pytest.mark.parametrize(("content", "form"), [(CSV, "csv"), (JSON, "nested-json")])
def test_as_it_is_the_file_is_accepted(content: bytes, form: str) -> None:
    assert is_accepted(content, form)
    assert is_accepted(content, None)


@settings(max_examples=400, deadline=None)
@given(content=st.binary(max_size=200) | made_of_tokens(), form=NAMES)
@example(content=b"header,\rX", form="csv")
@example(content=b'{"more":' + TOO_LONG, form=None)
@example(content=b'{"more":1e99999999999999999999}', form=None)
@example(content=b'{"more":' + TOO_LONG + b"?", form=None)
@example(content=b"[" * 100 + b"?", form="nested-json")
def test_any_bytes_are_refused_with_the_place(content: bytes, form: str | None) -> None:
    assert not is_accepted(content, form)


@settings(max_examples=600, deadline=None)
@given(content=mutated(CSV), form=NAMES)
@example(content=CSV.removesuffix(b"\n") + b"\rX", form=None)
def test_any_change_of_a_csv_file_is_accepted_or_refused_with_the_place(content: bytes, form: str | None) -> None:
    is_accepted(content, form)


@settings(max_examples=600, deadline=None)
@given(content=mutated(JSON), form=NAMES)
@example(content=JSON.replace(b"2500", TOO_LONG), form=None)
@example(content=JSON.replace(b'"line": 1,', b'"line": %s,' % LONG), form=None)
@example(content=JSON.replace(b'"batches"', rb'"more": "\ud800\ud800", "batches"'), form=None)
def test_any_change_of_a_document_is_accepted_or_refused_with_the_place(content: bytes, form: str | None) -> None:
    is_accepted(content, form)
