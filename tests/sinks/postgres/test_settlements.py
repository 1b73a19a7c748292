"""Settlements in the read model: written once, shown beside the payment, listed as mismatches."""

from __future__ import annotations

import asyncio

import psycopg
from msgspec.structs import replace
from prometheus_client import REGISTRY

from schemas.identifiers import TransactionId, transaction_id
from schemas.payment import PaymentEvent, PaymentIntent, PaymentIntentStatus, Transaction, TransactionStatus
from schemas.payment import TransactionType as Type
from schemas.settlement import MismatchResolved, Settlement, SettlementLine
from schemas.times import Micros, later
from sinks.postgres import Placed, Projection, ReadModel, ReadModelWriter
from sinks.postgres.settlement_columns import id_of_settlement
from tests.sinks.postgres.payments import NOVEMBER, id_of, life, rows

INTENT = id_of("a")
CAPTURE = transaction_id(payment_intent_id=INTENT, idempotency_key="capture")
LATER = later(NOVEMBER, seconds=5 * 86_400)


def captured(
    status: TransactionStatus = TransactionStatus.succeeded,
    *,
    intent_status: PaymentIntentStatus = PaymentIntentStatus.succeeded,
    received_minor: int = 1_999,
) -> PaymentEvent:
    """The event after which the payment `a` has a capture of that status."""
    last = life("a")[-1]
    capture = Transaction(
        id=CAPTURE,
        type=Type.capture,
        status=status,
        amount_minor=1_999,
        currency="usd",
        processor="cardnet",
        authorization_id=last.payment_intent.transactions[0].id,
        processor_reference="cn_capture",
        created_at=later(NOVEMBER, seconds=4),
        completed_at=None if status is TransactionStatus.pending else later(NOVEMBER, seconds=5),
    )
    intent = last.payment_intent
    intent = replace(
        intent,
        sequence=4,
        status=intent_status,
        amount_received_minor=received_minor,
        transactions=(*intent.transactions, capture),
    )
    return replace(last, id=last.id + "4", sequence=4, payment_intent=intent, transaction=capture)


def line(number: int = 1, *, amount_minor: int = 1_999, reference: str | None = CAPTURE) -> SettlementLine:
    return SettlementLine(
        processor="cardnet",
        processor_reference="cn_capture",
        kind="capture",
        settlement_date=20_777,
        file_sequence=7,
        file_hash=b"\x07" * 32,
        line_number=number,
        gross_minor=amount_minor,
        currency="usd",
        fee_minor=40,
        net_minor=amount_minor - 40,
        payout_currency="usd",
        at=LATER,
        reference=reference,
        booked_at=NOVEMBER,
    )


def settlement(outcome: str = "settled", of: SettlementLine | None = None, *, at: Micros = LATER) -> Settlement:
    """A settlement of the capture of `a`; without a line where it is missing."""
    line_of = None if outcome == "missing_at_processor" else of or line()
    return Settlement(
        payment_intent_id=INTENT,
        transaction_id=CAPTURE,
        processor="cardnet",
        processor_reference="cn_capture",
        outcome=outcome,
        settlement_date=None if line_of is None else line_of.settlement_date,
        line=line_of,
        at=at,
        capture_amount_minor=1_999,
        capture_currency="usd",
        reference=CAPTURE,
    )


UNMATCHED = replace(
    settlement("missing_here", line(9, reference=None)),
    payment_intent_id=None,
    transaction_id=None,
    capture_amount_minor=None,
    capture_currency=None,
    reference="cn_capture",
)


def explained(found: Settlement, evidence: str = "their books, by mail", *, by: str = "ada") -> MismatchResolved:
    """A person's word about a mismatch, a day after all else."""
    return MismatchResolved(
        settlement_id=TransactionId(id_of_settlement(found)),
        payment_intent_id=found.payment_intent_id,
        reference=found.reference,
        processor=found.processor,
        outcome=found.outcome,
        evidence=evidence,
        actor_id=by,
        at=later(LATER, seconds=2 * 86_400),
    )


def shown(uri: str) -> PaymentIntent:
    async def run() -> PaymentIntent | None:
        async with ReadModel(uri) as model:
            return (await model.read(INTENT, partition=0)).intent

    intent = asyncio.run(run())
    assert intent is not None
    return intent


COUNT = "SELECT count(*) FROM settlements"


