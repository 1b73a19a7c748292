"""Results that come late, twice, out of order or against what is on record; and who hears of the end."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.identifiers import opened_transaction_id
from schemas.payment import CaptureMethod, ReplyTo, TransactionStatus
from schemas.processing import CallKind, Outcome
from tests.topology.domain.script import (
    AMOUNT_MINOR,
    INTENT,
    Payment,
    authorize_body,
    command,
    result,
    tx,
)
from topology.domain import DeadLetterCause, EventType, forgettable

AUTHORIZED = ("attempt", "authorization: approved")
IN_DOUBT = ("attempt", "authorization: unknown")
VOIDED = (*IN_DOUBT, "timer: ladder", "void: approved")

# fmt: off
NOTHING_NEW = {
    "an approval twice": (*AUTHORIZED, "authorization: approved ! nothing_new"),
    "a decline twice": ("attempt", "authorization: declined", "authorization: declined ! nothing_new"),
    "an unknown outcome twice": (*IN_DOUBT, "authorization: unknown ! nothing_new"),
    "an unknown outcome after the answer": (*AUTHORIZED, "authorization: unknown ! nothing_new"),
    "not found after the answer": (*AUTHORIZED, "authorization: lookup not_found ! nothing_new"),
    "a challenge after the decline":
        ("attempt", "authorization: declined", "authorization: challenge ! nothing_new"),
    "a capture twice": (*AUTHORIZED, "capture: approved", "capture: approved ! nothing_new"),
    "a failed capture twice": (*AUTHORIZED, "capture: declined gone", "capture: declined ! nothing_new"),
    "a void twice": (*VOIDED, "void: approved ! nothing_new"),
    "a void that finds itself done": (*VOIDED, "void: declined gone ! nothing_new"),
    "a decline of what was voided in doubt": (*VOIDED, "authorization: declined ! nothing_new"),
    "the approval over another amount twice":
        ("attempt", "authorization: approved 1", "authorization: approved 1 ! nothing_new"),
    "a noted approval twice":
        (*IN_DOUBT, "timer: ladder", "authorization: approved", "authorization: approved ! nothing_new"),
    "a noted approval once more after the void":
        (*IN_DOUBT, "timer: ladder", "authorization: approved ref=r", "void: approved",
         "authorization: approved ref=r ! nothing_new"),
    "a late approval twice": (*VOIDED, "authorization: approved", "authorization: approved ! nothing_new"),
    "a late approval once more after it was compensated":
        (*VOIDED, "authorization: approved ref=r", "compensation: approved",
         "authorization: approved ref=r ! nothing_new"),
}
OUT_OF_PLACE = {
    "not sent of what was called before": (*IN_DOUBT, "authorization: not_sent ! unexpected_result"),
    "not sent of a capture": (*AUTHORIZED, "capture: not_sent ! unexpected_result"),
    "a challenge of a void": (*IN_DOUBT, "timer: ladder", "void: challenge ! unexpected_result"),
    "not found by the call itself": (*IN_DOUBT, "authorization: not_found ! unexpected_result"),
    "a look-up of what was not called yet": ("attempt", "authorization: lookup not_found ! not_in_doubt"),
    "another processor's decline": ("attempt", "authorization: declined by=z ! other_processor"),
    "another processor's capture": (*AUTHORIZED, "capture: approved by=z ! other_processor"),
}
CONTRADICTED = {
    "a decline after the approval": (*AUTHORIZED, "authorization: declined"),
    "not sent after the approval": (*AUTHORIZED, "authorization: not_sent"),
    "a second hold under the same authorization":
        ("attempt", "authorization: approved ref=r", "authorization: approved ref=s"),
    "an approval over another amount after the approval": (*AUTHORIZED, "authorization: approved 1"),
    "a failed capture after its approval": (*AUTHORIZED, "capture: approved", "capture: declined open"),
    "an approved capture after its failure": (*AUTHORIZED, "capture: declined gone", "capture: approved"),
    "a void that failed after its acknowledgement": (*VOIDED, "void: declined open"),
    "a void acknowledged after it failed": (*IN_DOUBT, "timer: ladder", "void: declined gone", "void: approved"),
}
LATE = {
    "an approval after the decline": ("attempt", "authorization: declined", "authorization: approved"),
    "an approval of what was never sent": ("attempt", "authorization: not_sent expired_before_send",
                                           "authorization: approved"),
    "an approval after the void": (*VOIDED, "authorization: approved"),
    "another hold after the void of a noted one":
        (*IN_DOUBT, "timer: ladder", "authorization: approved ref=r", "void: approved",
         "authorization: approved ref=s"),
    "another hold after a late approval was compensated":
        (*VOIDED, "authorization: approved ref=r", "compensation: approved", "authorization: approved ref=s"),
}
# fmt: on


@pytest.mark.parametrize("steps", [*NOTHING_NEW.values(), *OUT_OF_PLACE.values()], ids=[*NOTHING_NEW, *OUT_OF_PLACE])
def test_changes_nothing(steps: tuple[str, ...]) -> None:
    Payment().tell(*steps)


@pytest.mark.parametrize("steps", CONTRADICTED.values(), ids=CONTRADICTED.keys())
def test_a_contradiction_is_an_event_and_moves_nothing(steps: tuple[str, ...]) -> None:
    payment = Payment().tell(*steps[:-1])
    before = payment.intent
    payment.tell(steps[-1])
    assert [event.type for event in payment.decision.events] == [EventType.transaction_contradicted]
    after = replace(payment.intent, sequence=before.sequence, updated_at=before.updated_at)
    assert after == before


@pytest.mark.parametrize("steps", LATE.values(), ids=LATE.keys())
def test_a_late_approval_is_contradicted_and_compensated(steps: tuple[str, ...]) -> None:
    payment = Payment().tell(*steps[:-1])
    status = payment.intent.status
    payment.tell(steps[-1])
    types = [event.type for event in payment.decision.events]
    assert types == [EventType.transaction_contradicted, EventType.transaction_created]
    void = payment.latest("compensation")
    assert (void.status, void.authorization_id) == (TransactionStatus.created, payment.latest("authorization").id)
    assert payment.intent.status is status


def test_a_late_approval_of_a_canceled_payment_keeps_it_from_being_forgotten() -> None:
    payment = Payment().tell("attempt", "authorization: challenge", "cancel", "void: approved")
    assert forgettable(payment.intent)
    payment.tell("authorization: approved")
    assert not forgettable(payment.intent)
    payment.tell("compensation: approved")
    assert forgettable(payment.intent)


def test_a_compensating_void_that_finds_the_money_taken_contradicts_its_authorization() -> None:
    payment = Payment().tell("attempt", "authorization: declined", "authorization: approved")
    payment.tell("compensation: declined captured")
    types = [event.type for event in payment.decision.events]
    assert types == [EventType.transaction_completed, EventType.transaction_contradicted]
    contradicted = payment.decision.events[-1].transaction
    assert contradicted == payment.latest("authorization")


def test_the_end_of_the_longest_hold_ends_every_void_of_an_authorization() -> None:
    payment = Payment().tell("attempt", "authorization: not_sent no_connection", "authorization: unknown")
    payment.tell("authorization: approved by=a", "timer: ladder", "timer: hold_ended")
    assert payment.transactions() == [
        "authorization expired",
        "void (late_approval) expired",
        "void (doubt) expired",
    ]
    assert forgettable(payment.tell("cancel").intent)


def test_a_result_of_the_wrong_call_is_a_dead_letter() -> None:
    payment = Payment().tell("attempt")
    wrong = result(payment.latest("authorization"), Outcome.approved, call=CallKind.capture)
    assert payment.give(wrong).dead_letter is DeadLetterCause.wrong_call


def test_what_the_adapter_needs_is_kept_from_every_result() -> None:
    payment = Payment().tell("attempt")
    authorization = payment.latest("authorization")
    unknown = result(authorization, Outcome.unknown)
    payment.give(replace(unknown, processor_data={"de11": "000001"}))
    payment.tell("timer: ladder")
    late = result(authorization, Outcome.approved, reference="r-1")
    payment.give(replace(late, processor_data={"de38": "A1B2C3"}))
    known = payment.latest("authorization")
    assert known.processor_data == {"de11": "000001", "de38": "A1B2C3"}
    assert known.processor_reference == "r-1"
    assert known.status is TransactionStatus.pending


def test_fail_over_leaves_nothing_of_the_first_processor_behind() -> None:
    payment = Payment(route=("a", "b", "c")).tell("attempt")
    not_sent = result(payment.latest("authorization"), Outcome.not_sent, code="no_connection", reference="r")
    payment.give(replace(not_sent, processor_data={"de11": "000001"}))
    rerouted = payment.latest("authorization")
    assert payment.decision.events[0].type == EventType.transaction_rerouted
    assert (rerouted.processor, rerouted.route) == ("b", ("c",))
    assert (rerouted.processor_reference, rerouted.processor_data) == (None, {})


def test_what_the_fold_opens_itself_is_named_by_its_event() -> None:
    payment = Payment().tell(*AUTHORIZED)
    completed, created = payment.decision.events
    assert (completed.type, created.type) == (EventType.transaction_completed, EventType.transaction_created)
    capture = payment.latest("capture")
    assert created.transaction == capture
    assert capture.id == opened_transaction_id(payment_intent_id=INTENT, sequence=created.sequence)
    assert (capture.amount_minor, capture.processor, capture.fingerprint) == (AMOUNT_MINOR, "a", None)


def test_the_end_of_a_void_closes_the_authorization_first() -> None:
    payment = Payment().tell(*VOIDED)
    closed = [event.transaction.type for event in payment.decision.events if event.transaction is not None]
    assert closed == ["authorization", "void"]
    assert [event.type for event in payment.decision.events] == [EventType.transaction_completed] * 2
    assert [event.payment_intent.status for event in payment.decision.events] == [
        "processing",
        "requires_payment_method",
    ]


def test_who_asked_to_wait_hears_when_the_payment_leaves_processing() -> None:
    payment = Payment()
    payment.give(command(authorize_body("k"), command_id="cmd_wait", wait=True))
    awaited = ReplyTo(partition=2, command_id=command(authorize_body("k"), command_id="cmd_wait").id)
    assert payment.latest("authorization").reply_to == awaited
    assert payment.tell("authorization: approved").decision.left_processing == ()
    assert payment.tell("capture: approved").decision.left_processing == ((awaited, tx("k")),)
    assert all(transaction.reply_to is None for transaction in payment.intent.transactions)
    assert payment.tell("capture: declined open").decision.left_processing == ()


def test_a_challenge_leaves_processing_too_and_its_event_does_not_carry_the_reply() -> None:
    payment = Payment(capture=CaptureMethod.manual)
    payment.give(command(authorize_body("k"), wait=True))
    payment.tell("authorization: challenge")
    assert [tx_id for _, tx_id in payment.decision.left_processing] == [tx("k")]
    told = payment.decision.events[-1].transaction
    assert told is not None
    assert told == payment.latest("authorization")
    assert told.reply_to is None


def test_who_does_not_wait_is_not_kept() -> None:
    payment = Payment().tell("attempt")
    assert payment.latest("authorization").reply_to is None
