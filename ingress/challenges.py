"""The end of a customer's challenge: the processor's notification and the browser's return.

Both come without authentication, so neither is believed. They only start a look-up at the processor (a
ReturnFromChallenge command, of which at most one is open per Transaction), and only for a Transaction that is open:
whoever calls at will puts nothing into the log. While the read model is away the fold is asked instead, which refuses
what is not open. The answer is the same whatever there is or is not.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ingress.bodies import parse_notify
from ingress.payment_intents import path_payment_intent_id
from ingress.problems import Problem
from ingress.requests import read_json
from ingress.services import Services
from schemas.commands import PaymentCommand, ReturnFromChallenge
from schemas.identifiers import (
    InvalidIdentifier,
    MerchantId,
    PaymentIntentId,
    TransactionId,
    command_id,
    parse_payment_intent_id,
    parse_transaction_id,
)
from schemas.payment import Actor, ActorType, PaymentIntent, TransactionStatus

__all__ = ["Challenges"]

_READ_SECONDS = 2.0
_UNKNOWN_MERCHANT = MerchantId("mer_unknown")
_NO_FINGERPRINT = b""

_PAGE_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_LATER_SECONDS = 5
_LATER_PAGE = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{_LATER_SECONDS}"><title>One moment</title></head>
<body><main><h1>One moment</h1>
<p>Your bank's answer cannot be looked up right now. Please leave this page open: it tries again by itself.</p></main>
</body>
</html>
"""
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Thank you</title></head>
<body><main><h1>Thank you</h1>
<p>Your bank's answer is being looked up. You may close this page and go back to the shop.</p></main></body>
</html>
"""


class Challenges:
    """Handlers for those who come back from a challenge."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._given = services.given

    async def notify(self, request: Request) -> Response:
        """POST /processor/{name}/notify?payment_intent=pi_…&transaction=tx_… with {"reference": "tx_…"}."""
        name = request.path_params["name"]
        if name not in self._given.processors:
            raise Problem(404, "not_found", "There is nothing at this address.")
        intent_id, transaction_id = _named_in_query(request)
        if parse_notify(await read_json(request)).reference != transaction_id:
            raise Problem.invalid("parameter_invalid", "The reference is not the Transaction of this address.")
        await self._start_look_up(intent_id, transaction_id, Actor(type=ActorType.processor, id=name))
        return Response(status_code=202, headers={"cache-control": "no-store"})

    async def returned(self, request: Request) -> Response:
        """GET /paymentIntent/{id}/return: the customer's browser, which gets a page also where it has to try again."""
        intent_id = path_payment_intent_id(request)
        try:
            await self._start_look_up(intent_id, None, Actor(type=ActorType.client, id="browser"))
        except Problem as problem:
            headers = {**_PAGE_HEADERS, "retry-after": str(_LATER_SECONDS)}
            return HTMLResponse(_LATER_PAGE, status_code=problem.status, headers=headers)
        return HTMLResponse(_PAGE, headers=_PAGE_HEADERS)

    async def _start_look_up(
        self, intent_id: PaymentIntentId, transaction_id: TransactionId | None, actor: Actor
    ) -> None:
        try:
            intent = await self._services.read_index.current(intent_id, timeout_seconds=_READ_SECONDS)
        except Problem:
            # The read model is away. The customer's payment does not wait for it: the fold knows what is open.
            merchant_id, livemode = _UNKNOWN_MERCHANT, False
        else:
            if intent is None or not _awaits_return(intent, transaction_id):
                return
            merchant_id, livemode = intent.merchant_id, intent.livemode
        command = PaymentCommand(
            id=command_id(
                payment_intent_id=intent_id,
                kind="challenge_return",
                idempotency_key=transaction_id or "",
                fingerprint=_NO_FINGERPRINT,
            ),
            payment_intent_id=intent_id,
            merchant_id=merchant_id,
            livemode=livemode,
            at=self._given.clock.now(),
            actor=actor,
            body=ReturnFromChallenge(transaction_id=transaction_id),
        )
        await self._services.exchange.tell(command)


def _awaits_return(intent: PaymentIntent, transaction_id: TransactionId | None) -> bool:
    """Whether a challenge is open that nobody has returned from yet: anybody may call here, as often as they like."""
    return any(
        one.status is TransactionStatus.requires_action
        and not one.challenge_returned
        and transaction_id in (None, one.id)
        for one in intent.transactions
    )


def _named_in_query(request: Request) -> tuple[PaymentIntentId, TransactionId]:
    names = request.query_params
    try:
        return (
            parse_payment_intent_id(names.get("payment_intent", "")),
            parse_transaction_id(names.get("transaction", "")),
        )
    except InvalidIdentifier:
        raise Problem.invalid("parameter_invalid", "The address names no payment_intent and transaction.") from None
