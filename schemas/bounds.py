"""What an input of the fold, or a person's word, may say: its values, where decoding has checked the types.

`field_out_of_bounds` names the first field that no correct writer can have written, before it gets into an event that
every reader of the log, and PostgreSQL, would have to hold for good. Driven by `topology.payments` and, for what a
person says of a mismatch, by `topology.postgres`; pure.

Of a command all is refused that ingress refuses too: nothing has happened yet. A result is evidence of money that may
have moved, so it is refused only for what could not be kept. An amount or a currency that was not asked for is none of
that: the fold compares them with what was asked for, acts upon the difference, and keeps its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from schemas.commands import (
    Authorize,
    CancelPaymentIntent,
    CapturePayment,
    CreatePaymentIntent,
    PaymentCommand,
    ResolveTransaction,
    ReturnFromChallenge,
    VoidPayment,
)
from schemas.identifiers import is_command_id, is_merchant_id, is_payment_intent_id, is_transaction_id
from schemas.money import CURRENCIES
from schemas.payment import Card
from schemas.processing import ProcessorResult, TimerFired
from schemas.settlement import MismatchResolved

__all__ = [
    "AMOUNT_MINOR_MAX",
    "DESCRIPTION_LENGTH_MAX",
    "METADATA_KEY_LENGTH_MAX",
    "METADATA_PAIRS_MAX",
    "METADATA_VALUE_LENGTH_MAX",
    "ROUTE_LENGTH_MAX",
    "field_out_of_bounds",
]

AMOUNT_MINOR_MAX: Final = 999_999_999_999
DESCRIPTION_LENGTH_MAX: Final = 1_000
METADATA_PAIRS_MAX: Final = 50
METADATA_KEY_LENGTH_MAX: Final = 40
METADATA_VALUE_LENGTH_MAX: Final = 500

# A clock that was never set says 1970, one that counts in another unit something far from here. Of a result or a timer
# a clock that is behind does no harm, for time never runs backwards in a payment; one far ahead would stay for good.
_FIRST_COMMAND: Final = 1_577_836_800_000_000  # 2020-01-01
_LAST: Final = 4_102_444_800_000_000  # 2100-01-01
# The years 1 to 9999: a processor that holds for ever may say so.
_CALENDAR_BEGINS: Final = -62_135_596_800_000_000
_CALENDAR_ENDS: Final = 253_402_300_799_999_999

_NAME_LENGTH_MAX: Final = 255
_TEXT_LENGTH_MAX: Final = 2_048
_FINGERPRINT_BYTES_MAX: Final = 64
ROUTE_LENGTH_MAX: Final = 20
_DATA_PAIRS_MAX: Final = 50
_LAST4 = re.compile(r"[0-9]{4}", re.ASCII)


def field_out_of_bounds(given: PaymentCommand | ProcessorResult | TimerFired | MismatchResolved) -> str | None:
    """The name of a field whose value makes no sense, never the value; None where all do."""
    return next(_CHECKS[type(given)](given), None)


def _command(command: PaymentCommand) -> Iterator[str]:
    if not is_command_id(command.id):
        yield "id"
    if not is_payment_intent_id(command.payment_intent_id):
        yield "payment_intent_id"
    if not is_merchant_id(command.merchant_id):
        yield "merchant_id"
    if not _FIRST_COMMAND <= command.at < _LAST:
        yield "at"
    if not _is_name(command.actor.id):
        yield "actor.id"
    if command.reply_partition is not None and command.reply_partition < 0:
        yield "reply_partition"
    body = command.body
    for field in _CHECKS[type(body)](body):
        yield f"body.{field}"


def _create(body: CreatePaymentIntent) -> Iterator[str]:
    if not 1 <= body.amount_minor <= AMOUNT_MINOR_MAX:
        yield "amount_minor"
    if body.currency not in CURRENCIES:
        yield "currency"
    if body.description is not None and not _is_text(body.description, DESCRIPTION_LENGTH_MAX):
        yield "description"
    if len(body.metadata) > METADATA_PAIRS_MAX or not all(
        key and _is_text(key, METADATA_KEY_LENGTH_MAX) and _is_text(value, METADATA_VALUE_LENGTH_MAX)
        for key, value in body.metadata.items()
    ):
        yield "metadata"
    # The epoch is where a read model stands that has seen nothing yet.
    if not 0 <= body.absent_at < _LAST:
        yield "absent_at"
    if len(body.fingerprint) > _FINGERPRINT_BYTES_MAX:
        yield "fingerprint"


def _authorize(body: Authorize) -> Iterator[str]:
    yield from _opening(body)
    if not _is_name(body.payment_method):
        yield "payment_method"
    if body.card is not None and not _is_card(body.card):
        yield "card"
    # Of no route, or of a processor that nobody has, the fold and processing know what to say.
    if len(body.route) > ROUTE_LENGTH_MAX or not all(map(_is_name, body.route)):
        yield "route"


def _capture(body: CapturePayment) -> Iterator[str]:
    yield from _opening(body)
    if body.amount_minor is not None and not 1 <= body.amount_minor <= AMOUNT_MINOR_MAX:
        yield "amount_minor"


def _opening(body: Authorize | CapturePayment | VoidPayment | CancelPaymentIntent) -> Iterator[str]:
    if not is_transaction_id(body.transaction_id):
        yield "transaction_id"
    if len(body.fingerprint) > _FINGERPRINT_BYTES_MAX:
        yield "fingerprint"


def _return(body: ReturnFromChallenge) -> Iterator[str]:
    if body.transaction_id is not None and not is_transaction_id(body.transaction_id):
        yield "transaction_id"


def _resolve(body: ResolveTransaction) -> Iterator[str]:
    if not is_transaction_id(body.transaction_id):
        yield "transaction_id"
    if not _is_text(body.evidence, _TEXT_LENGTH_MAX):
        yield "evidence"


def _result(result: ProcessorResult) -> Iterator[str]:
    """Not its ids, for what they name is known or not; nor a NUL, which the read model can hold."""
    if not 0 <= result.at < _LAST:
        yield "at"
    if result.capture_before is not None and not _CALENDAR_BEGINS <= result.capture_before <= _CALENDAR_ENDS:
        yield "capture_before"
    for field in _RESULT_TEXTS:
        text = getattr(result, field)
        if text is not None and len(text) > _TEXT_LENGTH_MAX:
            yield field
    if result.processor_data and not _is_data(result.processor_data):
        yield "processor_data"


def _timer(timer: TimerFired) -> Iterator[str]:
    """Nothing else of a timer gets into an event."""
    if not 0 <= timer.at < _LAST:
        yield "at"


def _resolved(resolved: MismatchResolved) -> Iterator[str]:
    """Not what it repeats of the settlement, whose id says which one is meant."""
    if not is_transaction_id(resolved.settlement_id):
        yield "settlement_id"
    if not _FIRST_COMMAND <= resolved.at < _LAST:
        yield "at"
    if not _is_name(resolved.actor_id):
        yield "actor_id"
    if not _is_text(resolved.evidence, _TEXT_LENGTH_MAX):
        yield "evidence"


_RESULT_TEXTS: Final = (
    "processor",
    "code",
    "decline_code",
    "processor_reference",
    "challenge_url",
    "actor_id",
    "evidence",
)

_CHECKS: Final[Mapping[type[Any], Callable[[Any], Iterator[str]]]] = {
    PaymentCommand: _command,
    ProcessorResult: _result,
    TimerFired: _timer,
    MismatchResolved: _resolved,
    CreatePaymentIntent: _create,
    Authorize: _authorize,
    CapturePayment: _capture,
    VoidPayment: _opening,
    CancelPaymentIntent: _opening,
    ReturnFromChallenge: _return,
    ResolveTransaction: _resolve,
}


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= _NAME_LENGTH_MAX and "\0" not in text


def _is_text(text: str, length_max: int) -> bool:
    return len(text) <= length_max and "\0" not in text


def _is_card(card: Card) -> bool:
    return (
        _is_name(card.brand)
        and _LAST4.fullmatch(card.last4) is not None
        and 1 <= card.exp_month <= 12
        and 2000 <= card.exp_year < 2200
    )


def _is_data(data: Mapping[str, str]) -> bool:
    return len(data) <= _DATA_PAIRS_MAX and all(
        len(name) <= _NAME_LENGTH_MAX and len(value) <= _TEXT_LENGTH_MAX for name, value in data.items()
    )
