"""Yesterday's bytes: an id means what it meant, and what was written under it is read as what it said."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.codec import decode, encode, written_under
from schemas.registry import registered_schemas
from tests.schemas.golden import fingerprint, lines, plain

LINES = lines()
MESSAGES = [(line.id, line.record, frame, said) for line in LINES for frame, said in line.messages]


def says(record: Any, once: Any) -> bool:
    """Whether a record, as plain JSON, still says what it once said. What is new in it was not said then."""
    if isinstance(once, dict) and "" in once:
        return isinstance(record, dict) and all(name in record and says(record[name], once[name]) for name in once)
    if isinstance(once, list):
        return isinstance(record, list) and len(record) == len(once) and all(map(says, record, once))
    return bool(record == once)


def test_ids_are_only_added_and_each_is_on_record() -> None:
    """After `python -m schemas.registry`: `python -m tests.schemas.golden`."""
    registered = registered_schemas().values()
    assert [(line.id, line.record, line.sha256) for line in LINES] == [
        (schema.id, schema.record, fingerprint(schema)) for schema in registered
    ]
    assert [schema.id for schema in registered] == list(range(1, len(LINES) + 1))
    assert all(line.messages for line in LINES)


@pytest.mark.parametrize(("schema_id", "record", "frame", "said"), MESSAGES)
def test_yesterdays_bytes_are_read(schema_id: int, record: str, frame: str, said: Any) -> None:
    read = decode(bytes.fromhex(frame))
    assert type(read).__name__ == record
    assert says(plain(read), said)
    if written_under(read) == schema_id:
        assert encode(read).hex() == frame
