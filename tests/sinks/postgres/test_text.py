"""Texts that PostgreSQL cannot hold, and those that look like their replacements."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.postgres.text import restored, restored_json, storable, storable_json

_NASTY = st.text(st.sampled_from(["\x00", "\ue000", "0", "1", "\\", "u", '"', "a", "é", "\u0001"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ""), ("plain", "plain"), ("a\x00b", "a\ue0000b"), ("\ue000", "\ue0001"), ("\\u0000", "\\u0000")],
)
def test_storable(text: str, expected: str) -> None:
    assert storable(text) == expected


@given(st.dictionaries(_NASTY, _NASTY))
def test_json_comes_back_as_it_was(pairs: dict[str, str]) -> None:
    document = storable_json(msgspec.json.encode(pairs).decode())
    assert "\x00" not in "".join(msgspec.json.decode(document))
    assert msgspec.json.decode(restored_json(document)) == pairs


@given(_NASTY)
def test_a_text_column_comes_back_as_it_was(text: str) -> None:
    assert restored(storable(text)) == text
    # PostgreSQL makes a JSON document of the column.
    assert msgspec.json.decode(restored_json(msgspec.json.encode(storable(text)).decode())) == text
