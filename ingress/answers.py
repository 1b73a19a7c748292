"""Answers to POSTs: from the reply, else from the read model where it shows the outcome, else 202."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from ingress import views
from ingress.asked import Asked, Cancellation, Creation, TransactionAsked
from ingress.exchange import Deadline
from ingress.problems import Problem, refused
from ingress.services import Services
from schemas.commands import CommandReply
from schemas.payment import PaymentIntent, PaymentIntentStatus
from schemas.times import Micros

__all__ = ["Answers", "json_response"]

LAST_LOOK_SECONDS = 0.5
"""How long the read model may be asked for once the client's time is over, before the answer is 202."""
_REPLAY_POLL_SECONDS = 0.2
_NEVER_FORGOTTEN = Micros(0)


class Answers:
    """Turns what is known of a command into the response, or raises the Problem that it is."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def of_reply(self, asked: Asked, reply: CommandReply, *, at: Micros) -> Response:
        """What the fold said to the command of that time."""
        if reply.refusal is not None:
            raise refused(reply.refusal)
        intent = reply.payment_intent
        if intent is None or not asked.may_see(intent):
            raise Problem.unknown_payment_intent()
        return self._of_intent(asked, intent, replayed=reply.replayed or asked.is_repeated(intent, at=at))

    async def of_known(self, asked: Creation, known: PaymentIntent) -> Response:
        """The intent was there before it was to be created: as it stands now, like a read of its status."""
        if asked.contradicts(known):
            raise refused("idempotency_mismatch")
        current = await self._services.read_index.current(known.id)
        return self._of_intent(asked, current or known, replayed=True)

    async def of_repeated(self, asked: Asked, reply: CommandReply, deadline: Deadline) -> Response:
        """A repeated command gets no second reply: the read model is asked until the intent has left processing."""
        while (remaining_seconds := deadline.remaining_seconds()) > 0:
            intent = await self._glance(asked, timeout_seconds=remaining_seconds)
            if intent is not None and intent.sequence >= reply.sequence and not is_processing(intent):
                return self._of_intent(asked, intent, replayed=True)
            await asyncio.sleep(min(_REPLAY_POLL_SECONDS, remaining_seconds))
        return self._accepted(asked)

    async def of_silence(self, asked: Asked, *, at: Micros, wait: bool) -> Response:
        """No reply in time to the command of that time, or doubt whether it arrived."""
        answers = self._services.given.metrics.answers_without_reply
        intent = await self._glance(asked, timeout_seconds=LAST_LOOK_SECONDS)
        if intent is not None and asked.is_done_in(intent) and not (wait and is_processing(intent)):
            answers.labels("read_model").inc()
            return self._of_intent(asked, intent, replayed=asked.is_repeated(intent, at=at))
        answers.labels("accepted").inc()
        return self._accepted(asked)

    async def of_forgotten(self, asked: Asked, reply: CommandReply) -> Response:
        """The fold does not know the intent: it never was, or it is final and only the read model still has it."""
        forgotten_up_to = reply.forgotten_up_to or _NEVER_FORGOTTEN
        intent = await self._services.look_ups.find_as_of(asked.payment_intent_id, forgotten_up_to)
        if intent is None or not asked.may_see(intent):
            raise Problem.unknown_payment_intent()
        if asked.contradicts(intent):
            raise refused("idempotency_mismatch")
        if asked.is_done_in(intent):
            # As the fold says it: a cancel of what another request had canceled is no replay.
            return self._of_intent(asked, intent, replayed=asked.was_carried_out_in(intent))
        if intent.status is PaymentIntentStatus.canceled:
            raise refused("already_canceled")
        if intent.status is PaymentIntentStatus.succeeded:
            raise refused("already_succeeded")
        # It was created after the command had been refused.
        raise Problem.unknown_payment_intent()

    async def _glance(self, asked: Asked, *, timeout_seconds: float) -> PaymentIntent | None:
        """The intent as it stands, or None where that cannot be said in time; raises the 422 of another request's."""
        try:
            intent = await self._services.read_index.current(asked.payment_intent_id, timeout_seconds=timeout_seconds)
        except Problem:
            return None
        if intent is None or not asked.may_see(intent):
            return None
        if asked.contradicts(intent):
            raise refused("idempotency_mismatch")
        return intent

    def _of_intent(self, asked: Asked, intent: PaymentIntent, *, replayed: bool) -> Response:
        headers = {"location": self._services.status_url(intent.id)}
        if replayed:
            headers["idempotent-replayed"] = "true"
        if isinstance(asked, TransactionAsked):
            opened = asked.found_in(intent)
            assert opened is not None, "an intent that answers for a Transaction has it"
            return json_response(201, views.transaction(opened, of=intent), headers)
        secret = self._services.given.client_secret_key.secret(intent.id)
        status = 200 if isinstance(asked, Cancellation) else 201
        return json_response(status, views.payment_intent(intent, client_secret=secret), headers)

    def _accepted(self, asked: Asked) -> Response:
        url = self._services.status_url(asked.payment_intent_id)
        return json_response(202, {**asked.reference(), "status_url": url}, {"location": url})


def is_processing(intent: PaymentIntent) -> bool:
    """Whether the intent is still being processed."""
    return intent.status is PaymentIntentStatus.processing


def json_response(status: int, body: object, headers: Mapping[str, Any] | None = None) -> Response:
    """A response that nobody may keep."""
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store", **(headers or {})},
    )
