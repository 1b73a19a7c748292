"""A person's word about a Transaction in doubt: the command that it becomes, what it will do, what a refusal means.
And a person's word about a mismatch, which changes no payment: the record that it becomes.

Pure. The command's id follows from what is said, so that the same word twice is one. What it will do is what the fold
itself would decide on the payment as the read model has it. Driven by `paystream.doubts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ingress.card_numbers import has_card_number
from schemas.bounds import field_out_of_bounds
from schemas.commands import PaymentCommand, ResolveTransaction
from schemas.identifiers import TransactionId, command_id, fingerprint
from schemas.payment import Actor, ActorType, PaymentIntent, TransactionType
from schemas.processing import AuthorizationState, Outcome
from schemas.settlement import MismatchResolved
from schemas.times import Micros
from sinks.postgres.mismatches import Mismatch
from topology.domain import decide

__all__ = ["NOT_IN_DOUBT", "Unusable", "Word", "command_of", "explain", "preview", "resolution_of"]

NOT_IN_DOUBT = "not_in_doubt"

_EXPLANATIONS = {
    "unknown_payment_intent": "The log knows no such PaymentIntent; it may have ended and been forgotten.",
    "unknown_transaction": "The PaymentIntent has no such Transaction.",
    NOT_IN_DOUBT: "The Transaction has an outcome, or its call has not been made yet: only doubt is resolved.",
    "outcome_is_no_evidence": "Only approved and declined are outcomes.",
    "nothing_new": "It says nothing that is not on record already.",
    "unexpected_result": "A Transaction of this type cannot end so.",
}


class Unusable(ValueError):
    """What was said cannot be sent. The message never repeats it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a person says became of a Transaction, and why."""

    transaction_id: TransactionId
    outcome: Outcome
    authorization_state: AuthorizationState | None
    evidence: str
    operator: str


def command_of(word: Word, intent: PaymentIntent, *, at: Micros, reply_partition: int | None = None) -> PaymentCommand:
    """The command, addressed to the payment that the Transaction belongs to; raises Unusable."""
    _check_texts(word.evidence, word.operator)
    _check_state(word, intent)
    said = fingerprint("resolve", word.outcome, word.authorization_state or "", word.evidence, word.operator)
    command = PaymentCommand(
        id=command_id(
            payment_intent_id=intent.id, kind="resolve", idempotency_key=word.transaction_id, fingerprint=said
        ),
        payment_intent_id=intent.id,
        merchant_id=intent.merchant_id,
        livemode=intent.livemode,
        at=at,
        actor=Actor(type=ActorType.operator, id=word.operator),
        reply_partition=reply_partition,
        body=ResolveTransaction(
            transaction_id=word.transaction_id,
            outcome=word.outcome,
            authorization_state=word.authorization_state,
            evidence=word.evidence,
        ),
    )
    field = field_out_of_bounds(command)
    if field is not None:
        raise _out_of_bounds(field.removeprefix("body.").removesuffix(".id"))
    return command


def resolution_of(mismatch: Mismatch, *, evidence: str, operator: str, at: Micros) -> MismatchResolved:
    """What goes on record of a mismatch that a person explains; raises Unusable."""
    _check_texts(evidence, operator)
    resolved = MismatchResolved(
        settlement_id=mismatch.id,
        payment_intent_id=mismatch.payment_intent_id,
        reference=mismatch.reference,
        processor=mismatch.processor,
        outcome=mismatch.outcome,
        evidence=evidence,
        actor_id=operator,
        at=at,
    )
    field = field_out_of_bounds(resolved)
    if field is not None:
        raise _out_of_bounds("operator" if field == "actor_id" else field)
    return resolved


def _check_texts(evidence: str, operator: str) -> None:
    for name, text in (("evidence", evidence), ("operator", operator)):
        if not text.strip():
            raise Unusable(f"the {name} is empty: who says so, and why, goes on record")
        if has_card_number(text):
            raise Unusable(f"the {name} holds a card number, which may not go on record")


def _out_of_bounds(name: str) -> Unusable:
    return Unusable(f"{name} is longer than can be kept, or holds a NUL")


def _check_state(word: Word, intent: PaymentIntent) -> None:
    """The authorization's state is only asked about where a capture or a void was refused."""
    if word.authorization_state is None:
        return
    kind = next((one.type for one in intent.transactions if one.id == word.transaction_id), None)
    if word.outcome is not Outcome.declined or kind is TransactionType.authorization:
        raise Unusable(
            "the authorization's state is told of a capture or a void that was declined, and of nothing else"
        )


def preview(intent: PaymentIntent, command: PaymentCommand) -> Iterator[str]:
    """What the fold would do with the command, sentence by sentence."""
    decision = decide(intent, command)
    if decision.refusal is not None:
        yield f"It would be refused ({decision.refusal}): {explain(decision.refusal)}"
    for event in decision.events:
        told = event.transaction
        if told is not None:
            code = "" if told.code is None else f" ({told.code})"
            yield f"{event.type}: {told.type} {told.id} becomes {told.status}{code}"
    if decision.events:
        after = decision.events[-1].payment_intent
        moved = "stays" if after.status is intent.status else f"goes from {intent.status} to"
        yield f"the payment {moved} {after.status}"


def explain(refusal: str) -> str:
    """A sentence about a refusal's name."""
    return _EXPLANATIONS.get(refusal, "The payment does not allow this as it stands.")
