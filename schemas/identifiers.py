"""Typed identifiers, derived from what a request says and never from time or chance.

The same request therefore has the same identifiers on every ingress process and after every crash. An identifier is a
prefix and 32 lower-case hexadecimal digits: SHA-256 over length-prefixed fields, cut to 128 bits. The fields begin
with the prefix, so that equal fields under two prefixes have nothing in common.
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType

__all__ = [
    "CommandId",
    "EventId",
    "InvalidIdentifier",
    "MerchantId",
    "PaymentIntentId",
    "TransactionId",
    "command_id",
    "event_id",
    "fingerprint",
    "is_command_id",
    "is_merchant_id",
    "is_payment_intent_id",
    "is_transaction_id",
    "missing_settlement_id",
    "opened_transaction_id",
    "parse_merchant_id",
    "parse_payment_intent_id",
    "parse_transaction_id",
    "payment_intent_id",
    "settlement_id",
    "transaction_id",
]

PaymentIntentId = NewType("PaymentIntentId", str)
TransactionId = NewType("TransactionId", str)
EventId = NewType("EventId", str)
CommandId = NewType("CommandId", str)
MerchantId = NewType("MerchantId", str)

_DERIVED = {prefix: re.compile(rf"{prefix}_[0-9a-f]{{32}}", re.ASCII) for prefix in ("pi", "tx", "evt", "cmd")}
_MERCHANT = re.compile(r"mer_[0-9a-z]{1,64}", re.ASCII)


class InvalidIdentifier(ValueError):
    """The text is no identifier of the kind asked for. The message does not echo it."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"not an identifier of the form {prefix}_…")
        self.prefix = prefix


def _digest(*fields: str | bytes) -> bytes:
    parts: list[bytes] = []
    for field in fields:
        raw = field if isinstance(field, bytes) else field.encode()
        parts += (len(raw).to_bytes(4, "big"), raw)
    return hashlib.sha256(b"".join(parts)).digest()[:16]


def payment_intent_id(*, merchant_id: MerchantId, livemode: bool, idempotency_key: str) -> PaymentIntentId:
    """The PaymentIntent that this merchant opens under this Idempotency-Key."""
    mode = "live" if livemode else "test"
    return PaymentIntentId("pi_" + _digest("pi", merchant_id, mode, idempotency_key).hex())


def transaction_id(*, payment_intent_id: PaymentIntentId, idempotency_key: str) -> TransactionId:
    """The Transaction that is opened on this intent under this Idempotency-Key."""
    return TransactionId("tx_" + _digest("tx", payment_intent_id, "key", idempotency_key).hex())


def opened_transaction_id(*, payment_intent_id: PaymentIntentId, sequence: int) -> TransactionId:
    """The Transaction that the fold itself opens with the event of this sequence."""
    return TransactionId("tx_" + _digest("tx", payment_intent_id, "sequence", str(sequence)).hex())


def settlement_id(*, processor: str, file_hash: bytes, line_number: int) -> TransactionId:
    """The settlement that a line becomes; the same (file hash, line number) again is the same one."""
    return TransactionId("tx_" + _digest("tx", "settlement", processor, file_hash, str(line_number)).hex())


def missing_settlement_id(*, transaction_id: TransactionId, at: int) -> TransactionId:
    """The settlement that a capture whose line has not come becomes at that moment (microseconds since the epoch)."""
    return TransactionId("tx_" + _digest("tx", "missing settlement", transaction_id, str(at)).hex())


def event_id(*, payment_intent_id: PaymentIntentId, sequence: int) -> EventId:
    """The event of this sequence."""
    return EventId("evt_" + _digest("evt", payment_intent_id, str(sequence)).hex())


def command_id(*, payment_intent_id: PaymentIntentId, kind: str, idempotency_key: str, fingerprint: bytes) -> CommandId:
    """The command; another body under the same key is another command, so that each hears its own answer."""
    return CommandId("cmd_" + _digest("cmd", payment_intent_id, kind, idempotency_key, fingerprint).hex())


def fingerprint(*fields: str | bytes) -> bytes:
    """128 bits over what a request says, by which another body under the same key is told apart."""
    return _digest("fingerprint", *fields)


def is_payment_intent_id(text: str) -> bool:
    """Whether it has the form of a PaymentIntent's id."""
    return _DERIVED["pi"].fullmatch(text) is not None


def is_transaction_id(text: str) -> bool:
    """Whether it has the form of a Transaction's id."""
    return _DERIVED["tx"].fullmatch(text) is not None


def is_command_id(text: str) -> bool:
    """Whether it has the form of a command's id."""
    return _DERIVED["cmd"].fullmatch(text) is not None


def is_merchant_id(text: str) -> bool:
    """Whether it has the form of a merchant's id."""
    return _MERCHANT.fullmatch(text) is not None


def parse_payment_intent_id(text: str) -> PaymentIntentId:
    """Check the form of a PaymentIntent's id; raises InvalidIdentifier.

    >>> parse_payment_intent_id("pi_../etc")
    Traceback (most recent call last):
    schemas.identifiers.InvalidIdentifier: not an identifier of the form pi_…
    """
    if not is_payment_intent_id(text):
        raise InvalidIdentifier("pi")
    return PaymentIntentId(text)


def parse_transaction_id(text: str) -> TransactionId:
    """Check the form of a Transaction's id; raises InvalidIdentifier."""
    if not is_transaction_id(text):
        raise InvalidIdentifier("tx")
    return TransactionId(text)


def parse_merchant_id(text: str) -> MerchantId:
    """Check the form of a merchant's id; raises InvalidIdentifier."""
    if not is_merchant_id(text):
        raise InvalidIdentifier("mer")
    return MerchantId(text)