class TestWriting:
    def test_the_same_settlement_again_is_no_second_row(
        self, writer: ReadModelWriter, database: psycopg.Connection
    ) -> None:
        writer.write([], progress=[], settlements=[settlement(), settlement()])
        writer.write([], progress=[], settlements=[settlement(), settlement("amount", line(2))])
        assert rows(database, COUNT) == [(2,)]

    def test_a_line_that_was_decided_again_later_is_no_second_row(
        self, writer: ReadModelWriter, database: psycopg.Connection
    ) -> None:
        writer.write([], progress=[], settlements=[settlement()])
        writer.write([], progress=[], settlements=[settlement(at=later(LATER, seconds=40 * 86_400))])
        assert rows(database, "SELECT outcome, at FROM settlements") == [("settled", _time(database, LATER))]

    def test_every_field_has_its_value(self, writer: ReadModelWriter, database: psycopg.Connection) -> None:
        writer.write([], progress=[], settlements=[settlement(), UNMATCHED, settlement("missing_at_processor")])
        statement = (
            "SELECT outcome, payment_intent_id, reference, settlement_date::text, gross_minor, net_minor, line_number,"
            " encode(file_hash, 'hex'), kind, capture_amount_minor, imported_at = at FROM settlements ORDER BY outcome"
        )
        digest = "07" * 32
        assert rows(database, statement) == [
            ("missing_at_processor", INTENT, CAPTURE, None, None, None, None, None, None, 1_999, None),
            ("missing_here", None, "cn_capture", "2026-11-20", 1_999, 1_959, 9, digest, "capture", None, True),
            ("settled", INTENT, CAPTURE, "2026-11-20", 1_999, 1_959, 1, digest, "capture", 1_999, True),
        ]

    def test_they_come_with_events_and_offsets_in_one_write(
        self, uri: str, writer: ReadModelWriter, database: psycopg.Connection
    ) -> None:
        projection = Projection(writer)
        events, settlements = ("payments.events", 0), ("payments.settlements", 2)
        assert set(projection.load([events, settlements])) == {events, settlements}
        placed = [
            Placed(topic=events[0], partition=0, offset=offset, event=event)
            for offset, event in enumerate([*life("a"), captured()])
        ]
        placed.append(Placed(topic=settlements[0], partition=2, offset=0, event=settlement()))
        projection.write(placed, positions={events: 4, settlements: 1}, ends={}, record_times={})
        assert rows(database, COUNT) == [(1,)]
        progress = "SELECT topic, partition, next_offset FROM read_model_progress ORDER BY topic"
        assert rows(database, progress) == [(*events, 4), (*settlements, 1)]


class TestShowing:
    def test_it_is_shown_as_a_transaction_beside_the_capture(self, uri: str, writer: ReadModelWriter) -> None:
        writer.write([*life("a"), captured()], progress=[], settlements=[settlement()])
        *before, one = shown(uri).transactions
        assert [each.type for each in before] == [Type.authorization, Type.capture]
        assert (one.type, one.status, one.amount_minor, one.currency) == (
            Type.settlement,
            TransactionStatus.succeeded,
            1_999,
            "usd",
        )
        assert (one.processor_reference, one.code, one.created_at, one.completed_at) == (
            "cn_capture",
            None,
            LATER,
            LATER,
        )
        assert one.processor_data == {
            "capture": CAPTURE,
            "settlement_date": "2026-11-20",
            "fee_minor": "40",
            "net_minor": "1959",
            "payout_currency": "usd",
        }

    def test_a_mismatch_is_one_that_failed_by_its_name(self, uri: str, writer: ReadModelWriter) -> None:
        missing = settlement("missing_at_processor")
        writer.write(
            [*life("a"), captured()],
            progress=[],
            settlements=[missing, settlement("amount", line(amount_minor=5), at=later(LATER, seconds=60))],
        )
        *_before, first, second = shown(uri).transactions
        assert (first.status, first.code, first.amount_minor) == (
            TransactionStatus.failed,
            "missing_at_processor",
            1_999,
        )
        assert (second.status, second.code, second.amount_minor) == (TransactionStatus.failed, "amount", 5)

    def test_a_payment_without_one_is_as_the_log_has_it(self, uri: str, writer: ReadModelWriter) -> None:
        writer.write([*life("a"), captured()], progress=[], settlements=[UNMATCHED])
        assert shown(uri) == captured().payment_intent

    def test_fees_and_chargebacks_are_kept_and_not_shown(self, uri: str, writer: ReadModelWriter) -> None:
        fee = replace(settlement("unmatched_kind"), line=replace(line(), kind="fee"))
        writer.write([*life("a"), captured()], progress=[], settlements=[fee])
        assert shown(uri) == captured().payment_intent


