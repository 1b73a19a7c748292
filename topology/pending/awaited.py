"""What is to be awaited of a payment as it stands after an event: which timers are to run, what is to be looked up.

Pure: the event, the durations and what the processors promise are arguments. It is derived from the state after every
event, so that nothing depends on having seen each step; `watch` compares it with what runs already. Only two things
follow from the event itself: a customer's return from a challenge starts a look-up, and the moment counts from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from schemas.payment import (
    PaymentEvent,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
)
from schemas.processing import CallKind, InFlightCall, Timer
from schemas.times import later
from topology.domain import CALL_OF, EventType, is_compensating, is_open
from topology.domain.intents import last_authorization, resolving_void, voids_of
from topology.pending.times import ReconciliationTimes
from topology.processors.port import Capabilities

__all__ = ["DOUBT_ALERT", "LADDER", "UNANSWERED_ALERT", "Awaited", "CapabilitiesOf", "awaited"]

CapabilitiesOf = Callable[[str], Capabilities]

LADDER = "ladder"
DOUBT_ALERT = "doubt_alert"
UNANSWERED_ALERT = "unanswered_alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """A timer that is to run. One that runs already under its name and Transaction goes on as it is.

    With a `lookup` the timer's steps look up, else they are written as TimerFired. `at_once`: where the timer is new,
    its first step is now, before the ladder's. `restarts`: it begins anew. `only_if_set`: it goes on, but is not begun.
    """

    timer: Timer
    lookup: InFlightCall | None = None
    at_once: bool = False
    restarts: bool = False
    only_if_set: bool = False


def awaited(event: PaymentEvent, *, times: ReconciliationTimes, capabilities: CapabilitiesOf) -> Iterator[Awaited]:
    """Everything that is to run after this event; what is not named has ended."""
    intent = event.payment_intent
    match intent.status:
        case PaymentIntentStatus.requires_payment_method:
            yield _abandonment(event, times)
        case PaymentIntentStatus.requires_action:
            yield from _challenge(event, times, capabilities)
        case PaymentIntentStatus.requires_capture:
            yield from _expiry(event)
    for transaction in intent.transactions:
        if is_open(transaction):
            yield from _doubt(event, transaction, times, capabilities)
        if transaction.type is TransactionType.authorization:
            yield from _hold_end(event, transaction, times, capabilities)


def _abandonment(event: PaymentEvent, times: ReconciliationTimes) -> Awaited:
    """Named after the latest attempt, so that a newer one makes it stale."""
    latest = last_authorization(event.payment_intent)
    due_at = later(event.at, seconds=times.abandonment_seconds)
    return Awaited(
        timer=Timer(
            name="abandonment",
            transaction_id=None if latest is None else latest.id,
            due_at=due_at,
            set_at=event.at,
        )
    )


def _challenge(event: PaymentEvent, times: ReconciliationTimes, capabilities: CapabilitiesOf) -> Iterator[Awaited]:
    """The time-out runs from the challenge's beginning; each return looks up at once, and then by the ladder."""
    for transaction in event.payment_intent.transactions:
        if transaction.status is not TransactionStatus.requires_action:
            continue
        yield _timer(event, transaction, "challenge_timeout", seconds=times.challenge_seconds)
        if not capabilities(transaction.processor).lookup or event.type == EventType.transaction_requires_action:
            continue
        returned = event.type == EventType.transaction_challenge_returned
        yield Awaited(
            timer=_first_step(event, transaction, times),
            lookup=_lookup(event, transaction),
            at_once=returned,
            restarts=returned,
            only_if_set=not returned,
        )


def _expiry(event: PaymentEvent) -> Iterator[Awaited]:
    authorization = last_authorization(event.payment_intent)
    if authorization is not None and authorization.capture_before is not None:
        yield Awaited(
            timer=Timer(
                name="authorization_expiry",
                transaction_id=authorization.id,
                due_at=authorization.capture_before,
                set_at=event.at,
            )
        )


