"""What a processor's result means for the Transaction that it is about: its name in the table, or why it says nothing.

The rule of evidence (DESIGN section 7) is kept here and in the three modules beside it: only `approved` and `declined`
decide; `not_sent` does for an authorization that was never called; `not_found` and `unknown` are counted and decide
nothing. Once a void of an open authorization is under way, nothing that is said of the authorization moves the payment:
it is noted, and the end of the void closes both. Reads the intent and the result; the interpreter drives it.
"""

from __future__ import annotations

from schemas.payment import PaymentIntent, TransactionType
from schemas.processing import CallKind, ProcessorResult
from schemas.times import Micros
from topology.domain.decision import Decision, refused
from topology.domain.findings import Finding
from topology.domain.intents import find
from topology.domain.refusals import DeadLetterCause, Refusal
from topology.domain.results_of_authorizations import foreign_result, read_authorization
from topology.domain.results_of_captures import read_capture
from topology.domain.results_of_voids import read_void

__all__ = ["CALL_OF", "read_result"]

CALL_OF = {
    TransactionType.authorization: CallKind.authorize,
    TransactionType.capture: CallKind.capture,
    TransactionType.void: CallKind.void,
}
"""Which call a Transaction stands for. A settlement stands for none."""


def read_result(intent: PaymentIntent, result: ProcessorResult, at: Micros) -> Finding | Decision:
    """Name a processor's result; `at` is when it counts as learnt."""
    transaction = find(intent, result.transaction_id)
    if transaction is None:
        return Decision(dead_letter=DeadLetterCause.unknown_transaction)
    if result.call not in (CallKind.lookup, CALL_OF.get(transaction.type)):
        return Decision(dead_letter=DeadLetterCause.wrong_call)
    if transaction.type is TransactionType.authorization:
        if result.processor != transaction.processor:
            return foreign_result(intent, transaction, result)
        return read_authorization(intent, transaction, result, at)
    if result.processor != transaction.processor:
        return refused(Refusal.other_processor)
    if transaction.type is TransactionType.capture:
        return read_capture(intent, transaction, result)
    return read_void(intent, transaction, result)
