"""GET /healthz and GET /readyz.

Healthy is a process that answers. Ready is one of which a command or a read would be answered now, and whose commands
say the right time: a broker is connected, replies are heard, the read model answers, the log says where it ends, every
shard of the payments flow has answered a command within the last seconds, and the clock agrees with the brokers'
(`clock_check`). A shard from which nothing was heard is asked with a command about a PaymentIntent that cannot exist:
it is refused, which makes no event, and the refusal is the answer. At most one such command per shard is open, and none
is sent while merchants' commands are being answered.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Collection, Mapping

from starlette.requests import Request
from starlette.responses import Response

from ingress.answers import json_response
from ingress.exchange import Deadline
from ingress.problems import Problem
from ingress.rounds import Rounds
from ingress.services import Services
from schemas.commands import PaymentCommand, ReturnFromChallenge
from schemas.identifiers import MerchantId, PaymentIntentId, command_id, payment_intent_id
from schemas.partitioner import partition
from schemas.payment import Actor, ActorType

__all__ = ["Health"]

_FRESH_SECONDS = 2.0
_PROBE_SECONDS = 5.0
"""How long an unanswered probe is waited for before another one is sent."""
_ANSWER_SECONDS = 1.0
"""How long the one who asks for readiness waits for the probes."""
_CLOCK_SKEW_SECONDS_MAX = 60.0
"""Far below the 5 min after which an authorization is not sent any more."""
_PROBING_MERCHANT = MerchantId("mer_readyz")
_NOBODY = Actor(type=ActorType.operator, id="readyz")


class Health:
    """Handlers for whoever looks after the process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._given = services.given
        self._process = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._probes: dict[int, asyncio.Task[None]] = {}
        self._checks: Rounds[str, Mapping[str, str]] = Rounds(self._check)

    async def healthz(self, _request: Request) -> Response:
        """200 as soon as the process serves."""
        return json_response(200, {"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """200 when a command would be answered now, else 503 with what is missing."""
        missing = await self._checks.get("ready")
        if missing:
            raise Problem(503, "not_ready", "A command would not be answered now.", more={"missing": missing})
        return json_response(200, {"status": "ready"})

    async def close(self) -> None:
        """Give up the probes that are open."""
        for probe in self._probes.values():
            probe.cancel()
        await asyncio.gather(*self._probes.values(), return_exceptions=True)

    async def _check(self, _names: Collection[str]) -> Mapping[str, Mapping[str, str]]:
        missing: dict[str, str] = {}
        if not self._given.log.connected():
            missing["log"] = "no broker is connected"
        if self._given.replies.partition is None:
            missing["replies"] = "no partition is being read"
        if self._given.events.partitions is None:
            missing["events"] = "the partitions are not known"
        if not self._given.merchants.ready:
            missing["merchants"] = "they have not been read to their end"
        if not missing:
            read_model, silent, endless = await asyncio.gather(
                self._given.read_model.ready(), self._silent_shards(), self._partitions_without_end()
            )
            if not read_model:
                missing["read_model"] = "it does not answer"
            if silent:
                missing["payments"] = "no answer from shards " + ", ".join(map(str, silent))
            if endless:
                missing["events"] = "it is not known where these partitions end: " + ", ".join(map(str, endless))
            # The probes have brought the news of the clock as well.
            ahead_seconds = self._given.log.clock_ahead_seconds()
            if abs(ahead_seconds) > _CLOCK_SKEW_SECONDS_MAX:
                missing["clock_skewed"] = f"this clock or the brokers' is wrong: they are {ahead_seconds:+.0f} s apart"
        return {"ready": missing}

    async def _partitions_without_end(self) -> list[int]:
        """The partitions of events whose end nobody says: a read of their payments would wait for it."""
        partitions = self._given.events.partitions
        assert partitions is not None, "checked before"
        ends = await self._given.events.ends(range(partitions))
        return [partition for partition, end in ends.items() if end is None]

    async def _silent_shards(self) -> list[int]:
        """The shards of which nothing was heard lately, after having asked them."""
        partitions = self._given.events.partitions
        assert partitions is not None, "checked before"
        silent = [shard for shard in range(partitions) if self._is_silent(shard)]
        if silent:
            for shard in silent:
                if shard not in self._probes:
                    self._probes[shard] = asyncio.create_task(self._probe(shard, partitions), name=f"probe-{shard}")
            await asyncio.wait([self._probes[shard] for shard in silent], timeout=_ANSWER_SECONDS)
        return [shard for shard in silent if self._is_silent(shard)]

    def _is_silent(self, shard: int) -> bool:
        return self._services.exchange.answered_seconds_ago(shard) > _FRESH_SECONDS

    async def _probe(self, shard: int, partitions: int) -> None:
        """Ask one shard; the exchange takes note of its answer."""
        try:
            intent_id = _absent_payment_intent(shard, partitions)
            command = PaymentCommand(
                id=command_id(
                    payment_intent_id=intent_id,
                    kind="readiness",
                    idempotency_key=f"{self._process}-{next(self._numbers)}",
                    fingerprint=b"",
                ),
                payment_intent_id=intent_id,
                merchant_id=_PROBING_MERCHANT,
                livemode=False,
                at=self._given.clock.now(),
                actor=_NOBODY,
                reply_partition=self._services.exchange.reply_partition(),
                body=ReturnFromChallenge(),
            )
            await self._services.exchange.ask(command, Deadline(seconds=_PROBE_SECONDS))
        except Problem:
            pass  # the log has just been lost: the shard stays silent
        finally:
            del self._probes[shard]


def _absent_payment_intent(shard: int, partitions: int) -> PaymentIntentId:
    """An id in that partition under which nobody can open a PaymentIntent, since the merchant has no key."""
    ids = (
        payment_intent_id(merchant_id=_PROBING_MERCHANT, livemode=False, idempotency_key=f"readyz-{number}")
        for number in itertools.count()
    )
    return next(one for one in ids if partition(one, partitions) == shard)