class TestMismatches:
    MISMATCHES = "SELECT name, transaction_id, resolved_at IS NOT NULL FROM reconciliation_mismatches ORDER BY found_at"

    def test_all_but_what_is_settled_and_what_is_not_judged(
        self, writer: ReadModelWriter, database: psycopg.Connection
    ) -> None:
        fee = settlement("unmatched_kind", line(2))
        late = settlement("settled_twice", line(3), at=later(LATER, seconds=1))
        writer.write([], progress=[], settlements=[settlement(), fee, UNMATCHED, late])
        assert rows(database, self.MISMATCHES) == [("missing_here", None, False), ("settled_twice", CAPTURE, False)]

    def test_a_late_line_resolves_what_was_missing(self, writer: ReadModelWriter, database: psycopg.Connection) -> None:
        writer.write([], progress=[], settlements=[settlement("missing_at_processor")])
        assert rows(database, self.MISMATCHES) == [("missing_at_processor", CAPTURE, False)]
        writer.write([], progress=[], settlements=[settlement(at=later(LATER, seconds=86_400))])
        assert rows(database, self.MISMATCHES) == [("missing_at_processor", CAPTURE, True)]


RESOLUTIONS = "SELECT name, resolved_by, evidence FROM reconciliation_mismatches ORDER BY name"


class TestExplaining:
    def test_a_word_resolves_any_mismatch_and_no_other(
        self, uri: str, writer: ReadModelWriter, database: psycopg.Connection
    ) -> None:
        twice, missing = settlement("settled_twice", line(2)), settlement("missing_at_processor")
        writer.write([*life("a"), captured()], progress=[], settlements=[twice, missing, UNMATCHED])
        before = shown(uri)
        for found in (twice, missing, UNMATCHED):
            assert (found.outcome, None, None) in rows(database, RESOLUTIONS)
            writer.write([], progress=[], resolutions=[explained(found)])
            assert (found.outcome, "ada", "their books, by mail") in rows(database, RESOLUTIONS)
        statement = "SELECT DISTINCT resolved_at FROM reconciliation_mismatches"
        assert rows(database, statement) == [(_time(database, explained(twice).at),)]
        assert shown(uri) == before, "what the processor's file said stays said"

    def test_the_first_word_stays(self, writer: ReadModelWriter, database: psycopg.Connection) -> None:
        first, second = explained(UNMATCHED, "a refund of theirs"), explained(UNMATCHED, by="grace")
        writer.write([], progress=[], settlements=[UNMATCHED], resolutions=[first, second])
        writer.write([], progress=[], resolutions=[second, first])
        assert rows(database, RESOLUTIONS) == [("missing_here", "ada", "a refund of theirs")]

    def test_a_line_that_came_before_or_after_it_changes_the_moment_only(
        self, writer: ReadModelWriter, database: psycopg.Connection
    ) -> None:
        missing, late = settlement("missing_at_processor"), later(LATER, seconds=86_400)
        writer.write([], progress=[], settlements=[missing], resolutions=[explained(missing)])
        writer.write([], progress=[], settlements=[settlement(at=late)])
        statement = "SELECT resolved_at, resolved_by FROM reconciliation_mismatches"
        assert rows(database, statement) == [(_time(database, late), "ada")]

    def test_every_field_has_its_value(self, writer: ReadModelWriter, database: psycopg.Connection) -> None:
        said = explained(settlement("amount"))
        writer.write([], progress=[], resolutions=[said])
        statement = (
            "SELECT settlement_id, payment_intent_id, reference, processor, outcome, evidence, actor_id, at"
            " FROM mismatch_resolutions"
        )
        assert rows(database, statement) == [
            (
                said.settlement_id,
                INTENT,
                CAPTURE,
                "cardnet",
                "amount",
                "their books, by mail",
                "ada",
                _time(database, said.at),
            )
        ]

    def test_it_is_counted_by_the_name_of_the_mismatch(self, writer: ReadModelWriter) -> None:
        def counted() -> float:
            name = "paystream_mismatches_resolved_total"
            return REGISTRY.get_sample_value(name, {"processor": "cardnet", "outcome": "missing_here"}) or 0.0

        place = ("payments.settlements", 2)
        projection = Projection(writer)
        projection.load([place])
        before = counted()
        placed = [
            Placed(topic=place[0], partition=2, offset=0, event=UNMATCHED),
            Placed(topic=place[0], partition=2, offset=1, event=explained(UNMATCHED)),
        ]
        projection.write(placed, positions={place: 2}, ends={}, record_times={})
        assert counted() == before + 1


def _time(database: psycopg.Connection, at: Micros) -> object:
    ((moment,),) = rows(database, f"SELECT 'epoch'::timestamptz + interval '1 microsecond' * {at}")
    return moment
