"""The adapter to the simulated card network: JSON over HTTP/1.1, on aiohttp.

*Not sent* is said only where no byte of the request can have left: the request's first and only write to the socket is
made by `_GatedBody`, which passes the call's `Departure` right before it. aiohttp keeps the headers back until the body
is written, so both leave in that one write; nothing is tried again, no redirect is followed, no proxy of the
environment is asked.

A connection that the server closes while it lies idle may take our bytes and answer with a reset: that is *unknown*,
for nobody can tell it from a server that died after booking. Two things keep it rare: connections rest for a shorter
time than servers keep them, and one that the loop already knows to be closed, or on which something lies that nobody
asked for (an answer that was sent twice), is passed over before anything is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from aiohttp.payload import BytesPayload

from schemas.processing import InFlightCall
from topology.processors.deadlines import Deadlines
from topology.processors.declared import declared_capabilities
from topology.processors.http_answers import HttpAnswer, read_answer, read_lookup
from topology.processors.port import Answer, Call, Capabilities, Cause, Departure, Lease

__all__ = ["HttpJsonProcessor", "HttpProcessorConfig"]

_BODY_BYTES_MAX = 64 * 1024
# How often a connection from the pool may turn out to be dead before anything is written.
_STALE_CONNECTIONS_MAX = 4
# For how long a start waits to learn what is promised.
_FIRST_ANSWER_SECONDS_MAX = 1.0
_DEADLINE_LATE_SECONDS_MAX = 0.05
# What an answer looks like on a connection that has fallen out of step with what is asked on it.
_OUT_OF_STEP = (Cause.mismatched_answer, Cause.unreadable_answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProcessorConfig:
    """Where the processor is and how it is called; URLs without a slash at their end.

    `public_url` is the base URL of ingress as the processor reaches it. Its `capabilities` are asked for where they are
    not given, but for `deduplication_seconds`, which is its contract's. `idle_seconds_max` must be below the time for
    which the server keeps idle connections. A connection that takes longer than `connect_timeout_seconds` is given up:
    the call could not leave any more.
    """

    name: str
    base_url: str
    public_url: str
    capabilities: Capabilities | None = None
    deduplication_seconds: float = 0.0
    connections_max: int = 2_000
    connect_timeout_seconds: float = 5.0
    idle_seconds_max: float = 15.0


class HttpJsonProcessor:
    """A processor that speaks the card network's HTTP API (`topology.processors.port.Processor`)."""

    def __init__(self, config: HttpProcessorConfig) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None
        self._capabilities = config.capabilities
        self._asking: asyncio.Task[None] | None = None
        self._deadlines = Deadlines(look_every_seconds=_DEADLINE_LATE_SECONDS_MAX)

    @property
    def name(self) -> str:
        """The name that routes and records know it by."""
        return self._config.name

    @property
    def capabilities(self) -> Capabilities | None:
        """What it promises, once it is known."""
        return self._capabilities

    def prepare(self, asked: InFlightCall, lease: Lease) -> Mapping[str, str]:
        """Nothing: the key is the Transaction's id."""
        return {}

    async def open(self) -> None:
        """Make the pool, and begin to ask what is promised; waits a little, for most processors are there."""
        connector = aiohttp.TCPConnector(
            limit=self._config.connections_max,
            keepalive_timeout=self._config.idle_seconds_max,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Neither proxies nor credentials from the environment.
            trust_env=False,
            # The deadline of a call is kept here. A connection comes out of the pool, or has its own time to be made.
            timeout=aiohttp.ClientTimeout(total=None, connect=self._config.connect_timeout_seconds),
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "paystream"},
        )
        self._deadlines.open()
        if self._capabilities is None:
            self._asking = asyncio.create_task(self._learn())
            await asyncio.wait([self._asking], timeout=_FIRST_ANSWER_SECONDS_MAX)

    async def close(self) -> None:
        """Close all connections, those in use too."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
            self._asking = None
        await self._deadlines.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _learn(self) -> None:
        config = self._config
        self._capabilities = await declared_capabilities(
            config.base_url, deduplication_seconds=config.deduplication_seconds
        )

    async def authorize(self, call: Call, departure: Departure) -> Answer:
        """POST /authorizations."""
        asked = call.asked
        body = {
            "reference": asked.transaction_id,
            "payment_intent": call.payment_intent_id,
            "amount_minor": asked.amount_minor,
            "currency": asked.currency,
            "token": asked.payment_method,
            "notify_url": self._notify_url(call),
        }
        return await self._call("/authorizations", body, call, departure)

    async def capture(self, call: Call, departure: Departure) -> Answer:
        """POST /captures."""
        asked = call.asked
        body = {
            "reference": asked.transaction_id,
            "authorization_reference": asked.authorization_id,
            "payment_intent": call.payment_intent_id,
            "amount_minor": asked.amount_minor,
            "currency": asked.currency,
        }
        return await self._call("/captures", body, call, departure)

    async def void(self, call: Call, departure: Departure) -> Answer:
        """POST /voids."""
        body = {
            "reference": call.asked.transaction_id,
            "authorization_reference": call.asked.authorization_id,
            "payment_intent": call.payment_intent_id,
        }
        return await self._call("/voids", body, call, departure)

    async def lookup(self, call: Call, departure: Departure) -> Answer:
        """GET /transactions/{reference}."""
        key = call.asked.transaction_id
        exchange = _Exchange(call, departure)
        answer = await self._ask("GET", f"/transactions/{key}", b"", exchange)
        if isinstance(answer, HttpAnswer):
            return exchange.judged(read_lookup(answer, kind=call.asked.call, key=key))
        return answer

    async def _call(self, path: str, body: dict[str, Any], call: Call, departure: Departure) -> Answer:
        exchange = _Exchange(call, departure)
        answer = await self._ask("POST", path, msgspec.json.encode(body), exchange)
        if isinstance(answer, HttpAnswer):
            return exchange.judged(read_answer(answer, kind=call.asked.call, key=call.asked.transaction_id))
        return answer

    def _notify_url(self, call: Call) -> str:
        # Our ids are letters, digits and underscores.
        query = f"payment_intent={call.payment_intent_id}&transaction={call.asked.transaction_id}"
        return f"{self._config.public_url}/processor/{self.name}/notify?{query}"

    async def _ask(self, method: str, path: str, body: bytes, exchange: _Exchange) -> HttpAnswer | Answer:
        """One exchange. What comes back is what the processor said, or an answer that it said nothing."""
        task = asyncio.current_task()
        assert task is not None
        self._deadlines.add(task, exchange.call.deadline_seconds)
        try:
            return await self._attempt(method, path, body, exchange)
        except asyncio.CancelledError:
            if not self._deadlines.has_cancelled(task) or task.uncancel():
                raise
            return exchange.departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.timed_out)
        finally:
            self._deadlines.discard(task)

    async def _attempt(self, method: str, path: str, body: bytes, exchange: _Exchange) -> HttpAnswer | Answer:
        """The same, without a deadline: on a connection of the pool that is alive."""
        departure = exchange.departure
        for _ in range(_STALE_CONNECTIONS_MAX):
            try:
                return await self._exchange(method, path, body, exchange)
            except _StaleConnection:
                continue
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if exchange.stale and not departure.left:
                    # Provably nothing was written, so another connection is no second attempt.
                    exchange.stale = False
                    continue
                return departure.nothing_learnt(not_sent=Cause.no_connection, unknown=_cause_of(error))
        return departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.connection_broken)

    async def _exchange(self, method: str, path: str, body: bytes, exchange: _Exchange) -> HttpAnswer:
        assert self._session is not None, "not open"
        url = self._config.base_url + path
        response = await self._session.request(method, url, data=_GatedBody(body, exchange), allow_redirects=False)
        try:
            content = await _body_of(response.content)
            if not exchange.departure.left:
                # It came before we had asked anything, so it is the answer to something else.
                response.close()
                raise _StaleConnection
            return HttpAnswer(response.status, content)
        finally:
            # A connection on which something is still to come goes back to no pool.
            response.release()


async def _body_of(stream: aiohttp.StreamReader) -> bytes:
    content = await stream.readany()
    while not stream.at_eof() and len(content) <= _BODY_BYTES_MAX:
        content += await stream.readany()
    if len(content) > _BODY_BYTES_MAX:
        raise aiohttp.ClientPayloadError("the body is too long")
    return content


class _StaleConnection(aiohttp.ClientConnectionError):
    """The connection is closed, or holds what was not asked for. Nothing of the call was written to it."""


class _Exchange:
    """One call on its way: its gate, and the connection that it went out on."""

    __slots__ = ("call", "departure", "stale", "writer")

    def __init__(self, call: Call, departure: Departure) -> None:
        self.call = call
        self.departure = departure
        self.stale = False
        self.writer: AbstractStreamWriter | None = None

    def judged(self, answer: Answer) -> Answer:
        """The answer. One that is not ours closes its connection: each call on it would get the answer before."""
        transport = self.writer.transport if isinstance(self.writer, StreamWriter) else None
        if answer.code in _OUT_OF_STEP and transport is not None:
            transport.abort()
        return answer


class _GatedBody(BytesPayload):
    """A request body that passes the gate right before it is written, with the headers, to the socket."""

    def __init__(self, body: bytes, exchange: _Exchange) -> None:
        super().__init__(body, content_type="application/json")
        self._exchange = exchange

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Called once by aiohttp when the connection stands; between the gate and the write nothing is awaited."""
        if _is_stale(writer):
            self._exchange.stale = True
            raise _StaleConnection
        self._exchange.writer = writer
        self._exchange.departure.leave()
        await super().write_with_length(writer, content_length)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """The same, without a length."""
        await self.write_with_length(writer, None)


def _is_stale(writer: AbstractStreamWriter) -> bool:
    """Whether the connection is closed as far as the loop knows, or something lies on it that nobody has asked for."""
    assert isinstance(writer, StreamWriter)
    protocol = writer.protocol
    assert isinstance(protocol, ResponseHandler)
    return not protocol.is_connected() or protocol.should_close


def _cause_of(error: Exception) -> Cause:
    """Why nothing is known of a request that may have left."""
    if isinstance(error, TimeoutError):
        return Cause.timed_out
    if isinstance(error, aiohttp.ClientResponseError):
        return Cause.unreadable_answer
    return Cause.connection_broken
