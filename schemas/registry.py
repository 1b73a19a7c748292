"""Schema ids: assigned once in `schemas/avro/ids.json`, append-only, every version kept in full.

A record travels in the Confluent wire format, whose header names the id of the schema that wrote it. `ids.json` holds
that schema self-contained, so that yesterday's bytes decode for ever and a schema registry can import the ids
unchanged. The `.avsc` files beside it, one record each, are what people edit; `python -m schemas.registry` appends a
new version for each record whose `.avsc` has changed. It refuses a change that is not compatible (see
`schemas.compatibility`).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["IDS_FILE", "RegisteredSchema", "current_schemas", "latest_ids", "registered_schemas", "self_contained"]

AVRO = Path(__file__).parent / "avro"
IDS_FILE = AVRO / "ids.json"

# Records that stand at the top of a message; all others only occur inside these.
MESSAGES = (
    "PaymentCommand",
    "ProcessorResult",
    "TimerFired",
    "PaymentEvent",
    "PaymentIntent",
    "Forgotten",
    "InFlight",
    "Numbering",
    "Pending",
    "ClockOffset",
    "ShardClock",
    "CommandReply",
    "Capture",
    "SettlementLine",
    "OpenCapture",
    "Settlement",
    "SettlementFile",
    "MismatchResolved",
    "WebhookAttempt",
    "DeadLetter",
    "Merchant",
)

AvroSchema = dict[str, Any] | list[Any] | str


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """One version of one record's schema, under the id that its messages carry."""

    id: int
    record: str
    schema: dict[str, Any]


@cache
def registered_schemas() -> dict[int, RegisteredSchema]:
    """Every version of every message's schema, by id."""
    entries = json.loads(IDS_FILE.read_text())
    return {e["id"]: RegisteredSchema(e["id"], e["record"], e["schema"]) for e in entries}


@cache
def latest_ids() -> dict[str, int]:
    """The id under which each message is written today, by record name."""
    return {entry.record: entry.id for _, entry in sorted(registered_schemas().items())}


def current_schemas() -> dict[str, dict[str, Any]]:
    """The self-contained schema of each message as the `.avsc` files have it now."""
    sources = {path.stem: json.loads(path.read_text()) for path in sorted(AVRO.glob("*.avsc"))}
    return {name: self_contained(name, sources) for name in MESSAGES}


def self_contained(name: str, sources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Put the named types that a record refers to inside it, each where it is met first."""
    defined: set[str] = set()

    def expand(schema: AvroSchema) -> AvroSchema:
        if isinstance(schema, list):
            return [expand(branch) for branch in schema]
        if isinstance(schema, dict):
            inner = {"array": "items", "map": "values"}.get(schema["type"])
            return {**schema, inner: expand(schema[inner])} if inner else schema
        if schema not in sources:
            return schema
        if schema in defined:
            return f"{sources[schema]['namespace']}.{schema}"
        return define(schema)

    def define(record: str) -> dict[str, Any]:
        defined.add(record)
        source = sources[record]
        if source["type"] == "enum":
            return source
        return {**source, "fields": [{**field, "type": expand(field["type"])} for field in source["fields"]]}

    return define(name)


def register() -> list[RegisteredSchema]:
    """Append a version for each message whose schema is new or has changed; raises IncompatibleSchema."""
    from schemas.compatibility import check_full_transitive

    entries = json.loads(IDS_FILE.read_text()) if IDS_FILE.exists() else []
    added: list[RegisteredSchema] = []
    for name, schema in current_schemas().items():
        versions = [entry["schema"] for entry in entries if entry["record"] == name]
        if versions and versions[-1] == schema:
            continue
        check_full_transitive(schema, versions, record=name)
        added.append(RegisteredSchema(len(entries) + 1, name, schema))
        entries.append({"id": len(entries) + 1, "record": name, "schema": schema})
    IDS_FILE.write_text("[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n]\n")
    return added


if __name__ == "__main__":
    for schema in register():
        sys.stdout.write(f"{schema.id} {schema.record}\n")
