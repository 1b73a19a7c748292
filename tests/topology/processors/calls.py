"""Calls and adapters for the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.processing import CallKind, InFlightCall
from topology.processors import Call, Capabilities, Departure, HttpJsonProcessor, HttpProcessorConfig, boot_seconds

__all__ = ["a_call", "adapter", "departure", "run"]

T = TypeVar("T")


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run a test on a loop of its own, not for long."""

    async def bounded() -> T:
        async with asyncio.timeout(15):
            return await test

    return asyncio.run(bounded())


def a_call(
    kind: CallKind = CallKind.authorize,
    *,
    number: int = 1,
    authorization: int = 1,
    token: str = "tok_visa",
    amount_minor: int = 1999,
    deadline_seconds: float = 5.0,
) -> Call:
    """A call for Transaction `number`; a capture or void is about Transaction `authorization`."""
    about = None if kind is CallKind.authorize else TransactionId(f"tx_{authorization:032x}")
    asked = InFlightCall(
        transaction_id=TransactionId(f"tx_{number:032x}"),
        call=kind,
        processor="cardnet",
        in_flight=True,
        amount_minor=amount_minor,
        currency="usd",
        authorization_id=about,
        payment_method=token if about is None else None,
        sequence=2,
    )
    return Call(payment_intent_id=PaymentIntentId(f"pi_{1:032x}"), asked=asked, deadline_seconds=deadline_seconds)


def departure(*, send_before: float | None = None) -> Departure:
    """A gate that is open, until `send_before` by the clock that runs through a suspend."""
    return Departure(boot_seconds=boot_seconds, send_before=send_before)


@asynccontextmanager
async def adapter(base_url: str, **settings: Any) -> AsyncIterator[HttpJsonProcessor]:
    """The HTTP adapter, open."""
    config = HttpProcessorConfig(
        name="cardnet",
        base_url=base_url,
        public_url="http://ingress.example:8080",
        capabilities=Capabilities(lookup=True),
        **settings,
    )
    processor = HttpJsonProcessor(config)
    await processor.open()
    try:
        yield processor
    finally:
        await processor.close()
