"""`decide`: a payment as it stands and what comes in make events, or a refusal. Pure: no clock, no chance, no I/O.

The input is named (`commands`, `results`, `timers`), the name is looked up in the transition table, and what the row
says is recorded. There is no other way to change a payment. Driven by the payments flow, which writes the events, keeps
the last one's `payment_intent` as the state, and replies.
"""

from __future__ import annotations

from msgspec.structs import replace

from schemas.commands import CreatePaymentIntent, PaymentCommand, ResolveTransaction, ReturnFromChallenge
from schemas.identifiers import CommandId
from schemas.payment import (
    Actor,
    ActorType,
    PaymentError,
    PaymentIntent,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
    VoidReason,
)
from schemas.processing import ProcessorResult, ResultSource, TimerFired
from schemas.times import Micros, later
from topology.domain.commands import read_command, read_create, resolution
from topology.domain.decision import Decision, refused
from topology.domain.event_types import EventType
from topology.domain.evolve import Change, Recorder, open_payment_intent, open_transaction
from topology.domain.findings import APPROVED_THEN_VOIDED, IN_DOUBT, Finding
from topology.domain.intents import authorization_of, is_open
from topology.domain.refusals import DeadLetterCause, Refusal
from topology.domain.results import read_result
from topology.domain.results_of_authorizations import HOLD_SECONDS
from topology.domain.timers import HOLD_ENDED, read_timer
from topology.domain.transitions import (
    AUTHORIZATION_AFTER_VOID,
    CANCELLATION_AFTER_VOID,
    REFUSED,
    TABLE,
    On,
    Row,
)

__all__ = ["decide"]

_FINAL = (
    TransactionStatus.succeeded,
    TransactionStatus.declined,
    TransactionStatus.failed,
    TransactionStatus.canceled,
    TransactionStatus.expired,
)
_WITHOUT_MERCHANT = (ActorType.client, ActorType.processor)
_STANDS = (On.void_failed, On.void_found_captured)
_LAPSED = (On.void_lapsed_for_good, On.void_lapsed_by_us)
_CODE_AFTER_VOID = {
    VoidReason.cancel: "canceled",
    VoidReason.challenge_timeout: "challenge_timeout",
    VoidReason.doubt: IN_DOUBT,
}


def decide(
    intent: PaymentIntent | None,
    given: PaymentCommand | ProcessorResult | TimerFired,
    *,
    forgotten_up_to: Micros | None = None,
) -> Decision:
    """What the input does to the payment; `intent` None where the fold knows none of that id.

    `forgotten_up_to` is how far the shard has forgotten final intents: a create that was looked up before that moment
    is refused.
    """
    if isinstance(given, PaymentCommand):
        return _command(intent, given, forgotten_up_to)
    if isinstance(given, ProcessorResult):
        return _result(intent, given)
    return _timer(intent, given)


def _command(intent: PaymentIntent | None, command: PaymentCommand, forgotten_up_to: Micros | None) -> Decision:
    body = command.body
    if intent is not None and not _may_ask(intent, command):
        return refused(Refusal.unknown_payment_intent)
    if isinstance(body, CreatePaymentIntent):
        found = read_create(intent, command, body, forgotten_up_to)
        if isinstance(found, Decision):
            return found
        row = TABLE[None, found.on]
        assert row.event is not None
        assert row.target is not None
        opened = open_payment_intent(command, body, status=row.target)
        recorder = Recorder(opened, at=command.at, cause=command.id, actor=command.actor)
        recorder.first(row.event)
        return Decision(events=tuple(recorder.events))
    if intent is None:
        return refused(Refusal.unknown_payment_intent)
    # Why a person says so is in the history, beside who.
    evidence = body.evidence if isinstance(body, ResolveTransaction) else None
    recorder = Recorder(intent, at=command.at, cause=command.id, actor=command.actor, evidence=evidence)
    if isinstance(body, ResolveTransaction):
        resolved = resolution(intent, command, body)
        found = resolved if isinstance(resolved, Decision) else read_result(intent, resolved, recorder.at)
    else:
        found = read_command(intent, command, recorder.at)
    return _carry_out(found, recorder)


def _may_ask(intent: PaymentIntent, command: PaymentCommand) -> bool:
    """Another merchant's intent, or the other mode's, is none at all to whoever asks.

    A customer's browser and a processor's notification come without a merchant: they may say that a challenge has
    ended, for that only starts a look-up.
    """
    if isinstance(command.body, ReturnFromChallenge) and command.actor.type in _WITHOUT_MERCHANT:
        return True
    return command.merchant_id == intent.merchant_id and command.livemode == intent.livemode


def _result(intent: PaymentIntent | None, result: ProcessorResult) -> Decision:
    if intent is None:
        return Decision(dead_letter=DeadLetterCause.unknown_payment_intent)
    if result.source is ResultSource.operator:
        actor = Actor(type=ActorType.operator, id=result.actor_id or "unknown")
    else:
        actor = Actor(type=ActorType.processor, id=result.processor)
    cause = f"result:{result.call}:{result.transaction_id}"
    recorder = Recorder(intent, at=result.at, cause=cause, actor=actor, evidence=result.evidence)
    return _carry_out(read_result(intent, result, recorder.at), recorder)


