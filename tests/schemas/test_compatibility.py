"""How a record may grow, and that yesterday's bytes decode."""

from __future__ import annotations

import copy
from typing import Any

import cavro
import pytest

from schemas.compatibility import IncompatibleSchema, check_full_transitive
from schemas.registry import current_schemas, registered_schemas

EVENT = current_schemas()["PaymentEvent"]


def changed(change: Any) -> dict[str, Any]:
    schema = copy.deepcopy(EVENT)
    change(schema)
    return schema


def add_with_default(schema: dict[str, Any]) -> None:
    schema["fields"].append({"name": "note", "type": ["null", "string"], "default": None})


def add_without_default(schema: dict[str, Any]) -> None:
    schema["fields"].append({"name": "note", "type": "string"})


def drop_without_default(schema: dict[str, Any]) -> None:
    del schema["fields"][0]


def change_type(schema: dict[str, Any]) -> None:
    schema["fields"][0]["type"] = "long"


def add_symbol(schema: dict[str, Any]) -> None:
    next(f for f in schema["fields"] if f["name"] == "actor")["type"]["fields"][0]["type"]["symbols"].append("ghost")


def test_a_field_with_a_default_may_come() -> None:
    check_full_transitive(changed(add_with_default), [EVENT], record="PaymentEvent")


@pytest.mark.parametrize("change", [add_without_default, drop_without_default, change_type, add_symbol])
def test_what_breaks_a_reader_is_refused(change: Any) -> None:
    with pytest.raises(IncompatibleSchema):
        check_full_transitive(changed(change), [EVENT], record="PaymentEvent")


def test_it_is_compared_with_every_version_not_only_the_last() -> None:
    """A field dropped and brought back under another type suits the version between, not the first."""
    first, second = changed(add_with_default), EVENT
    third = changed(add_with_default)
    third["fields"][-1]["type"] = ["null", "long"]
    check_full_transitive(third, [second], record="PaymentEvent")
    with pytest.raises(IncompatibleSchema):
        check_full_transitive(third, [first, second], record="PaymentEvent")


def test_all_registered_versions_read_each_other() -> None:
    by_record: dict[str, list[dict[str, Any]]] = {}
    for entry in registered_schemas().values():
        check_full_transitive(entry.schema, by_record.setdefault(entry.record, []), record=entry.record)
        by_record[entry.record].append(entry.schema)


def test_a_grown_record_reads_old_bytes_and_the_other_way_round() -> None:
    new = changed(add_with_default)
    old_schema, new_schema = (cavro.Schema(schema, logical_types=()) for schema in (EVENT, new))
    actor = {"type": "key", "id": "k"}
    intent = {
        "id": "pi",
        "merchant_id": "mer_a",
        "livemode": False,
        "status": "processing",
        "amount_minor": 1,
        "currency": "usd",
        "capture_method": "manual",
        "fingerprint": b"",
        "sequence": 1,
        "created_at": 1,
        "updated_at": 1,
    }
    event = {"id": "evt", "sequence": 1, "type": "t", "at": 1, "cause": "c", "actor": actor, "payment_intent": intent}
    old = new_schema.reader_for_writer(old_schema).binary_decode(old_schema.binary_encode(event))
    assert (old.id, old.note) == ("evt", None)
    read = old_schema.reader_for_writer(new_schema).binary_decode(new_schema.binary_encode({**event, "note": "n"}))
    assert read.payment_intent.status == "processing"
