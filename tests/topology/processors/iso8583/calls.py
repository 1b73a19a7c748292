"""Calls as the flow hands them over: with their numbers on record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.processing import CallKind, InFlightCall
from topology.processors import Call
from topology.processors.iso8583 import Acquirer, Iso8583Config, Iso8583Processor
from topology.processors.iso8583.link import LinkTimes

__all__ = ["ACQUIRER", "QUICK", "a_call", "adapter", "asked", "numbers", "transaction_id"]

ACQUIRER = Acquirer(id="00000000001", terminal_id="PAYSTRM1", merchant_id="PAYSTREAM")
QUICK = LinkTimes(connect_seconds_max=2.0, answer_seconds_max=0.3, idle_seconds=30.0)


def transaction_id(number: int) -> TransactionId:
    return TransactionId(f"tx_{number:032x}")


def numbers(number: int) -> dict[str, str]:
    """The numbers of call `number`."""
    return {"de7": "1126043340", "de11": f"{number:06}", "de37": f"{number:012}"}


def asked(
    kind: CallKind = CallKind.authorize,
    *,
    number: int = 1,
    authorization: int = 1,
    amount_minor: int = 1_999,
    authorized_minor: int | None = None,
    currency: str = "usd",
    token: str | None = "tok_visa",
    data: Mapping[str, str] | None = None,
    approval_code: str | None = None,
    repeat: bool = False,
    restored: bool = False,
) -> InFlightCall:
    """The entry of call `number`; a capture or void is about the authorization of that number."""
    about = None if kind is CallKind.authorize else transaction_id(authorization)
    known = dict(numbers(number))
    if about is not None:
        known |= {f"authorization.{name}": value for name, value in numbers(authorization).items()}
        known["authorization.de4"] = str(amount_minor if authorized_minor is None else authorized_minor)
        if approval_code is not None:
            known["authorization.de38"] = approval_code
    return InFlightCall(
        transaction_id=transaction_id(number),
        call=kind,
        processor="isonet",
        in_flight=True,
        repeat=repeat,
        restored=restored,
        amount_minor=amount_minor,
        currency=currency,
        authorization_id=about,
        payment_method=token if about is None else None,
        sequence=2,
        processor_data=known if data is None else data,
    )


def a_call(kind: CallKind = CallKind.authorize, *, deadline_seconds: float = 5.0, **settings: Any) -> Call:
    return Call(
        payment_intent_id=PaymentIntentId(f"pi_{1:032x}"),
        asked=asked(kind, **settings),
        deadline_seconds=deadline_seconds,
    )


@asynccontextmanager
async def adapter(port: int, **settings: Any) -> AsyncIterator[Iso8583Processor]:
    """The adapter, open; it talks to a port of this machine."""
    config: dict[str, Any] = {"acquirer": ACQUIRER, "connections": 1, "times": QUICK, **settings}
    processor = Iso8583Processor(Iso8583Config(name="isonet", host="127.0.0.1", port=port, **config))
    await processor.open()
    try:
        yield processor
    finally:
        await processor.close()
