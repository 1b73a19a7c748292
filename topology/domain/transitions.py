"""The payment's transition table: from which status, on what, to which status, and what it does with the Transaction.

Theory. A PaymentIntent stands in one status, and while it is `processing` or `requires_action` exactly one Transaction
decides where it goes next: the open void, else the open capture, else the open authorization. Whatever comes in is
first named (`On`) by looking at that Transaction and at its own contents: `commands`, `results` and `timers` do that
and nothing else. Then (status, on) is looked up here: a `Row` says what happens, or REFUSED says by which name nothing
does. Every pair is in exactly one of the two (tested), and the diagram in the documentation is drawn from the rows.

A row writes at most one event about the Transaction concerned (`event`, with which it `becomes` another status), may
add one about its authorization (`then`), and then may open another Transaction (`opens`, for a `reason`). The end of
a void that resolves an open authorization closes that one too, one event before. Rows that hold ANYWHERE never move
the status: a compensating void (reason late_approval) and what is said of closed Transactions do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from schemas.payment import PaymentIntentStatus, TransactionStatus, TransactionType, VoidReason
from topology.domain.event_types import EventType
from topology.domain.refusals import Refusal

__all__ = [
    "ANYWHERE",
    "AUTHORIZATION_AFTER_VOID",
    "CANCELLATION_AFTER_VOID",
    "REFUSED",
    "ROWS",
    "TABLE",
    "TRANSACTION_MOVES",
    "On",
    "Row",
]


class On(StrEnum):
    """What comes in, named so that the status and this name decide."""

    # Commands
    create = "create"
    attempt = "attempt"
    capture = "capture"
    void = "void"
    cancel = "cancel"
    challenge_return = "return from the challenge"

    # Timers
    abandoned = "24 h without an attempt"
    challenge_timed_out = "15 min of the challenge passed"
    authorization_expired = "capture_before passed"
    doubt_step = "doubt, and the processor has no look-up"
    repeat_step = "a step of the ladder, capture or void pending"
    hold_ended = "end of the longest hold, authorization in doubt"

    # Results of an authorization
    challenge_needed = "challenge needed"
    authorized_manual = "authorized, manual capture"
    authorized_automatic = "authorized, automatic capture"
    amount_not_approved = "authorized over another amount"
    authorization_declined = "authorization declined"
    not_sent_rerouted = "authorization not sent, route goes on"
    not_sent_for_good = "authorization not sent, for good"
    not_found_twice = "authorization not found twice"
    outcome_unknown = "unknown outcome"

    # Results of a capture
    captured = "captured"
    capture_failed_manual = "capture failed, authorization stands, manual"
    capture_failed_automatic = "capture failed, authorization stands, automatic"
    capture_lost_manual = "capture failed, authorization gone, manual"
    capture_lost_automatic = "capture failed, authorization gone, automatic"
    capture_found_captured = "capture failed, found captured"

    # Results of a void; "for good" after a cancel, a void or an expiry, "by us" otherwise
    voided_for_good = "voided, as asked for or expired"
    voided_by_us = "voided by us"
    void_failed = "void failed, authorization stands"
    void_failed_expired = "void failed, authorization stands, after an expiry"
    void_failed_amount = "void failed, authorization stands over another amount"
    void_lost_for_good = "void failed, authorization gone, as asked for or expired"
    void_lost_by_us = "void failed, authorization gone, voided by us"
    void_found_captured = "void failed, found captured"
    void_lapsed_for_good = "end of the longest hold, void as asked for or expired"
    void_lapsed_by_us = "end of the longest hold, void by us"

    # Anywhere
    noted = "something to note"
    contradicted = "a closed Transaction is contradicted"
    late_approval = "an approval after the authorization was closed"
    compensated = "compensating void acknowledged"
    compensation_lost = "compensating void failed, authorization gone"
    compensation_found_captured = "compensating void failed, found captured"
    compensation_unknown = "compensating void without an outcome"
    compensation_repeat_step = "a step of the ladder, compensating void pending"
    compensation_lapsed = "end of the longest hold, compensating void"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `source` None: there is no PaymentIntent yet, or (ANYWHERE) it is in any status."""

    source: PaymentIntentStatus | None
    on: On
    target: PaymentIntentStatus | None
    event: EventType | None = None
    becomes: TransactionStatus | None = None
    opens: TransactionType | None = None
    reason: VoidReason | None = None
    then: EventType | None = None
    cancellation: str | None = None


_rpm, _processing, _action, _capture, _succeeded, _canceled = (
    PaymentIntentStatus.requires_payment_method,
    PaymentIntentStatus.processing,
    PaymentIntentStatus.requires_action,
    PaymentIntentStatus.requires_capture,
    PaymentIntentStatus.succeeded,
    PaymentIntentStatus.canceled,
)
_E, _S, _T, _V = EventType, TransactionStatus, TransactionType, VoidReason


