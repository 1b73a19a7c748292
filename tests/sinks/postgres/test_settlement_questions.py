"""What settlement asks the read model: which Transaction a line means, and what has become of it already."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import psycopg
import pytest
from msgspec.structs import replace

from schemas.identifiers import PaymentIntentId, TransactionId, transaction_id
from schemas.payment import PaymentEvent, PaymentIntentStatus, Transaction, TransactionStatus, VoidReason
from schemas.payment import TransactionType as Type
from schemas.times import later
from sinks.postgres import Asked, Finding, FoundTransaction, ReadModelUnavailable, ReadModelWriter, SettlementReader
from tests.sinks.postgres.payments import NOVEMBER, life, rows
from tests.sinks.postgres.test_settlements import CAPTURE, INTENT, UNMATCHED, captured, settlement


@pytest.fixture
def reader(uri: str) -> Iterator[SettlementReader]:
    reader = SettlementReader(uri)
    yield reader
    reader.close()


def asked(reference: str = CAPTURE, *, processor_reference: str | None = None, **more: TransactionId) -> Asked:
    return Asked(processor="cardnet", reference=reference, processor_reference=processor_reference, **more)


FOUND = FoundTransaction(
    payment_intent_id=PaymentIntentId(INTENT),
    id=CAPTURE,
    type=Type.capture,
    amount_minor=1_999,
    currency="usd",
    captured_minor=1_999,
    is_captured=True,
    is_open=False,
    is_settled=False,
    was_missed=False,
)


def a_void(
    name: str,
    *,
    of: TransactionId,
    reason: VoidReason = VoidReason.requested,
    status: TransactionStatus = TransactionStatus.failed,
) -> Transaction:
    """A void of an authorization of the payment `a`."""
    return Transaction(
        id=transaction_id(payment_intent_id=INTENT, idempotency_key=name),
        type=Type.void,
        status=status,
        amount_minor=1_999,
        currency="usd",
        processor="cardnet",
        authorization_id=of,
        void_reason=reason,
        created_at=later(NOVEMBER, seconds=8),
        completed_at=later(NOVEMBER, seconds=9),
    )


DECLINED, AUTHORIZED, FIRST_VOID, VOID = (
    transaction_id(payment_intent_id=INTENT, idempotency_key=name)
    for name in ("declined", "authorize", "first void", "void")
)


def found_captured(*further: Transaction) -> PaymentEvent:
    """The event after which `a` has succeeded without a capture: the void of its second attempt found it captured."""
    last = life("a")[-1]
    (authorization,) = last.payment_intent.transactions
    intent = replace(
        last.payment_intent,
        sequence=9,
        status=PaymentIntentStatus.succeeded,
        amount_received_minor=1_500,
        transactions=(
            replace(authorization, id=DECLINED, status=TransactionStatus.failed, processor_reference="cn_declined"),
            a_void("first void", of=DECLINED, reason=VoidReason.doubt, status=TransactionStatus.succeeded),
            authorization,
            a_void("void", of=AUTHORIZED),
            *further,
        ),
    )
    return replace(last, id=last.id + "9", sequence=9, payment_intent=intent)


def charges(findings: Sequence[Finding]) -> list[tuple[TransactionId, int | None]]:
    """What was found, and what each was charged."""
    return [(one.transaction.id, one.transaction.captured_minor) for one in findings if one.transaction is not None]


class TestAsking:
    def test_nothing_is_known(self, reader: SettlementReader) -> None:
        assert reader.find([asked()]) == [Finding()]

    @pytest.mark.parametrize(
        ("event", "found"),
        [
            (captured(), FOUND),
            (captured(received_minor=1_000), dataclasses.replace(FOUND, captured_minor=1_000)),
            (
                captured(TransactionStatus.pending, intent_status=PaymentIntentStatus.processing, received_minor=0),
                dataclasses.replace(FOUND, is_captured=False, captured_minor=None, is_open=True),
            ),
            (
                captured(TransactionStatus.failed, intent_status=PaymentIntentStatus.canceled, received_minor=0),
                dataclasses.replace(FOUND, is_captured=False, captured_minor=None),
            ),
            (
                captured(TransactionStatus.failed, received_minor=1_500),
                dataclasses.replace(FOUND, is_captured=False, captured_minor=1_500),
            ),
        ],
        ids=[
            "captured",
            "captured in part",
            "in doubt",
            "failed",
            "found captured by another call",
        ],
    )
    def test_a_transaction_by_our_own_reference(
        self, writer: ReadModelWriter, reader: SettlementReader, event: PaymentEvent, found: FoundTransaction
    ) -> None:
        writer.write([*life("a"), event], progress=[])
        assert reader.find([asked()]) == [Finding(transaction=found)]

    def test_a_capture_that_failed_beside_one_that_succeeded_is_no_known_charge(
        self, writer: ReadModelWriter, reader: SettlementReader
    ) -> None:
        """A line of it is a second charge, and not the one that we know of."""
        event = captured()
        capture = event.payment_intent.transactions[-1]
        failed = replace(
            capture,
            id=transaction_id(payment_intent_id=INTENT, idempotency_key="failed"),
            status=TransactionStatus.failed,
            processor_reference="cn_failed",
        )
        intent = replace(event.payment_intent, transactions=(*event.payment_intent.transactions, failed))
        writer.write([*life("a"), replace(event, payment_intent=intent)], progress=[])
        unknown, known = reader.find([asked(failed.id), asked()])
        assert unknown.transaction is not None
        assert (unknown.transaction.id, unknown.transaction.captured_minor) == (failed.id, None)
        assert known == Finding(transaction=FOUND)

    def test_what_was_found_captured_is_the_charge_of_its_authorization_alone(
        self, writer: ReadModelWriter, reader: SettlementReader
    ) -> None:
        """A line of the attempt that was declined before it is a charge that nobody knows of."""
        writer.write([found_captured()], progress=[])
        findings = reader.find([asked(DECLINED), asked(FIRST_VOID), asked(AUTHORIZED), asked(VOID)])
        assert charges(findings) == [(DECLINED, None), (FIRST_VOID, None), (AUTHORIZED, 1_500), (VOID, 1_500)]

    def test_a_compensating_void_after_it_says_nothing_of_the_charge(
        self, writer: ReadModelWriter, reader: SettlementReader
    ) -> None:
        late = a_void("late", of=DECLINED, reason=VoidReason.late_approval, status=TransactionStatus.pending)
        writer.write([found_captured(late)], progress=[])
        findings = reader.find([asked(late.id), asked(DECLINED), asked(VOID)])
        assert charges(findings) == [(late.id, None), (DECLINED, None), (VOID, 1_500)]

    def test_a_capture_that_failed_before_the_void_may_have_been_the_charge(
        self, writer: ReadModelWriter, reader: SettlementReader
    ) -> None:
        capture = replace(a_void("capture", of=AUTHORIZED), type=Type.capture, void_reason=None)
        event = found_captured()
        *before, void = event.payment_intent.transactions
        intent = replace(event.payment_intent, transactions=(*before, capture, void))
        writer.write([replace(event, payment_intent=intent)], progress=[])
        assert charges(reader.find([asked(capture.id), asked(DECLINED)])) == [(capture.id, 1_500), (DECLINED, None)]

    def test_an_authorization_is_settled_once_by_whichever_of_its_transactions(
        self, writer: ReadModelWriter, reader: SettlementReader
    ) -> None:
        settled = replace(settlement("settled"), transaction_id=VOID)
        writer.write([found_captured()], progress=[], settlements=[settled])
        findings = reader.find([asked(VOID), asked(AUTHORIZED), asked(DECLINED), asked(FIRST_VOID)])
        assert [one.transaction is not None and one.transaction.is_settled for one in findings] == [
            *(True, True),
            *(False, False),
        ]

    def test_by_the_processors_where_ours_names_nothing(
        self, writer: ReadModelWriter, reader: SettlementReader
    ) -> None:
        writer.write([*life("a"), captured()], progress=[])
        assert reader.find([asked("cn_capture", processor_reference="cn_capture")]) == [Finding(transaction=FOUND)]
        assert reader.find([asked("tx_other", processor_reference="cn_other")]) == [Finding()]

    def test_not_at_another_processor(self, writer: ReadModelWriter, reader: SettlementReader) -> None:
        writer.write([*life("a"), captured()], progress=[])
        elsewhere = Asked(processor="othernet", reference=CAPTURE, processor_reference="cn_capture")
        assert reader.find([elsewhere]) == [Finding()]

    def test_an_authorization_that_is_named_is_no_capture(
        self, writer: ReadModelWriter, reader: SettlementReader
    ) -> None:
        writer.write(life("a"), progress=[])
        authorization = life("a")[-1].payment_intent.transactions[0]
        (finding,) = reader.find([asked(authorization.id)])
        assert finding.transaction is not None
        assert (finding.transaction.type, finding.transaction.captured_minor) == (Type.authorization, None)

    @pytest.mark.parametrize(
        ("outcome", "is_settled", "was_missed"),
        [
            ("settled", True, False),
            ("amount", True, False),
            ("currency", True, False),
            ("missing_at_processor", False, True),
            ("settled_twice", False, False),
        ],
    )
    def test_what_has_been_settled_already(
        self, writer: ReadModelWriter, reader: SettlementReader, outcome: str, is_settled: bool, was_missed: bool
    ) -> None:
        writer.write([*life("a"), captured()], progress=[], settlements=[settlement(outcome)])
        (finding,) = reader.find([asked()])
        assert finding.transaction is not None
        assert (finding.transaction.is_settled, finding.transaction.was_missed) == (is_settled, was_missed)

    def test_the_window_of_the_doubt_is_not_that_of_the_capture(
        self, writer: ReadModelWriter, reader: SettlementReader
    ) -> None:
        """A doubt that was missed and then resolved waits for its line anew."""
        before = settlement("missing_at_processor", at=later(NOVEMBER, seconds=4.5))
        writer.write([*life("a"), captured()], progress=[], settlements=[before])
        assert reader.find([asked()]) == [Finding(transaction=FOUND)]

    def test_a_line_that_was_judged(
        self, writer: ReadModelWriter, reader: SettlementReader, database: psycopg.Connection
    ) -> None:
        writer.write([], progress=[], settlements=[UNMATCHED])
        ((known,),) = rows(database, "SELECT id FROM settlements")
        questions = [
            asked("cn_capture", settlement_id=TransactionId(str(known))),
            asked("cn_capture", settlement_id=TransactionId("tx_other")),
        ]
        assert [finding.line_is_judged for finding in reader.find(questions)] == [True, False]

    def test_many_are_answered_in_their_order(self, writer: ReadModelWriter, reader: SettlementReader) -> None:
        writer.write([*life("a"), captured()], progress=[])
        findings = reader.find([asked("tx_none"), asked(), asked("tx_none"), asked()])
        assert [finding.transaction is not None for finding in findings] == [False, True, False, True]

    def test_how_far_the_read_model_has_come(
        self, writer: ReadModelWriter, reader: SettlementReader, database: psycopg.Connection
    ) -> None:
        writer.load_progress("payments.events", [0, 1])
        assert reader.watermark(partitions=2) is None, "of settlements nothing was read yet"
        writer.load_progress("payments.settlements", [0, 1])
        assert reader.watermark(partitions=2) == 0
        database.execute("UPDATE read_model_progress SET watermark = 'epoch'::timestamptz + interval '7 s'")
        database.execute(
            "UPDATE read_model_progress SET watermark = 'epoch'::timestamptz + interval '5 s'"
            " WHERE topic = 'payments.settlements' AND partition = 1"
        )
        assert reader.watermark(partitions=2) == 5_000_000
        assert reader.watermark(partitions=4) is None


def test_a_server_that_is_away_is_told_of() -> None:
    reader = SettlementReader("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(ReadModelUnavailable):
        reader.find([asked()])
    with pytest.raises(ReadModelUnavailable):
        reader.watermark(partitions=4)
