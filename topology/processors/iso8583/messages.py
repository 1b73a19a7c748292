"""What a call becomes on the wire: an in-flight entry in, the message out. Pure.

An entry carries the call's own numbers, and those of its authorization under names that begin with `authorization.`
(`topology.calls.in_flight`). A call that may have been made before goes out under the repeat type, all else unchanged:
the times in it are DE 7 in other words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas.identifiers import PaymentIntentId
from schemas.processing import CallKind, InFlightCall
from topology.processors.iso8583.currencies import NUMERIC
from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.numbers import Trace, trace_in, trace_of
from topology.processors.iso8583.spec import ADVICE, AUTHORIZATION, NETWORK_MANAGEMENT, repeating
from topology.processors.port import OF_AUTHORIZATION, Cause, Lease

__all__ = [
    "Acquirer",
    "NotRepresentable",
    "ReversalFamily",
    "may_have_been_made",
    "network_message",
    "original_data_elements",
    "prepared",
    "replacement_amounts",
    "request_of",
]

AMOUNT_MINOR_MAX: Final = 999_999_999_999

ReversalFamily = Literal["0400", "0420"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquirer:
    """Who we are to the host: DE 32, 41 and 42, and whether it takes reversals as 0400 or 0420.

    Part of what a call is known by, so it must stay the same for as long as transactions are open.
    """

    id: str
    terminal_id: str
    merchant_id: str
    reversal_family: ReversalFamily = "0400"

    def __post_init__(self) -> None:
        if not (self.id.isdecimal() and self.id.isascii() and 1 <= len(self.id) <= 11):
            raise ValueError("the acquirer id is 1 to 11 digits")
        if not (len(self.terminal_id) == 8 and self.terminal_id.isascii() and self.terminal_id.isprintable()):
            raise ValueError("the terminal id is 8 printable characters")
        if not (1 <= len(self.merchant_id) <= 15 and self.merchant_id.isascii() and self.merchant_id.isprintable()):
            raise ValueError("the merchant id is 1 to 15 printable characters")


class NotRepresentable(Exception):
    """A call that no message can be made of. Nothing of it was sent."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


def may_have_been_made(asked: InFlightCall) -> bool:
    """Whether the host may know of this call already."""
    return asked.repeat or asked.restored


def prepared(asked: InFlightCall, lease: Lease) -> Mapping[str, str]:
    """What has to be on record of a call before it leaves: its numbers, and the amount that a reversal begins from.

    None are made up for a call that may have been made before: under others the host would not know it again.
    """
    if trace_in(asked.processor_data) is not None or may_have_been_made(asked):
        return {}
    numbers = trace_of(lease).as_data()
    return {**numbers, "de4": str(asked.amount_minor)} if asked.call is CallKind.authorize else numbers


def request_of(
    asked: InFlightCall,
    *,
    payment_intent_id: PaymentIntentId,
    acquirer: Acquirer,
    approval_code: str | None = None,
) -> Message:
    """The message of a call; raises NotRepresentable.

    `approval_code` is the authorization's DE 38 where it is known from elsewhere than the entry.
    """
    trace = trace_in(asked.processor_data)
    if trace is None:
        raise NotRepresentable(Cause.numbers_missing)
    fields = _common(asked, trace, acquirer) | {62: asked.transaction_id, 63: payment_intent_id}
    match asked.call:
        case CallKind.authorize:
            # The host does not know a second one for the same: there is no repeat type, and must be no repeat.
            if may_have_been_made(asked):
                raise NotRepresentable(Cause.restarted)
            fields |= {22: "810", 25: "59"}
            if asked.payment_method is not None:
                fields[48] = asked.payment_method
            return Message(AUTHORIZATION, fields)
        case CallKind.capture:
            return _follow_up(ADVICE, asked, fields, acquirer, approval_code)
        case CallKind.void:
            return _follow_up(acquirer.reversal_family, asked, _reversed(asked, fields), acquirer, approval_code)
        case _:
            raise AssertionError(f"{asked.call} is no message of this host")


def _common(asked: InFlightCall, trace: Trace, acquirer: Acquirer) -> dict[int, str]:
    currency = NUMERIC.get(asked.currency)
    if currency is None:
        raise NotRepresentable(Cause.currency_not_representable)
    return {
        3: "000000",
        4: _amount(asked.amount_minor),
        7: trace.de7,
        11: trace.de11,
        12: trace.de7[4:],
        13: trace.de7[:4],
        32: acquirer.id,
        37: trace.de37,
        41: acquirer.terminal_id,
        42: acquirer.merchant_id.ljust(15),
        49: currency,
    }


def _amount(amount_minor: int) -> str:
    if not 0 <= amount_minor <= AMOUNT_MINOR_MAX:
        raise NotRepresentable(Cause.amount_not_representable)
    return f"{amount_minor:012}"


def _follow_up(
    mti: str, asked: InFlightCall, fields: dict[int, str], acquirer: Acquirer, approval_code: str | None
) -> Message:
    """The capture or the reversal of the authorization that the entry tells of."""
    original = trace_in(asked.processor_data, prefix=OF_AUTHORIZATION)
    if original is None:
        raise NotRepresentable(Cause.numbers_missing)
    fields[90] = original_data_elements(original, acquirer_id=acquirer.id)
    known = asked.processor_data.get(f"{OF_AUTHORIZATION}de38") or approval_code
    if known is not None:
        fields[38] = known.ljust(6)
    return Message(repeating(mti) if may_have_been_made(asked) else mti, fields)


def _reversed(asked: InFlightCall, fields: dict[int, str]) -> dict[int, str]:
    """DE 4 of a reversal is the authorization's; one of less says in DE 95 what is left."""
    authorized_minor = int(asked.processor_data.get(f"{OF_AUTHORIZATION}de4", asked.amount_minor))
    fields[4] = _amount(authorized_minor)
    if asked.amount_minor < authorized_minor:
        fields[95] = replacement_amounts(authorized_minor - asked.amount_minor)
    return fields


def original_data_elements(original: Trace, *, acquirer_id: str) -> str:
    """DE 90 of an authorization: its type, DE 11, DE 7, DE 32 and DE 33 (there is none), filled up with zeros."""
    return f"{AUTHORIZATION}{original.de11}{original.de7}{acquirer_id:0>11}{'':0>11}"


def replacement_amounts(left_minor: int) -> str:
    """DE 95: the amount that is left after a partial reversal; no settlement amount and no fees are told."""
    return _amount(left_minor).ljust(42, "0")


def network_message(code: str, *, de7: str, de11: str, acquirer: Acquirer) -> Message:
    """A sign-on, an echo or a sign-off."""
    fields = {7: de7, 11: de11, 32: acquirer.id, 41: acquirer.terminal_id, 70: code}
    return Message(NETWORK_MANAGEMENT, fields)
