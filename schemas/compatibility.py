"""FULL_TRANSITIVE compatibility: every version of a record reads what every other version wrote.

Resolution itself is left to the Avro library; on top of it stand the rules by which a schema may grow at all: a field
that comes or goes has a default, and an enum or union keeps its members, because an old reader cannot know new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cavro

__all__ = ["IncompatibleSchema", "check_full_transitive"]


class IncompatibleSchema(ValueError):
    """A new version of a record cannot read an old one's bytes, or the other way round."""

    def __init__(self, record: str, reason: str) -> None:
        super().__init__(f"{record}: {reason}")
        self.record = record


def check_full_transitive(schema: dict[str, Any], versions: Sequence[dict[str, Any]], *, record: str) -> None:
    """Raise IncompatibleSchema unless `schema` and each of `versions` read each other's bytes."""
    for version in versions:
        _check_shape(schema, version, path=record)
        _check_shape(version, schema, path=record)
        for reader, writer in ((schema, version), (version, schema)):
            try:
                cavro.Schema(reader).reader_for_writer(cavro.Schema(writer))
            except cavro.CavroException as error:
                raise IncompatibleSchema(record, str(error)) from error


def _check_shape(reader: Any, writer: Any, *, path: str) -> None:
    """What the library only notices when it meets the value: missing defaults, members that the reader lacks."""
    if isinstance(reader, list) and isinstance(writer, list):
        _check_union(reader, writer, path=path)
    elif isinstance(reader, dict) and isinstance(writer, dict):
        if "symbols" in writer and not set(writer["symbols"]) <= set(reader.get("symbols", ())):
            raise IncompatibleSchema(path, "enum symbols differ")
        if "fields" in writer and "fields" in reader:
            _check_record(reader, writer, path=path)
        for inner in ("items", "values"):
            if inner in reader and inner in writer:
                _check_shape(reader[inner], writer[inner], path=path)


def _check_union(reader: list[Any], writer: list[Any], *, path: str) -> None:
    known = {_name(branch): branch for branch in reader}
    for branch in writer:
        if _name(branch) not in known:
            raise IncompatibleSchema(path, f"union member {_name(branch)} is unknown to the other version")
        _check_shape(known[_name(branch)], branch, path=path)


def _check_record(reader: dict[str, Any], writer: dict[str, Any], *, path: str) -> None:
    written = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        name = f"{path}.{field['name']}"
        if field["name"] in written:
            _check_shape(field["type"], written[field["name"]]["type"], path=name)
        elif "default" not in field:
            raise IncompatibleSchema(name, "a field that the other version lacks needs a default")


def _name(schema: Any) -> str:
    if isinstance(schema, str):
        return schema.rpartition(".")[2]
    return str(schema.get("name", schema["type"]))