def _doubt(
    event: PaymentEvent, transaction: Transaction, times: ReconciliationTimes, capabilities: CapabilitiesOf
) -> Iterator[Awaited]:
    """A Transaction in doubt climbs the ladder; a compensating void is watched from its opening.

    One that was created and of which nothing is heard is not in doubt: its call may be waiting still. But nobody would
    know of it where its processor is not configured or never well again.
    """
    pending = transaction.status is TransactionStatus.pending
    if pending:
        yield from _ladder(event, transaction, times, capabilities(transaction.processor))
    if pending or is_compensating(transaction):
        yield _timer(event, transaction, DOUBT_ALERT, seconds=times.doubt_alert_seconds)
    elif transaction.status is TransactionStatus.created:
        yield _timer(event, transaction, UNANSWERED_ALERT, seconds=times.doubt_alert_seconds)


def _ladder(
    event: PaymentEvent, transaction: Transaction, times: ReconciliationTimes, promised: Capabilities
) -> Iterator[Awaited]:
    first_step = _first_step(event, transaction, times)
    match transaction.type:
        case TransactionType.authorization:
            # Once its void is open, the void's end closes both: there is nothing more to ask.
            if resolving_void(event.payment_intent, transaction.id) is not None:
                return
            if promised.lookup:
                yield Awaited(timer=first_step, lookup=_lookup(event, transaction))
            else:
                yield Awaited(timer=first_step, at_once=True)
        case TransactionType.capture:
            if promised.lookup:
                yield Awaited(timer=first_step, lookup=_lookup(event, transaction))
            elif CallKind.capture in promised.deduplicates:
                yield Awaited(timer=first_step)
            # Else a step would repeat the capture: it waits for the settlement file, or for a person.
        case TransactionType.void:
            yield Awaited(timer=first_step)


def _hold_end(
    event: PaymentEvent, authorization: Transaction, times: ReconciliationTimes, capabilities: CapabilitiesOf
) -> Iterator[Awaited]:
    """Nothing is held any longer than the processors concerned ever hold: evidence, where they say how long that is.

    A compensating void was opened by an approval: the hold that it is to release had begun by then. One that opens
    later puts the end off, so the timer follows the state; it ends all that is open at once.
    """
    voids = [void for void in voids_of(event.payment_intent, authorization.id) if is_open(void)]
    if authorization.status is not TransactionStatus.pending and not voids:
        return
    holds = [capabilities(each.processor).longest_hold_seconds for each in (authorization, *voids)]
    known = [seconds for seconds in holds if seconds is not None]
    if len(known) < len(holds):
        return
    begun_by = max([authorization.created_at, *(void.created_at for void in voids if is_compensating(void))])
    due_at = later(begun_by, seconds=max(known) + times.hold_margin_seconds)
    timer = Timer(name="hold_ended", transaction_id=authorization.id, due_at=due_at, set_at=begun_by)
    yield Awaited(timer=timer, restarts=True)


def _timer(event: PaymentEvent, transaction: Transaction, name: str, *, seconds: float) -> Awaited:
    due_at = later(event.at, seconds=seconds)
    return Awaited(timer=Timer(name=name, transaction_id=transaction.id, due_at=due_at, set_at=event.at))


def _first_step(event: PaymentEvent, transaction: Transaction, times: ReconciliationTimes) -> Timer:
    due_at = times.step_at(0, since=event.at)
    return Timer(name=LADDER, transaction_id=transaction.id, due_at=due_at, set_at=event.at)


def _lookup(event: PaymentEvent, transaction: Transaction) -> InFlightCall:
    """The look-up of a Transaction, at rest; `call` is the kind that is looked up."""
    return InFlightCall(
        transaction_id=transaction.id,
        call=CALL_OF[transaction.type],
        processor=transaction.processor,
        in_flight=False,
        amount_minor=transaction.amount_minor,
        currency=transaction.currency,
        authorization_id=transaction.authorization_id,
        authorization_reference=transaction.processor_reference,
        sequence=event.sequence,
        processor_data=transaction.processor_data,
    )
