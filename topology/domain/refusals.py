"""The names of the reasons for which an input changes nothing. A refusal is a value, and it makes no event."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["DeadLetterCause", "Refusal"]


class Refusal(StrEnum):
    """Why an input changed nothing: of commands it is the reply, of results and timers it is counted by name."""

    # Who is asked for.
    unknown_payment_intent = "unknown_payment_intent"
    unknown_transaction = "unknown_transaction"
    read_model_behind = "read_model_behind"
    idempotency_mismatch = "idempotency_mismatch"

    # The payment stands elsewhere.
    transaction_in_doubt = "transaction_in_doubt"
    already_authorized = "already_authorized"
    already_succeeded = "already_succeeded"
    already_canceled = "already_canceled"
    not_capturable = "not_capturable"
    nothing_to_void = "nothing_to_void"
    no_open_challenge = "no_open_challenge"

    # What is asked cannot be done.
    amount_not_positive = "amount_not_positive"
    amount_exceeds_capturable = "amount_exceeds_capturable"
    no_route = "no_route"
    merchant_disabled = "merchant_disabled"
    too_many_transactions = "too_many_transactions"

    # A person's word.
    not_in_doubt = "not_in_doubt"
    outcome_is_no_evidence = "outcome_is_no_evidence"

    # Timers.
    timer_is_stale = "timer_is_stale"
    unknown_timer = "unknown_timer"

    # Results.
    nothing_new = "nothing_new"
    challenge_open = "challenge_open"
    other_processor = "other_processor"
    unexpected_result = "unexpected_result"
    not_awaited = "not_awaited"


class DeadLetterCause(StrEnum):
    """Why a result cannot belong to any payment that is known here; somebody has to look at it."""

    unknown_payment_intent = "unknown_payment_intent"
    unknown_transaction = "unknown_transaction"
    wrong_call = "wrong_call"
