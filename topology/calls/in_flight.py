"""The pure rules of a processor call's entry: which event asks for a call, what a call may still do, its result.

No I/O and no clock: time is an argument. `entries` applies them to the calls of one PaymentIntent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from schemas.identifiers import PaymentIntentId
from schemas.payment import PaymentEvent, Transaction
from schemas.processing import CallKind, InFlightCall, Outcome, ProcessorResult, ResultSource
from schemas.times import Micros, later
from topology.domain import CALL_OF, EventType
from topology.domain.intents import authorization_of
from topology.processors.port import OF_AUTHORIZATION, Answer, Capabilities

__all__ = ["call_asked_for", "is_expired", "is_patient", "may_have_been_called", "may_repeat", "result_of"]

_ASKING: Final[Mapping[str, tuple[CallKind, ...]]] = {
    EventType.transaction_created: (CallKind.authorize, CallKind.capture, CallKind.void),
    EventType.transaction_rerouted: (CallKind.authorize,),
    EventType.transaction_repeated: (CallKind.capture, CallKind.void),
}


def call_asked_for(event: PaymentEvent) -> InFlightCall | None:
    """The entry of the call that this event asks for, *waiting*; None where it asks for nothing."""
    transaction = event.transaction
    if transaction is None or CALL_OF.get(transaction.type) not in _ASKING.get(event.type, ()):
        return None
    repeat = event.type == EventType.transaction_repeated
    authorization = _authorization_at_the_same_processor(event, transaction)
    return InFlightCall(
        transaction_id=transaction.id,
        call=CALL_OF[transaction.type],
        processor=transaction.processor,
        in_flight=False,
        repeat=repeat,
        amount_minor=transaction.amount_minor,
        currency=transaction.currency,
        authorization_id=transaction.authorization_id,
        authorization_reference=None if authorization is None else authorization.processor_reference,
        payment_method=transaction.payment_method,
        sequence=event.sequence,
        command_at=transaction.command_at,
        # Earlier than the first call can have been, so that the processor's promise is never stretched.
        first_sent_at=transaction.created_at if repeat else None,
        processor_data=_data_of(transaction, authorization),
    )


def _authorization_at_the_same_processor(event: PaymentEvent, transaction: Transaction) -> Transaction | None:
    """A void may go to a processor that was failed over from: what the authorization's own one said is not for it."""
    if transaction.authorization_id is None:
        return None
    authorization = authorization_of(event.payment_intent, transaction)
    return authorization if authorization.processor == transaction.processor else None


def _data_of(transaction: Transaction, authorization: Transaction | None) -> Mapping[str, str]:
    if authorization is None or not authorization.processor_data:
        return transaction.processor_data
    its = {OF_AUTHORIZATION + name: value for name, value in authorization.processor_data.items()}
    return {**its, **transaction.processor_data}


def may_have_been_called(call: InFlightCall) -> bool:
    """Whether the processor may know of this call: then it can be unknown, and never not sent."""
    return call.repeat or call.restored


def is_patient(call: InFlightCall) -> bool:
    """Whether it waits for as long as it takes: a capture or a void that was never sent."""
    return call.call is not CallKind.authorize and not may_have_been_called(call)


def is_expired(call: InFlightCall, *, now: Micros, age_seconds_max: float) -> bool:
    """Whether the customer has gone: an authorization whose command is too old to be sent."""
    if call.call is not CallKind.authorize or call.command_at is None:
        return False
    return later(call.command_at, seconds=age_seconds_max) < now


def may_repeat(call: InFlightCall, capabilities: Capabilities, *, now: Micros) -> bool:
    """Whether a call that may have been executed can be made again under its key, and still be executed once."""
    if call.call is CallKind.void and call.repeat:
        # Releasing what is released already changes nothing, whether the processor remembers the key or not.
        return True
    if call.call not in capabilities.deduplicates or call.first_sent_at is None:
        return False
    return now < later(call.first_sent_at, seconds=capabilities.deduplication_seconds)


def result_of(payment_intent_id: PaymentIntentId, call: InFlightCall, answer: Answer, *, at: Micros) -> ProcessorResult:
    """The record of what came of a call. A call that may have been executed is never not sent, but unknown."""
    not_sent = answer.outcome is Outcome.not_sent
    own_data = {name: value for name, value in call.processor_data.items() if not name.startswith(OF_AUTHORIZATION)}
    told = replace(
        answer,
        outcome=Outcome.unknown if not_sent and may_have_been_called(call) else answer.outcome,
        processor_data={**own_data, **answer.processor_data},
    )
    return told.result(payment_intent_id, call, kind=call.call, source=ResultSource.answer, at=at)
