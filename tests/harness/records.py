"""Hypothesis strategies for every record, made from the classes themselves."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import fields

from schemas.times import Micros

__all__ = ["MESSAGES", "records"]

from schemas.codec import Record

MESSAGES: tuple[type[Any], ...] = typing.get_args(Record)

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_LONG = st.integers(min_value=-(2**63), max_value=2**63 - 1)
_INT = st.integers(min_value=-(2**31), max_value=2**31 - 1)


def records(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of a record, as its type hints allow."""
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{field.name: _values(hints[field.name], field.name) for field in fields(cls)})


def _values(hint: Any, name: str) -> st.SearchStrategy[Any]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return st.one_of(*[_values(member, name) for member in typing.get_args(hint)])
    if hint is types.NoneType:
        return st.none()
    if isinstance(hint, type) and issubclass(hint, Struct):
        return st.deferred(lambda: records(hint))
    if typing.get_origin(hint) is tuple:
        return st.lists(_values(typing.get_args(hint)[0], name), max_size=3).map(tuple)
    if typing.get_origin(hint) is Mapping:
        return st.dictionaries(_TEXT, _values(typing.get_args(hint)[1], name), max_size=3)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    if hint is Micros:
        return st.integers(min_value=0, max_value=4_102_444_800_000_000)
    if name.endswith("_date"):
        return st.integers(min_value=0, max_value=40_000)
    base = getattr(hint, "__supertype__", hint)
    # Avro's int has 32 bits: only these fields are declared so.
    narrow = ("partition", "reply_partition", "step", "exp_month", "exp_year", "attempt", "status_code")
    small = name in narrow or name in ("lookups_not_found", "lookups_unanswered", "repeats")
    values = {str: _TEXT, int: _INT if small else _LONG, bool: st.booleans(), bytes: st.binary(max_size=16)}
    return values[base]
