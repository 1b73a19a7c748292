"""What operators are shown: what is open, one payment with its history, settlement's findings where there are any."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from schemas.identifiers import MerchantId, PaymentIntentId, TransactionId
from schemas.payment import CaptureMethod, PaymentEvent
from schemas.times import Micros, later
from sinks.postgres import ReadModelUnavailable, ReadModelWriter
from sinks.postgres.operators import _OPEN as OPEN
from sinks.postgres.operators import _OWNER as OWNER
from sinks.postgres.operators import OperatorReadModel, Selection, _parameters
from tests.sinks.postgres.payments import id_of, life
from tests.sinks.postgres.test_settlements import CAPTURE, LATER, UNMATCHED, explained, line, settlement
from tests.topology.domain.script import START, Payment

DAY = 86_400.0
ALL = Selection(opened_before=later(START, seconds=DAY), unanswered_before=later(START, seconds=DAY))


@pytest.fixture
def model(uri: str) -> Iterator[OperatorReadModel]:
    """What operators read with."""
    with OperatorReadModel(uri) as model:
        yield model


def renamed(events: list[PaymentEvent], name: str) -> list[PaymentEvent]:
    """The history of another payment that went the same way; its ids end with a digit of their own."""

    def other(text: str) -> str:
        return text[:-1] + name

    def moved(event: PaymentEvent) -> PaymentEvent:
        transactions = tuple(
            replace(
                one,
                id=TransactionId(other(one.id)),
                authorization_id=None if one.authorization_id is None else TransactionId(other(one.authorization_id)),
            )
            for one in event.payment_intent.transactions
        )
        told = event.transaction
        return replace(
            event,
            payment_intent=replace(
                event.payment_intent, id=PaymentIntentId(other(event.payment_intent.id)), transactions=transactions
            ),
            transaction=None if told is None else next(one for one in transactions if one.id == other(told.id)),
        )

    return [moved(event) for event in events]


def test_what_is_in_doubt_is_listed_with_what_was_asked(writer: ReadModelWriter, model: OperatorReadModel) -> None:
    payment = Payment(route=("a",)).tell("attempt", "authorization: unknown", "authorization: lookup not_found")
    writer.write(payment.events, progress=[])
    writer.write(life("ended"), progress=[])
    (found,) = model.open_transactions(ALL)
    authorization = payment.latest("authorization")
    assert (found.transaction_id, found.payment_intent_id) == (authorization.id, payment.intent.id)
    assert (found.type, found.status, found.processor) == ("authorization", "pending", "a")
    assert (found.lookups_not_found, found.lookups_unanswered, found.repeats) == (1, 0, 0)
    assert (found.amount_minor, found.currency, found.merchant_id) == (1_000, "usd", "mer_demo")
    pending = next(event for event in payment.events if event.type == "transaction.pending")
    assert (found.created_at, found.pending_since) == (authorization.created_at, pending.at)


def test_what_is_on_its_way_is_listed_once_nobody_has_answered(
    writer: ReadModelWriter, model: OperatorReadModel
) -> None:
    payment = Payment().tell("attempt")
    writer.write(payment.events, progress=[])
    created_at = payment.latest("authorization").created_at
    assert model.open_transactions(dataclasses.replace(ALL, unanswered_before=Micros(created_at - 1))) == []
    (found,) = model.open_transactions(dataclasses.replace(ALL, unanswered_before=created_at))
    assert (found.status, found.pending_since) == ("created", None)


def test_a_compensating_void_is_listed_from_its_opening(writer: ReadModelWriter, model: OperatorReadModel) -> None:
    payment = Payment(capture=CaptureMethod.manual).tell(
        "attempt",
        "authorization: unknown",
        "authorization: lookup not_found",
        "authorization: lookup not_found",
        "void: approved",
        "authorization: approved",
    )
    writer.write(payment.events, progress=[])
    (found,) = model.open_transactions(dataclasses.replace(ALL, unanswered_before=Micros(0)))
    assert (found.type, found.void_reason) == ("void", "late_approval")


def test_filters_and_order(writer: ReadModelWriter, model: OperatorReadModel) -> None:
    older = Payment(route=("a",)).tell("attempt", "authorization: unknown").events
    newer = [
        replace(
            event,
            payment_intent=replace(
                event.payment_intent,
                merchant_id=MerchantId("mer_other"),
                transactions=tuple(
                    replace(one, processor="b", created_at=later(one.created_at, seconds=60))
                    for one in event.payment_intent.transactions
                ),
            ),
        )
        for event in renamed(older, "0" if older[0].payment_intent.id[-1] != "0" else "1")
    ]
    writer.write([*newer, *older], progress=[])

    def processors(**wanted: Any) -> list[str]:
        return [one.processor for one in model.open_transactions(dataclasses.replace(ALL, **wanted))]

    assert processors() == ["a", "b"]
    assert processors(limit=1) == ["a"]
    assert processors(processor="b") == ["b"]
    assert processors(merchant_id="mer_other") == ["b"]
    assert processors(opened_before=later(START, seconds=30)) == ["a"]


def test_a_payment_with_its_whole_history(writer: ReadModelWriter, model: OperatorReadModel) -> None:
    payment = Payment().tell("attempt", "authorization: unknown", "operator: authorization approved")
    writer.write(payment.events, progress=[])
    shown = model.payment(payment.intent.id)
    assert shown is not None
    assert shown.intent == payment.intent
    assert list(shown.history) == payment.events
    assert shown.mismatches == ()
    assert model.owner(payment.latest("authorization").id) == payment.intent.id
    assert model.payment(PaymentIntentId("pi_" + "0" * 32)) is None
    assert model.owner(TransactionId("tx_" + "0" * 32)) is None


def test_a_mismatch_is_listed_until_a_late_line_resolves_it(writer: ReadModelWriter, model: OperatorReadModel) -> None:
    missing = settlement("missing_at_processor")
    writer.write(life("a"), progress=[], settlements=[missing, UNMATCHED])
    wanted = dataclasses.replace(ALL, opened_before=later(LATER, seconds=DAY))
    assert sorted(one.outcome for one in model.mismatches(wanted)) == ["missing_at_processor", "missing_here"]
    assert model.mismatches(dataclasses.replace(wanted, processor="othernet")) == []
    assert model.mismatches(dataclasses.replace(wanted, opened_before=Micros(LATER - 1))) == []
    (of_merchant,) = model.mismatches(dataclasses.replace(wanted, merchant_id=MerchantId("mer_demo")))
    assert (of_merchant.processor_reference, of_merchant.at, of_merchant.resolved_at) == ("cn_capture", LATER, None)

    resolved_at = later(LATER, seconds=60)
    writer.write([], progress=[], settlements=[settlement(at=resolved_at)])
    assert [one.outcome for one in model.mismatches(wanted)] == ["missing_here"]
    shown = model.payment(id_of("a"))
    assert shown is not None
    assert [(one.outcome, one.resolved_at) for one in shown.mismatches] == [("missing_at_processor", resolved_at)]


def test_new_mismatches_come_first_however_many_lie_there(writer: ReadModelWriter, model: OperatorReadModel) -> None:
    found = [settlement("amount", line(number), at=later(LATER, seconds=number)) for number in range(1, 6)]
    writer.write(life("a"), progress=[], settlements=found)
    wanted = dataclasses.replace(ALL, opened_before=later(LATER, seconds=DAY), limit=2)
    assert [one.line_number for one in model.mismatches(wanted)] == [5, 4]
    older = dataclasses.replace(wanted, opened_before=later(LATER, seconds=3))
    assert [one.line_number for one in model.mismatches(older)] == [3, 2]


def test_one_mismatch_with_what_both_sides_say(writer: ReadModelWriter, model: OperatorReadModel) -> None:
    less = settlement("amount", line(2, amount_minor=1_500))
    writer.write(life("a"), progress=[], settlements=[less, UNMATCHED, settlement()])
    identifier = explained(less).settlement_id
    one = model.mismatch(identifier)
    assert one is not None
    assert (one.id, one.outcome, one.reference, one.transaction_id) == (identifier, "amount", CAPTURE, CAPTURE)
    assert (one.capture_amount_minor, one.capture_currency) == (1_999, "usd")
    assert (one.line_amount_minor, one.line_currency, one.file_sequence, one.line_number) == (1_500, "usd", 7, 2)
    unmatched = model.mismatch(explained(UNMATCHED).settlement_id)
    assert unmatched is not None
    assert (unmatched.payment_intent_id, unmatched.reference, unmatched.capture_amount_minor) == (
        None,
        "cn_capture",
        None,
    )
    assert model.mismatch(explained(settlement()).settlement_id) is None, "what is settled is no mismatch"
    assert model.mismatch(TransactionId("tx_" + "0" * 32)) is None


def test_what_a_person_explained_is_listed_on_demand(writer: ReadModelWriter, model: OperatorReadModel) -> None:
    said = explained(UNMATCHED, "a \ue000 of theirs")
    writer.write([], progress=[], settlements=[UNMATCHED], resolutions=[said])
    wanted = dataclasses.replace(ALL, opened_before=later(LATER, seconds=DAY))
    assert model.mismatches(wanted) == []
    (one,) = model.mismatches(dataclasses.replace(wanted, with_resolved=True))
    assert (one.resolved_at, one.resolved_by, one.evidence) == (said.at, "ada", "a \ue000 of theirs")
    assert one == model.mismatch(said.settlement_id)


def test_nothing_was_found_where_settlement_has_no_table(uri: str, model: OperatorReadModel) -> None:
    with psycopg.connect(uri) as connection:
        connection.execute("ALTER TABLE IF EXISTS reconciliation_mismatches RENAME TO away")
    try:
        assert model.mismatches(ALL) == []
    finally:
        with psycopg.connect(uri) as connection:
            connection.execute("ALTER TABLE IF EXISTS away RENAME TO reconciliation_mismatches")


@pytest.mark.parametrize(("what", "index"), [("list", "created_at"), ("owner", "id")])
def test_both_are_found_by_index(writer: ReadModelWriter, database: psycopg.Connection, what: str, index: str) -> None:
    writer.write(life("a"), progress=[])
    database.execute("SET enable_seqscan = off")
    questions: dict[str, tuple[str, dict[str, object]]] = {
        "list": (OPEN, _parameters(ALL)),
        "owner": (OWNER, {"id": "tx_a"}),
    }
    statement, parameters = questions[what]
    plan = database.execute(f"EXPLAIN {statement}".encode(), parameters).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert re.search(rf"transactions_\d{{4}}_\d{{2}}_{index}_idx", text), text


def test_a_month_that_is_made_later_has_the_indexes(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    writer.write(life("a"), progress=[])
    found = database.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'transactions_2026_11'").fetchall()
    definitions = " ".join(definition for (definition,) in found)
    assert "WHERE (completed_at IS NULL)" in definitions
    assert "USING hash (id)" in definitions


def test_it_only_reads(uri: str, model: OperatorReadModel) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        model._connection.execute("DELETE FROM payment_intent_ids")


def test_no_server() -> None:
    with pytest.raises(ReadModelUnavailable), OperatorReadModel("postgresql://u:p@127.0.0.1:1/d"):
        pass
