"""The adapter to a processor that speaks ISO 8583 (`topology.processors.port.Processor`).

*Not sent* is said only where no byte of the message was given to a connection: the gate is passed right before the
write, with nothing awaited between. From then on only a matched answer that can be read says anything; without one the
call is *unknown* at its deadline. A connection that breaks ends no wait, for the host may answer on another.

An authorization (0100) is not deduplicated by the host, so it is never written twice: neither here, where the gate
opens once, nor for an entry that may have been called before. Advices and reversals are, by DE 7, 11, 32, 37 and 41.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from schemas.processing import CallKind, InFlightCall, Outcome
from schemas.times import Micros
from topology.processors.iso8583.answers import answer_of
from topology.processors.iso8583.frames import BadFrame, frame_of
from topology.processors.iso8583.link import Link, LinkTimes
from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.matching import Matching, awaited_by
from topology.processors.iso8583.messages import Acquirer, NotRepresentable, network_message, prepared, request_of
from topology.processors.iso8583.numbers import TRACE_NUMBERS, trace_in, transmission_time
from topology.processors.iso8583.pool import Pool
from topology.processors.port import OF_AUTHORIZATION, Answer, Call, Capabilities, Cause, Departure, HeldBack, Lease

__all__ = ["Iso8583Config", "Iso8583Processor"]

# For how long a start waits for a first connection.
_FIRST_CONNECTION_SECONDS_MAX = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Iso8583Config:
    """Where the host is, who we are to it, and what its contract promises.

    `deduplication_seconds` is how long it knows an advice again, `longest_hold_seconds` how long it holds money at
    most. `connections` may be 0 where calls are decided about and never made. A call waits for a usable connection for
    `connection_wait_seconds_max`; `awaiting_max` calls wait for their answers at once; a connection with more than
    `write_buffer_bytes_max` not yet taken by the network is passed over.
    """

    name: str
    host: str
    port: int
    acquirer: Acquirer
    connections: int = 4
    deduplication_seconds: float = 0.0
    longest_hold_seconds: int | None = None
    times: LinkTimes = field(default_factory=LinkTimes)
    connection_wait_seconds_max: float = 5.0
    awaiting_max: int = 20_000
    write_buffer_bytes_max: int = 64 * 1024


class Iso8583Processor:
    """A processor behind ISO 8583 over TCP."""

    def __init__(
        self, config: Iso8583Config, *, now: Callable[[], Micros] = lambda: Micros(time.time_ns() // 1000)
    ) -> None:
        self._config = config
        self._now = now
        self._matching = Matching(config.name)
        self._network_messages = 0
        self._pool: Pool | None = None
        self._capabilities = Capabilities(
            deduplicates=frozenset({CallKind.capture, CallKind.void}),
            lookup=False,
            deduplication_seconds=config.deduplication_seconds,
            longest_hold_seconds=config.longest_hold_seconds,
        )

    @property
    def name(self) -> str:
        """The name that routes and records know it by."""
        return self._config.name

    @property
    def capabilities(self) -> Capabilities:
        """What it promises, by contract."""
        return self._capabilities

    def prepare(self, asked: InFlightCall, lease: Lease) -> Mapping[str, str]:
        """DE 7, 11 and 37, the same from now on."""
        return prepared(asked, lease)

    async def open(self) -> None:
        """Begin to connect and to sign on; waits a little, for most hosts are there."""
        config = self._config
        self._pool = Pool(
            config.name,
            config.host,
            config.port,
            connections=config.connections,
            network_message=self._network_message,
            arrived=self._matching.arrived,
            times=config.times,
            write_buffer_bytes_max=config.write_buffer_bytes_max,
        )
        await self._pool.open(wait_seconds_max=_FIRST_CONNECTION_SECONDS_MAX)

    async def close(self) -> None:
        """Sign off and close all connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def authorize(self, call: Call, departure: Departure) -> Answer:
        """0100."""
        return await self._call(call, departure)

    async def capture(self, call: Call, departure: Departure) -> Answer:
        """0220, or 0221 of one that may have been made before."""
        return await self._call(call, departure)

    async def void(self, call: Call, departure: Departure) -> Answer:
        """0400, or 0401 of one that may have been made before (0420 and 0421 where the host wants these)."""
        return await self._call(call, departure)

    async def lookup(self, call: Call, departure: Departure) -> Answer:
        """There is none, and as declared it is never asked for."""
        missing = Cause.processor_not_configured
        return departure.nothing_learnt(not_sent=missing, unknown=missing)

    async def _call(self, call: Call, departure: Departure) -> Answer:
        deadline = asyncio.get_running_loop().time() + call.deadline_seconds
        try:
            request = self._request(call)
            frame = frame_of(request)
        except NotRepresentable as error:
            return _never(call, departure, error.cause)
        except BadFrame:
            return _never(call, departure, Cause.adapter_failed)
        if len(self._matching) >= self._config.awaiting_max:
            return departure.nothing_learnt(not_sent=Cause.too_many_waiting, unknown=Cause.too_many_waiting)
        key = awaited_by(request)
        awaited = self._matching.await_answer(key)
        if awaited is None:
            return departure.nothing_learnt(not_sent=Cause.abandoned, unknown=Cause.abandoned)
        try:
            link = await self._usable_link(deadline)
            if link is None:
                return departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.no_connection)
            departure.leave()
            link.write(frame)
            # Not by cancelling: an answer that comes in the very tick of the deadline is an answer.
            await asyncio.wait((awaited,), timeout=deadline - asyncio.get_running_loop().time())
            if not awaited.done():
                return self._unanswered(call, request, link)
            return answer_of(call.asked.call, request=request, response=awaited.result())
        except HeldBack as held:
            return departure.nothing_learnt(not_sent=held.cause, unknown=held.cause)
        finally:
            self._matching.forget(key)

    def _unanswered(self, call: Call, request: Message, link: Link) -> Answer:
        """The deadline has passed; whatever is heard of it from now on decides nothing."""
        if call.asked.call is CallKind.authorize:
            self._matching.remember(awaited_by(request))
        cause = Cause.connection_broken if link.lost.is_set() else Cause.timed_out
        return Answer(outcome=Outcome.unknown, code=cause, processor_reference=request.get(37))

    async def _usable_link(self, deadline: float) -> Link | None:
        """A connection that may be written to now; None where there is none in time."""
        assert self._pool is not None, "not open"
        until = min(deadline, asyncio.get_running_loop().time() + self._config.connection_wait_seconds_max)
        while True:
            link = self._pool.choose()
            if link is not None or not await self._pool.wait_usable(until):
                return link

    def _request(self, call: Call) -> Message:
        asked, acquirer = call.asked, self._config.acquirer
        original = trace_in(asked.processor_data, prefix=OF_AUTHORIZATION)
        approval_code = None
        if original is not None:
            approval_code = self._matching.late_approval_code(
                original, acquirer_id=acquirer.id, terminal_id=acquirer.terminal_id
            )
        return request_of(
            asked, payment_intent_id=call.payment_intent_id, acquirer=acquirer, approval_code=approval_code
        )

    def _network_message(self, code: str) -> Message:
        """Numbered apart from the calls: by their type the two cannot be taken for each other."""
        self._network_messages += 1
        return network_message(
            code,
            de7=transmission_time(self._now()),
            de11=f"{(self._network_messages - 1) % TRACE_NUMBERS + 1:06}",
            acquirer=self._config.acquirer,
        )


def _never(call: Call, departure: Departure, cause: Cause) -> Answer:
    """No message can be made of the call. A capture or a void would wait for ever to be sent: a person must see it."""
    departure.hold_back(cause)
    outcome = Outcome.not_sent if call.asked.call is CallKind.authorize else Outcome.unknown
    return Answer(outcome=outcome, code=cause)
