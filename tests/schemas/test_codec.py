"""The codec: what is written is read, by us and by another Avro library; and garbage has a name."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from schemas.codec import _NEW_IN, HEADER_BYTES, CodecError, decode, encode, written_under
from schemas.commands import CancelPaymentIntent, PaymentCommand, VoidPayment
from schemas.identifiers import CommandId, MerchantId, PaymentIntentId, TransactionId
from schemas.payment import Actor, ActorType
from schemas.registry import AVRO, current_schemas, latest_ids, registered_schemas
from schemas.times import Micros
from tests.harness.records import MESSAGES, records
from tests.topology.domain.script import Payment

CAUSES = {"not_framed", "unknown_schema_id", "corrupt"}


def cause_of(data: bytes) -> str | None:
    """Why the bytes are refused; None when they are a record."""
    try:
        decode(data)
    except CodecError as error:
        return error.cause
    return None


ANY_MESSAGE = st.one_of([records(cls) for cls in MESSAGES])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY_MESSAGE)
def test_what_is_written_is_read(record: Any) -> None:
    assert decode(encode(record)) == record


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY_MESSAGE)
def test_another_library_reads_the_same(record: Any) -> None:
    data = encode(record)
    schema = fastavro.parse_schema(registered_schemas()[written_under(record)].schema)
    body = io.BytesIO(data[5:])
    fastavro.schemaless_reader(body, schema, None)
    assert body.read() == b""


def test_an_event_without_evidence_is_one_that_the_version_before_reads() -> None:
    """A fleet is upgraded one process at a time, and events are read by all of its flows."""
    events = Payment().tell("attempt", "authorization: unknown", "operator: authorization approved").events
    versions = [schema.id for schema in registered_schemas().values() if schema.record == "PaymentEvent"]
    assert latest_ids()["PaymentEvent"] == versions[-1] > versions[0]
    for event in events:
        version = versions[0] if event.evidence is None else versions[-1]
        assert encode(event)[:HEADER_BYTES] == b"\x00" + version.to_bytes(4, "big")
        assert decode(encode(event)) == event
    assert {event.evidence is None for event in events} == {True, False}


def test_a_command_of_a_merchant_that_may_is_one_that_the_version_before_reads() -> None:
    """The other it must not read: it would carry out what is to be refused."""
    command = a_command(VoidPayment(transaction_id=TransactionId("tx"), fingerprint=b"f"))
    disabled = replace(command, merchant_disabled=True)
    assert written_under(command) == 1
    assert written_under(disabled) == latest_ids()["PaymentCommand"] > 1
    assert [decode(encode(each)) for each in (command, disabled)] == [command, disabled]


def test_what_is_written_under_an_older_schema_says_all_of_it() -> None:
    """Of each such record: only the field that is named is new, and it means its default where it is left out."""
    for name, (field, older_id) in _NEW_IN.items():
        older, latest = (registered_schemas()[id_].schema for id_ in (older_id, latest_ids()[name]))
        assert registered_schemas()[older_id].record == name
        assert [one for one in latest["fields"] if one["name"] != field] == older["fields"]
        default = next(one["default"] for one in latest["fields"] if one["name"] == field)
        cls = next(cls for cls in MESSAGES if cls.__name__ == name)
        assert next(one.default for one in fields(cls) if one.name == field) == default


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=64))
def test_garbage_is_refused_by_name(data: bytes) -> None:
    assert cause_of(data) in CAUSES


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY_MESSAGE, st.data())
def test_a_damaged_message_decodes_to_a_record_or_is_refused(record: Any, data: st.DataObject) -> None:
    message = bytearray(encode(record))
    position = data.draw(st.integers(min_value=0, max_value=len(message) - 1))
    message[position] ^= data.draw(st.integers(min_value=1, max_value=255))
    assert cause_of(bytes(message)) in {*CAUSES, None}


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "not_framed"),
        (b'{"id": 1}', "not_framed"),
        (b"\x00\x00\x00\x00\x00", "unknown_schema_id"),
        (b"\x00\xff\xff\xff\xffabc", "unknown_schema_id"),
        (b"\x00\x00\x00\x00\x01", "corrupt"),
        (b"\x00\x00\x00\x00\x01" + b"\xff" * 40, "corrupt"),
    ],
)
def test_bytes_that_are_no_message(data: bytes, cause: str) -> None:
    with pytest.raises(CodecError) as refused:
        decode(data)
    assert refused.value.cause == cause


def test_bytes_after_the_record_are_refused() -> None:
    with pytest.raises(CodecError, match="after the end"):
        decode(encode(a_command(VoidPayment(transaction_id=TransactionId("tx"), fingerprint=b"f"))) + b"x")


@pytest.mark.parametrize("body", [VoidPayment, CancelPaymentIntent])
def test_commands_with_equal_fields_keep_their_kind(body: type[VoidPayment] | type[CancelPaymentIntent]) -> None:
    command = a_command(body(transaction_id=TransactionId("tx"), fingerprint=b"f"))
    read = decode(encode(command))
    assert isinstance(read, PaymentCommand)
    assert type(read.body) is body


def a_command(body: VoidPayment | CancelPaymentIntent) -> PaymentCommand:
    return PaymentCommand(
        id=CommandId("cmd"),
        payment_intent_id=PaymentIntentId("pi"),
        merchant_id=MerchantId("mer_a"),
        livemode=False,
        at=Micros(1),
        actor=Actor(type=ActorType.key, id="k"),
        body=body,
    )


def test_todays_schemas_are_registered() -> None:
    """After a change to an .avsc: `python -m schemas.registry`."""
    latest = {record: registered_schemas()[id_].schema for record, id_ in latest_ids().items()}
    assert latest == current_schemas()


def test_every_field_and_type_has_a_doc() -> None:
    for path in AVRO.glob("*.avsc"):
        schema = json.loads(path.read_text())
        assert schema["name"] == path.stem
        assert schema["doc"]
        assert all(field["doc"] for field in schema.get("fields", []))


def test_records_mirror_the_schemas() -> None:
    for cls in MESSAGES:
        schema = current_schemas()[cls.__name__]
        assert list(cls.__struct_fields__) == [field["name"] for field in schema["fields"]]
