"""The endpoints of PaymentIntents: create, transaction, cancel, status.

A POST becomes one command, with identifiers that follow from what it says, so that the same request is the same command
on every process and after every crash.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ingress import views
from ingress.answers import Answers, is_processing, json_response
from ingress.asked import Asked, cancellation, creation, transaction
from ingress.bodies import AuthorizationBody, parse_cancel, parse_create, parse_transaction
from ingress.exchange import Deadline
from ingress.problems import Problem
from ingress.requests import authenticate, idempotency_key, preferred_wait_seconds, read_json
from ingress.services import Services
from ingress.test_tokens import brand_of
from schemas.identifiers import InvalidIdentifier, PaymentIntentId, parse_payment_intent_id

__all__ = ["PaymentIntents"]

_WAIT_SECONDS = 10.0
"""How long a client waits that does not say how long it wants to."""


class PaymentIntents:
    """Handlers; each raises Problem for what is not carried out."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._given = services.given
        self._answers = Answers(services)

    async def create(self, request: Request) -> Response:
        """POST /paymentIntent."""
        principal = authenticate(request, self._given.keyring)
        key = idempotency_key(request)
        wait_seconds = preferred_wait_seconds(request)
        asked = creation(principal, key, parse_create(await read_json(request)))
        deadline = _deadline(wait_seconds)
        found = await self._services.look_ups.find(asked.payment_intent_id)
        if found.intent is not None:
            return await self._answers.of_known(asked, found.intent)
        asked = asked.absent_at(found.watermark)
        command = asked.command(
            at=self._given.clock.now(),
            reply_partition=self._services.exchange.reply_partition(),
            merchant_disabled=self._services.routing.is_disabled(principal.merchant_id),
        )
        reply = await self._services.exchange.ask(command, deadline)
        if reply is None:
            answer = await self._answers.of_silence(asked, at=command.at, wait=False)
        else:
            answer = self._answers.of_reply(asked, reply, at=command.at)
        return _preference_applied(answer, wait_seconds)

    async def transact(self, request: Request) -> Response:
        """POST /paymentIntent/{id}/transaction."""
        principal = authenticate(request, self._given.keyring)
        intent_id = path_payment_intent_id(request)
        key = idempotency_key(request)
        body = parse_transaction(await read_json(request))
        route: tuple[str, ...] = ()
        disabled = False
        if isinstance(body, AuthorizationBody):
            disabled = self._services.routing.is_disabled(principal.merchant_id)
            brand = brand_of(body.payment_method, livemode=principal.livemode)
            route = self._services.routing.route(principal.merchant_id, brand=brand)
        asked = transaction(principal, key, intent_id, body, route=route)
        return await self._carry_out(request, asked, merchant_disabled=disabled)

    async def cancel(self, request: Request) -> Response:
        """POST /paymentIntent/{id}/cancel."""
        principal = authenticate(request, self._given.keyring)
        intent_id = path_payment_intent_id(request)
        key = idempotency_key(request)
        parse_cancel(await read_json(request, optional=True))
        return await self._carry_out(request, cancellation(principal, key, intent_id))

    async def status(self, request: Request) -> Response:
        """GET /paymentIntent/{id}/status."""
        principal = authenticate(request, self._given.keyring)
        intent = await self._services.read_index.current(path_payment_intent_id(request))
        if intent is None or intent.merchant_id != principal.merchant_id or intent.livemode != principal.livemode:
            raise Problem.unknown_payment_intent()
        return json_response(200, views.status(intent))

    async def _carry_out(self, request: Request, asked: Asked, *, merchant_disabled: bool = False) -> Response:
        """Send a command about an intent that should exist, and answer with what came of it."""
        wait_seconds = preferred_wait_seconds(request)
        deadline = _deadline(wait_seconds)
        command = asked.command(
            at=self._given.clock.now(),
            reply_partition=self._services.exchange.reply_partition(),
            wait=wait_seconds is not None,
            merchant_disabled=merchant_disabled,
        )
        reply = await self._services.exchange.ask(command, deadline)
        if reply is None:
            answer = await self._answers.of_silence(asked, at=command.at, wait=command.wait)
        elif reply.refusal == "unknown_payment_intent":
            answer = await self._answers.of_forgotten(asked, reply)
        elif command.wait and reply.replayed and reply.payment_intent and is_processing(reply.payment_intent):
            answer = await self._answers.of_repeated(asked, reply, deadline)
        else:
            answer = self._answers.of_reply(asked, reply, at=command.at)
        return _preference_applied(answer, wait_seconds)


def path_payment_intent_id(request: Request) -> PaymentIntentId:
    """The id in the path; one that cannot be an id is as unknown as any other."""
    try:
        return parse_payment_intent_id(request.path_params["id"])
    except InvalidIdentifier:
        raise Problem.unknown_payment_intent() from None


def _deadline(wait_seconds: int | None) -> Deadline:
    return Deadline(seconds=_WAIT_SECONDS if wait_seconds is None else wait_seconds)


def _preference_applied(response: Response, wait_seconds: int | None) -> Response:
    if wait_seconds is not None:
        response.headers["preference-applied"] = f"wait={wait_seconds}"
    return response
