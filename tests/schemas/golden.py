"""Messages as they were once written, and what they said: `golden.json`, one line per schema id, append-only.

`python -m tests.schemas.golden` adds lines for the ids that are new in `schemas/avro/ids.json`; what stands there is
never written again.
"""

from __future__ import annotations

import hashlib
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from schemas.codec import encode, written_under
from schemas.registry import RegisteredSchema, latest_ids, registered_schemas
from schemas.times import Micros
from tests.harness.records import MESSAGES

__all__ = ["Line", "fingerprint", "lines", "plain"]

GOLDEN = Path(__file__).with_name("golden.json")
_VARIANTS = 8


@dataclass(frozen=True, slots=True)
class Line:
    """A schema id, what it meant, and messages under it: bytes in hexadecimal, and the record as plain JSON."""

    id: int
    record: str
    sha256: str
    messages: list[tuple[str, Any]]


def lines() -> list[Line]:
    """What is on record."""
    return [Line(**line) for line in json.loads(GOLDEN.read_text())] if GOLDEN.exists() else []


def fingerprint(schema: RegisteredSchema) -> str:
    """The SHA-256 of a schema, whole: docs, defaults and order included."""
    return hashlib.sha256(json.dumps(schema.schema, sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """A record as JSON has it, with the names of its classes; bytes in hexadecimal."""
    if isinstance(value, Struct):
        return {"": type(value).__name__} | {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, tuple):
        return [plain(member) for member in value]
    return value


def _examples(cls: type[Any]) -> Iterator[Any]:
    """A record without anything optional, then full ones: one for each record that a field may hold."""
    yield _example(cls, count(1), variant=None)
    for variant in range(_VARIANTS):
        yield _example(cls, count(1), variant=variant)


def _example(hint: Any, numbers: Iterator[int], *, variant: int | None) -> Any:
    """A value of a type: each is another number or name, so that none is taken for its neighbour."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        members = typing.get_args(hint)
        if variant is None and types.NoneType in members:
            return None
        choice = [member for member in members if member is not types.NoneType]
        return _example(choice[(variant or 0) % len(choice)], numbers, variant=variant)
    if isinstance(hint, type) and issubclass(hint, Struct):
        hints = typing.get_type_hints(hint)
        values = {field.name: _example(hints[field.name], numbers, variant=variant) for field in fields(hint)}
        return hint(**values)
    if typing.get_origin(hint) is tuple:
        sizes = range(0 if variant is None else 2)
        return tuple(_example(typing.get_args(hint)[0], numbers, variant=variant) for _ in sizes)
    if typing.get_origin(hint) is Mapping:
        keys = () if variant is None else ("zeta", "älpha")
        return {key: _example(typing.get_args(hint)[1], numbers, variant=variant) for key in keys}
    return _scalar(hint, next(numbers))


def _scalar(hint: Any, number: int) -> Any:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return list(hint)[number % len(hint)]
    if hint is Micros:
        return 1_790_000_000_000_000 + number
    base = getattr(hint, "__supertype__", hint)
    return {str: f"text-{number}", int: number * 1_000_003, bool: number % 2 == 0, bytes: bytes([0, number])}[base]


def _append() -> list[Line]:
    known = lines()
    classes = {cls.__name__: cls for cls in MESSAGES}
    added: list[Line] = []
    for schema in registered_schemas().values():
        if schema.id in {line.id for line in known}:
            continue
        # Only today's schema can still be written.
        assert latest_ids()[schema.record] == schema.id
        examples = [record for record in _examples(classes[schema.record]) if written_under(record) == schema.id]
        messages = {encode(record).hex(): plain(record) for record in examples}
        added.append(Line(schema.id, schema.record, fingerprint(schema), list(messages.items())))
    entries = [{name: getattr(line, name) for name in Line.__slots__} for line in known + added]
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n]\n")
    return added


if __name__ == "__main__":
    for line in _append():
        sys.stdout.write(f"{line.id} {line.record}: {len(line.messages)} messages\n")