def _row(
    source: PaymentIntentStatus | None,
    on: On,
    target: PaymentIntentStatus | None,
    event: EventType | None = None,
    becomes: TransactionStatus | None = None,
    opens: TransactionType | VoidReason | None = None,
    then: EventType | None = None,
    cancellation: str | None = None,
) -> Row:
    """A row; to open a void is written as its reason."""
    reason = opens if isinstance(opens, VoidReason) else None
    opened = TransactionType.void if isinstance(opens, VoidReason) else opens
    return Row(
        source=source, on=on, target=target, event=event, becomes=becomes, opens=opened, reason=reason, then=then,
        cancellation=cancellation,
    )  # fmt: skip


# fmt: off
ROWS: tuple[Row, ...] = (
    _row(None,        On.create,                   _rpm,        _E.payment_intent_created),
    _row(_rpm,        On.attempt,                  _processing, opens=_T.authorization),
    _row(_rpm,        On.cancel,                   _canceled,   _E.payment_intent_canceled, cancellation="requested"),
    _row(_rpm,        On.abandoned,                _canceled,   _E.payment_intent_canceled, cancellation="abandoned"),
    _row(_canceled,   On.cancel,                   _canceled),

    _row(_processing, On.challenge_needed,         _action,     _E.transaction_requires_action, _S.requires_action),
    _row(_action,     On.challenge_return,         _action,     _E.transaction_challenge_returned),
    _row(_action,     On.cancel,                   _processing, opens=_V.cancel),
    _row(_action,     On.challenge_timed_out,      _processing, opens=_V.challenge_timeout),

    _row(_processing, On.authorized_manual,        _capture,    _E.transaction_completed, _S.succeeded),
    _row(_action,     On.authorized_manual,        _capture,    _E.transaction_completed, _S.succeeded),
    _row(_processing, On.authorized_automatic,     _processing, _E.transaction_completed, _S.succeeded, _T.capture),
    _row(_action,     On.authorized_automatic,     _processing, _E.transaction_completed, _S.succeeded, _T.capture),
    _row(_processing, On.amount_not_approved,      _processing, _E.transaction_completed, _S.declined,
         _V.amount_not_approved),
    _row(_action,     On.amount_not_approved,      _processing, _E.transaction_completed, _S.declined,
         _V.amount_not_approved),
    _row(_processing, On.authorization_declined,   _rpm,        _E.transaction_completed, _S.declined),
    _row(_action,     On.authorization_declined,   _rpm,        _E.transaction_completed, _S.declined),
    _row(_processing, On.not_sent_rerouted,        _processing, _E.transaction_rerouted, _S.created),
    _row(_processing, On.not_sent_for_good,        _rpm,        _E.transaction_completed, _S.failed),
    _row(_processing, On.outcome_unknown,          _processing, _E.transaction_pending, _S.pending),
    _row(_processing, On.not_found_twice,          _processing, _E.transaction_noted, opens=_V.doubt),
    _row(_processing, On.doubt_step,               _processing, opens=_V.doubt),
    _row(_processing, On.hold_ended,               _rpm,        _E.transaction_completed, _S.expired),

    _row(_capture,    On.capture,                  _processing, opens=_T.capture),
    _row(_capture,    On.void,                     _processing, opens=_V.requested),
    _row(_capture,    On.cancel,                   _processing, opens=_V.cancel),
    _row(_capture,    On.authorization_expired,    _processing, opens=_V.expiry),
    _row(_processing, On.repeat_step,              _processing, _E.transaction_repeated),

    _row(_processing, On.captured,                 _succeeded,  _E.transaction_completed, _S.succeeded),
    _row(_processing, On.capture_failed_manual,    _capture,    _E.transaction_completed, _S.failed),
    _row(_processing, On.capture_failed_automatic, _processing, _E.transaction_completed, _S.failed,
         _V.capture_failed),
    _row(_processing, On.capture_lost_manual,      _canceled,   _E.transaction_completed, _S.failed,
         cancellation="authorization_gone"),
    _row(_processing, On.capture_lost_automatic,   _rpm,        _E.transaction_completed, _S.failed),
    _row(_processing, On.capture_found_captured,   _succeeded,  _E.transaction_completed, _S.failed),

    _row(_processing, On.voided_for_good,          _canceled,   _E.transaction_completed, _S.succeeded),
    _row(_processing, On.voided_by_us,             _rpm,        _E.transaction_completed, _S.succeeded),
    _row(_processing, On.void_failed,              _capture,    _E.transaction_completed, _S.failed),
    _row(_processing, On.void_failed_expired,      _canceled,   _E.transaction_completed, _S.failed,
         _V.late_approval),
    _row(_processing, On.void_failed_amount,       _rpm,        _E.transaction_completed, _S.failed,
         _V.late_approval),
    _row(_processing, On.void_lost_for_good,       _canceled,   _E.transaction_completed, _S.failed),
    _row(_processing, On.void_lost_by_us,          _rpm,        _E.transaction_completed, _S.failed),
    _row(_processing, On.void_found_captured,      _succeeded,  _E.transaction_completed, _S.failed),
    _row(_processing, On.void_lapsed_for_good,     _canceled,   _E.transaction_completed, _S.expired),
    _row(_processing, On.void_lapsed_by_us,        _rpm,        _E.transaction_completed, _S.expired),
)