def _timer(intent: PaymentIntent | None, timer: TimerFired) -> Decision:
    if intent is None:
        return refused(Refusal.unknown_payment_intent)
    about = "" if timer.transaction_id is None else f":{timer.transaction_id}"
    actor = Actor(type=ActorType.timer, id=timer.name)
    recorder = Recorder(intent, at=timer.at, cause=f"timer:{timer.name}{about}", actor=actor)
    decision = _carry_out(read_timer(intent, timer), recorder)
    while timer.name == HOLD_ENDED and decision.refusal is None:
        # One authorization may have several voids open; the end of its hold ends them all.
        more = _carry_out(read_timer(recorder.intent, timer), recorder)
        if more.refusal is not None:
            return decision
        decision = more
    return decision


def _carry_out(found: Finding | Decision, recorder: Recorder) -> Decision:
    """Look the finding up in the table, and record what its row says."""
    if isinstance(found, Decision):
        return found
    intent = recorder.intent
    row = TABLE.get((intent.status, found.on))
    if row is None:
        return refused(REFUSED[intent.status, found.on])
    subject = found.transaction
    if subject is not None and subject.type is TransactionType.void and row.becomes in _FINAL:
        _close_authorization(found.on, subject, recorder)
    if row.event is not None:
        _record_subject(row, found, recorder)
    if row.then is not None:
        assert subject is not None, found.on
        contradicted = authorization_of(recorder.intent, subject)
        recorder.record(Change(type=row.then, at=recorder.at, status=recorder.intent.status, transaction=contradicted))
    opened = None if row.opens is None else _open(row, found, recorder)
    concerned = opened if found.opening is not None else subject
    return Decision(
        events=tuple(recorder.events),
        transaction_id=None if concerned is None else concerned.id,
        left_processing=recorder.left_processing,
    )


def _record_subject(row: Row, found: Finding, recorder: Recorder) -> None:
    """The row's event about the Transaction concerned, or about the PaymentIntent alone, and the status it moves to."""
    assert row.event is not None
    assert row.target is not None
    subject, cancellation, error = found.transaction, row.cancellation, None
    if subject is not None:
        if row.becomes in _FINAL:
            subject = replace(subject, status=row.becomes, next_action=None, completed_at=recorder.at)
        elif row.becomes is not None and row.becomes is not subject.status:
            subject = replace(subject, status=row.becomes)
        if row.source is not row.target:
            if row.target is PaymentIntentStatus.requires_payment_method:
                error = _error(subject, recorder.intent)
            elif row.target is PaymentIntentStatus.canceled and subject.void_reason is not None:
                cancellation = CANCELLATION_AFTER_VOID[subject.void_reason]
    recorder.record(
        Change(
            type=row.event,
            at=recorder.at,
            status=row.target,
            transaction=subject,
            amount_received_minor=found.amount_received_minor,
            error=error,
            cancellation_reason=cancellation,
            canceled_by=CommandId(recorder.cause) if _cancels_at_once(row, found) else None,
        )
    )


def _cancels_at_once(row: Row, found: Finding) -> bool:
    """Whether a cancel needs no void, and so leaves no Transaction by which the same command is known again."""
    return found.on is On.cancel and row.event is EventType.payment_intent_canceled


def _open(row: Row, found: Finding, recorder: Recorder) -> Transaction:
    """Open what the row says: what the command brought, or what the fold makes of the authorization concerned."""
    assert row.opens is not None
    assert row.target is not None
    opening = found.opening
    if opening is None:
        subject = found.transaction
        assert subject is not None, found.on
        if subject.type is not TransactionType.authorization:
            subject = authorization_of(recorder.intent, subject)
        opening = open_transaction(
            recorder.intent,
            kind=row.opens,
            authorization=subject,
            at=recorder.at,
            processor=found.processor,
            reason=row.reason,
        )
    recorder.record(Change(type=EventType.transaction_created, at=recorder.at, status=row.target, transaction=opening))
    return opening


def _close_authorization(on: On, void: Transaction, recorder: Recorder) -> None:
    """The end of a void closes the authorization that was open until now, one event before its own."""
    authorization = authorization_of(recorder.intent, void)
    reason = void.void_reason
    if not is_open(authorization) or reason is None or reason is VoidReason.late_approval:
        return
    status = AUTHORIZATION_AFTER_VOID[reason]
    code: str | None = authorization.code or _CODE_AFTER_VOID[reason]
    capture_before = authorization.capture_before
    if on in _STANDS:
        status, code = TransactionStatus.succeeded, None
        capture_before = capture_before or later(recorder.at, seconds=HOLD_SECONDS)
    elif on in _LAPSED:
        status = TransactionStatus.expired
    elif authorization.code not in (None, APPROVED_THEN_VOIDED):
        # The processor's own word came while the void was open: declined, or approved over another amount.
        status = TransactionStatus.declined
    closed = replace(
        authorization,
        status=status,
        code=code,
        capture_before=capture_before,
        next_action=None,
        completed_at=recorder.at,
    )
    recorder.record(
        Change(
            type=EventType.transaction_completed,
            at=recorder.at,
            status=recorder.intent.status,
            transaction=closed,
        )
    )


def _error(subject: Transaction, intent: PaymentIntent) -> PaymentError:
    """Why the attempt did not succeed: what its authorization says, or the capture that failed."""
    told = subject
    if subject.void_reason is VoidReason.capture_failed:
        captures = [t for t in intent.transactions if t.type is TransactionType.capture]
        told = captures[-1]
    elif subject.type is TransactionType.void:
        told = authorization_of(intent, subject)
    return PaymentError(transaction_id=told.id, code=told.code or told.status, decline_code=told.decline_code)
