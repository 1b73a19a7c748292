"""What was found in an input: its name in the transition table, and the Transaction concerned as it now is."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from schemas.payment import Transaction, TransactionStatus
from schemas.processing import CallKind, Outcome, ProcessorResult
from topology.domain.decision import Decision, refused
from topology.domain.refusals import Refusal
from topology.domain.transitions import On

__all__ = [
    "AMOUNT_NOT_APPROVED",
    "APPROVED_THEN_VOIDED",
    "IN_DOUBT",
    "NOT_SENT_FOR_GOOD",
    "Finding",
    "noted",
    "nothing_decided",
    "with_facts",
]

APPROVED_THEN_VOIDED = "approved_then_voided"
"""Code of an authorization whose approval came while its void was open: on record, and of no effect."""

AMOUNT_NOT_APPROVED = "amount_not_approved"
"""Code of an authorization that was approved over another amount or currency than asked for."""

IN_DOUBT = "outcome_unknown"
"""Code of an authorization that nobody could say anything about until its void was acknowledged."""

NOT_SENT_FOR_GOOD = frozenset({"expired_before_send", "payment_method_unusable"})
"""Codes of an authorization that was not sent and that no other processor is asked for."""


class Finding(Struct, frozen=True, kw_only=True):
    """An input with its name.

    `transaction` is the one concerned, with the facts that came with the input; the table gives it its status.
    `opening` is the Transaction that a command opens; what the fold opens itself it makes from the table. `processor`
    is where a compensating void has to go, if not to the processor of the authorization.
    """

    on: On
    transaction: Transaction | None = None
    opening: Transaction | None = None
    processor: str | None = None
    amount_received_minor: int | None = None


def with_facts(transaction: Transaction, result: ProcessorResult) -> Transaction:
    """The Transaction with the reference and the adapter's data that came with the result; itself if nothing is new."""
    reference = result.processor_reference or transaction.processor_reference
    data = transaction.processor_data
    if result.processor_data:
        data = {**data, **result.processor_data}
    if reference == transaction.processor_reference and data == transaction.processor_data:
        return transaction
    return replace(transaction, processor_reference=reference, processor_data=data)


def nothing_decided(transaction: Transaction, result: ProcessorResult, unknown: On) -> Finding | Decision:
    """What an open Transaction makes of an outcome that is no evidence: `unknown`, or `not_found` by a look-up.

    The answers of look-ups are counted. The first unknown outcome of the call itself makes the Transaction pending
    (under the name `unknown`); the same of a repeat says nothing new.
    """
    known = with_facts(transaction, result)
    if result.call is CallKind.lookup:
        if transaction.status is TransactionStatus.created:
            return refused(Refusal.not_in_doubt)
        not_found = result.outcome is Outcome.not_found
        counted = replace(
            known,
            lookups_not_found=known.lookups_not_found + not_found,
            lookups_unanswered=known.lookups_unanswered + (not not_found),
            challenge_returned=False,
        )
        return Finding(on=On.noted, transaction=counted)
    if result.outcome is Outcome.not_found:
        return refused(Refusal.unexpected_result)
    if transaction.status is TransactionStatus.created:
        return Finding(on=unknown, transaction=known)
    return noted(transaction, known)


def noted(before: Transaction, after: Transaction) -> Finding | Decision:
    """Put on record what is new, if anything is."""
    return refused(Refusal.nothing_new) if after == before else Finding(on=On.noted, transaction=after)