ANYWHERE: tuple[Row, ...] = (
    _row(None, On.noted,                       None, _E.transaction_noted),
    _row(None, On.contradicted,                None, _E.transaction_contradicted),
    _row(None, On.late_approval,               None, _E.transaction_contradicted, opens=_V.late_approval),
    _row(None, On.compensated,                 None, _E.transaction_completed, _S.succeeded),
    _row(None, On.compensation_lost,           None, _E.transaction_completed, _S.failed),
    _row(None, On.compensation_found_captured, None, _E.transaction_completed, _S.failed,
         then=_E.transaction_contradicted),
    _row(None, On.compensation_unknown,        None, _E.transaction_pending, _S.pending),
    _row(None, On.compensation_repeat_step,    None, _E.transaction_repeated),
    _row(None, On.compensation_lapsed,         None, _E.transaction_completed, _S.expired),
)
# fmt: on

AUTHORIZATION_AFTER_VOID: Mapping[VoidReason, TransactionStatus] = {
    VoidReason.cancel: TransactionStatus.canceled,
    VoidReason.challenge_timeout: TransactionStatus.expired,
    VoidReason.doubt: TransactionStatus.failed,
}
"""How an authorization that was still open is closed by the acknowledgement of its void."""

CANCELLATION_AFTER_VOID: Mapping[VoidReason, str] = {
    VoidReason.requested: "void",
    VoidReason.cancel: "requested",
    VoidReason.expiry: "expired",
}
"""Why the PaymentIntent is canceled after a void for one of these reasons; after any other it goes on."""

_OPEN_MOVES = frozenset(TransactionStatus) - {TransactionStatus.created}
TRANSACTION_MOVES: Mapping[TransactionStatus, frozenset[TransactionStatus]] = {
    TransactionStatus.created: _OPEN_MOVES,
    TransactionStatus.pending: _OPEN_MOVES - {TransactionStatus.pending},
    TransactionStatus.requires_action: _OPEN_MOVES - {TransactionStatus.pending, TransactionStatus.requires_action},
    **{
        final: frozenset()
        for final in (_S.succeeded, _S.declined, _S.failed, _S.canceled, _S.expired)
    },
}  # fmt: skip
"""Which status a Transaction may take next; the final ones take none."""


def _table() -> Iterator[tuple[tuple[PaymentIntentStatus | None, On], Row]]:
    for row in ROWS:
        yield (row.source, row.on), row
    for row in ANYWHERE:
        for status in PaymentIntentStatus:
            yield (status, row.on), replace(row, source=status, target=status)


TABLE: Mapping[tuple[PaymentIntentStatus | None, On], Row] = dict(_table())


_TIMERS = (
    On.abandoned, On.challenge_timed_out, On.authorization_expired, On.doubt_step, On.repeat_step, On.hold_ended,
    On.void_lapsed_for_good, On.void_lapsed_by_us,
)  # fmt: skip
_CHALLENGE_RUNS_ON = (
    On.challenge_needed, On.outcome_unknown, On.not_sent_rerouted, On.not_sent_for_good, On.not_found_twice,
)  # fmt: skip


def _refusal(status: PaymentIntentStatus | None, on: On) -> Refusal:
    """The name under which a pair that is not in the table changes nothing."""
    if status is None:
        return Refusal.unknown_payment_intent
    if on is On.create:
        return Refusal.idempotency_mismatch
    if on is On.challenge_return:
        return Refusal.no_open_challenge
    if on in (On.attempt, On.capture, On.void, On.cancel):
        return {
            _rpm: Refusal.not_capturable if on is On.capture else Refusal.nothing_to_void,
            _processing: Refusal.transaction_in_doubt,
            _action: Refusal.transaction_in_doubt,
            _capture: Refusal.already_authorized,
            _succeeded: Refusal.already_succeeded,
            _canceled: Refusal.already_canceled,
        }[status]
    if on in _TIMERS:
        return Refusal.timer_is_stale
    if status is _action and on in _CHALLENGE_RUNS_ON:
        return Refusal.challenge_open
    return Refusal.not_awaited


REFUSED: Mapping[tuple[PaymentIntentStatus | None, On], Refusal] = {
    (status, on): _refusal(status, on)
    for status in (None, *PaymentIntentStatus)
    for on in On
    if (status, on) not in TABLE
}
