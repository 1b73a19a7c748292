"""The bodies that merchants send: their shape, and what can be judged without knowing the payment.

The `parse_…` functions turn bytes into one of the frozen structs here or raise a Problem. Nothing that is refused here
reaches the log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NoReturn, TypeVar

import msgspec

from ingress.card_numbers import has_card_number
from ingress.problems import Problem
from schemas.bounds import (
    AMOUNT_MINOR_MAX,
    DESCRIPTION_LENGTH_MAX,
    METADATA_KEY_LENGTH_MAX,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_LENGTH_MAX,
)
from schemas.identifiers import fingerprint
from schemas.money import CURRENCIES
from schemas.payment import CaptureMethod

__all__ = [
    "AuthorizationBody",
    "CancelBody",
    "CaptureBody",
    "CreateBody",
    "NotifyBody",
    "TransactionBody",
    "VoidBody",
    "fingerprint_of",
    "parse_cancel",
    "parse_create",
    "parse_notify",
    "parse_transaction",
    "refuse_card_number",
]

_TOKEN = re.compile(r"tok_[A-Za-z0-9_]{1,64}", re.ASCII)
_AT_FIELD = re.compile(r"at `\$\.([a-z_]+)")
_MISSING_FIELD = re.compile(r"missing required field `([a-z_]+)`")


class CreateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Open a PaymentIntent."""

    amount: int
    currency: str
    capture_method: CaptureMethod = CaptureMethod.automatic
    description: str | None = None
    metadata: dict[str, str] = {}


class AuthorizationBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Attempt to pay with a card token."""

    type: str = "authorization"
    payment_method: str


class CaptureBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Capture what is authorized, all of it or less."""

    type: str
    amount: int | None = None


class VoidBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Release what is authorized."""

    type: str


TransactionBody = AuthorizationBody | CaptureBody | VoidBody


class CancelBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cancel a PaymentIntent: there is nothing to say."""


class NotifyBody(msgspec.Struct, frozen=True):
    """A processor's word that something happened; what it says beyond the reference is not believed anyway."""

    reference: str


class _TypeOfTransaction(msgspec.Struct, frozen=True):
    type: str = "authorization"


_TRANSACTION_BODIES: Mapping[str, type[TransactionBody]] = {
    "authorization": AuthorizationBody,
    "capture": CaptureBody,
    "void": VoidBody,
}

Body = TypeVar("Body", bound=msgspec.Struct)


def parse_create(raw: bytes) -> CreateBody:
    """The body of a create; raises Problem."""
    body = _parse(raw, CreateBody)
    _check_amount(body.amount)
    if body.currency not in CURRENCIES:
        raise _invalid("currency", "The currency is no lower-case ISO 4217 code.")
    if body.description is not None and len(body.description) > DESCRIPTION_LENGTH_MAX:
        raise _invalid("description", f"The description has more than {DESCRIPTION_LENGTH_MAX} characters.")
    _check_metadata(body.metadata)
    return body


def parse_transaction(raw: bytes) -> TransactionBody:
    """The body of an authorization, a capture or a void; raises Problem."""
    kind = _decode(raw, _TypeOfTransaction).type
    if kind not in _TRANSACTION_BODIES:
        raise _invalid("type", "The type is none of authorization, capture and void.")
    body: TransactionBody = _parse(raw, _TRANSACTION_BODIES[kind])
    if isinstance(body, AuthorizationBody) and not _TOKEN.fullmatch(body.payment_method):
        raise _invalid("payment_method", "The payment_method is no card token (tok_…).")
    if isinstance(body, CaptureBody) and body.amount is not None:
        _check_amount(body.amount)
    return body


def parse_cancel(raw: bytes) -> CancelBody:
    """The body of a cancel, which may be left out; raises Problem."""
    return _parse(raw, CancelBody) if raw else CancelBody()


def parse_notify(raw: bytes) -> NotifyBody:
    """The body of a processor's notification; raises Problem."""
    return _decode(raw, NotifyBody)


def fingerprint_of(kind: str, body: msgspec.Struct) -> bytes:
    """By which another request under the same Idempotency-Key is told apart.

    Spelling and order do not count, and what is left out is the same as its default, so that a field which is added one
    day does not make another request of a repeated one.
    """
    defaults = _defaults(type(body))
    said = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) != defaults.get(name)}
    return fingerprint(kind, msgspec.json.encode(said, order="deterministic"))


@cache
def _defaults(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    return {
        field.name: field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        for field in msgspec.structs.fields(kind)
        if not field.required
    }


def refuse_card_number(text: str, *, param: str | None = None) -> None:
    """Raise the Problem of a text that holds a card number."""
    if has_card_number(text):
        raise Problem.invalid(
            "card_number",
            "A card number was sent where none may be.",
            detail="Card numbers belong into the card form only. Nothing of this request was kept.",
            param=param,
        )


def _invalid(param: str, detail: str) -> Problem:
    title = "The request says something that cannot be."
    return Problem.invalid("parameter_invalid", title, detail=detail, param=param)


def _check_amount(amount: int) -> None:
    if not 1 <= amount <= AMOUNT_MINOR_MAX:
        raise _invalid("amount", f"The amount is not between 1 and {AMOUNT_MINOR_MAX} minor units.")


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) > METADATA_PAIRS_MAX:
        raise _invalid("metadata", f"The metadata have more than {METADATA_PAIRS_MAX} pairs.")
    for key, value in metadata.items():
        if not 1 <= len(key) <= METADATA_KEY_LENGTH_MAX:
            raise _invalid("metadata", f"A key of the metadata has not 1 to {METADATA_KEY_LENGTH_MAX} characters.")
        if len(value) > METADATA_VALUE_LENGTH_MAX:
            raise _invalid("metadata", f"A value of the metadata has more than {METADATA_VALUE_LENGTH_MAX} characters.")


def _parse(raw: bytes, kind: type[Body]) -> Body:
    """The body, with every string in it checked."""
    body = _decode(raw, kind)
    _refuse_repeated_names(raw)
    for param, text in _strings(body):
        refuse_card_number(text, param=param)
        # PostgreSQL keeps no NUL in a text, so one such character would stop the read model.
        if "\0" in text:
            raise _invalid(param, "A text holds a NUL character.")
    return body


def _strings(body: msgspec.Struct) -> Iterator[tuple[str, str]]:
    for name, value in msgspec.structs.asdict(body).items():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict):
            for text in (*value.keys(), *value.values()):
                yield name, text


def _decode(raw: bytes, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        _raise_invalid(str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem.invalid("json_malformed", "The body is no JSON in UTF-8.") from None


def _raise_invalid(message: str) -> NoReturn:
    """The Problem for what msgspec found. Its message may quote the client, so only names of our own are taken over."""
    if missing := _MISSING_FIELD.search(message):
        raise _invalid(missing[1], "A field is missing.")
    if "unknown field" in message:
        raise Problem.invalid("parameter_unknown", "The body has a field that is not known here.")
    at = _AT_FIELD.search(message)
    if at is None:
        raise Problem.invalid("parameter_invalid", "The body is not the JSON object that belongs here.")
    raise _invalid(at[1], "A field has a value of another type than belongs there.")


def _refuse_repeated_names(raw: bytes) -> None:
    """Two fields of one name are refused: parsers do not agree on which of them counts."""

    def pairs(items: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in items}) < len(items):
            raise Problem.invalid("json_malformed", "The body names a field twice.")

    # Numbers are not looked at: msgspec has done that, and an endless one would be an error of its own here.
    json.loads(raw, object_pairs_hook=pairs, parse_int=len, parse_float=len)
