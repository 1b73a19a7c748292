"""The network's HTTP interface: routes, bodies in, answers out.

Drives `network`; run by `__main__`. Errors become answers in one place: `{"error": name}` with what is wrong.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox.card_network import challenge_page
from sandbox.card_network.answers import answer, capabilities, ledger_json, stray
from sandbox.card_network.booking import Booking, Status, rfc3339
from sandbox.card_network.cards import Delivery
from sandbox.card_network.delivery import HangingResponse, ResetResponse, TwiceResponse, pause
from sandbox.card_network.iso8583.server import IsoServer
from sandbox.card_network.network import CardNetwork, Reply
from sandbox.card_network.notify import Notifier
from sandbox.card_network.requests import (
    AuthorizationRequest,
    BadRequest,
    CaptureRequest,
    RequestT,
    VoidRequest,
    decode,
)
from sandbox.card_network.settlement_api import SettlementApi
from sandbox.card_network.settlement_calendar import SettlementCalendar

__all__ = ["create_app"]

_BODY_BYTES_MAX = 64 * 1024
_OUTCOMES = {"complete": Status.approved, "fail": Status.declined}


class _ClockChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    advance_seconds: Annotated[float, msgspec.Meta(ge=0, le=10 * 365 * 86_400)]


def create_app(
    network: CardNetwork,
    *,
    public_url: str,
    stopping: asyncio.Event,
    calendar: SettlementCalendar,
    iso_server: IsoServer | None = None,
) -> Starlette:
    """The application; `stopping` is set when the server begins to end, so that nothing holds it up.

    `iso_server`, the network's other protocol, lives as long as the application.
    """
    api = _Api(network, public_url=public_url, stopping=stopping)
    settlement = SettlementApi(network, calendar)

    async def adjust(request: HttpRequest) -> Response:
        return await settlement.adjust(await _body(request))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as running:
            network.start()
            running.push_async_callback(network.stop)
            api.notifier = Notifier()
            running.push_async_callback(api.notifier.close)
            if iso_server is not None:
                running.push_async_callback(iso_server.stop)
                await iso_server.start()
            yield

    routes = [
        Route("/healthz", api.healthz),
        Route("/readyz", api.readyz),
        Route("/capabilities", api.capabilities),
        Route("/authorizations", api.taking(AuthorizationRequest), methods=["POST"]),
        Route("/captures", api.taking(CaptureRequest), methods=["POST"]),
        Route("/voids", api.taking(VoidRequest), methods=["POST"]),
        Route("/transactions/{reference}", api.look_up),
        Route("/challenges/{processor_reference}", api.show_challenge),
        Route("/challenges/{processor_reference}", api.decide_challenge, methods=["POST"]),
        Route("/ledger", api.ledger),
        Route("/settlements/{processor}/{name}", settlement.file),
        Route("/settlement-report", settlement.csv_of_date),
        Route("/settlement/adjustments", adjust, methods=["POST"]),
        Route("/clock", api.show_clock),
        Route("/clock", api.advance_clock, methods=["POST"]),
        Route("/faults", api.show_faults),
        Route("/faults", api.change_faults, methods=["POST"]),
        Route("/faults/thrown", api.thrown_faults),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={BadRequest: _bad_request, HTTPException: _http_error, Exception: _broken},
    )


class _Api:
    """The endpoints."""

    notifier: Notifier

    def __init__(self, network: CardNetwork, *, public_url: str, stopping: asyncio.Event) -> None:
        self._network = network
        self._public_url = public_url
        self._stopping = stopping

    async def healthz(self, _request: HttpRequest) -> Response:
        return _json({"status": "ok"})

    async def readyz(self, _request: HttpRequest) -> Response:
        ready = self._network.ready
        return _json({"status": "ok" if ready else "ledger_not_written"}, status_code=200 if ready else 503)

    async def capabilities(self, _request: HttpRequest) -> Response:
        return _json(capabilities(deduplicates_authorizations=self._network.deduplicates_authorizations))

    def taking(self, request_type: type[RequestT]) -> Callable[[HttpRequest], Awaitable[Response]]:
        """The endpoint that takes one kind of request."""

        async def endpoint(http_request: HttpRequest) -> Response:
            request = decode(await _body(http_request), request_type)
            return await self._deliver(await self._network.ask(request))

        return endpoint

    async def _deliver(self, reply: Reply) -> Response:
        plan = self._network.dice.plan
        if reply.reference_reused:
            return _json({"error": "reference_reused"}, status_code=409)
        if reply.delivery is Delivery.reset:
            return ResetResponse()
        if reply.delivery is Delivery.hang or reply.booking is None:
            return HangingResponse(hang_seconds=plan.hang_seconds, stopping=self._stopping)
        if reply.delivery is Delivery.slow:
            await pause(plan.slow_seconds, stopping=self._stopping)
        told = answer(reply.booking, public_url=self._public_url)
        if reply.delivery is Delivery.stray:
            # One answer to a request over HTTP: it is the one of somebody else.
            told = stray(reply.booking)
        body = msgspec.json.encode(told)
        response_type = TwiceResponse if reply.delivery is Delivery.twice else Response
        return response_type(body, media_type="application/json")

    async def look_up(self, request: HttpRequest) -> Response:
        booking = self._network.look_up(request.path_params["reference"])
        if booking is None:
            return _json({"error": "not_found"}, status_code=404)
        return _json(answer(booking, public_url=self._public_url))

    async def show_challenge(self, request: HttpRequest) -> Response:
        authorization = self._network.look_up_authorization(request.path_params["processor_reference"])
        return _page(_challenge_of(authorization))

    async def decide_challenge(self, request: HttpRequest) -> Response:
        form = parse_qs((await _body(request)).decode("latin-1"))
        outcome = _OUTCOMES.get(form.get("outcome", [""])[-1])
        if outcome is None:
            raise BadRequest("outcome is not complete or fail")
        passed = outcome is Status.approved
        number = request.path_params["processor_reference"]
        found, decided_now = await self._network.decide_challenge(number, passed=passed)
        authorization = _challenge_of(found)
        if decided_now:
            self.notifier.notify(authorization)
        # A second click finds what the first has done; one that asks for the other outcome is told that it is too late.
        return _page(authorization, status_code=200 if authorization.status is outcome else 409)

    async def ledger(self, _request: HttpRequest) -> Response:
        return StreamingResponse(ledger_json(self._network.ledger.rows()), media_type="application/json")

    async def show_clock(self, _request: HttpRequest) -> Response:
        return _json({"now": rfc3339(self._network.clock()), "ahead_seconds": self._network.ahead_seconds})

    async def advance_clock(self, request: HttpRequest) -> Response:
        try:
            change = msgspec.json.decode(await _body(request), type=_ClockChange)
        except msgspec.MsgspecError as error:
            raise BadRequest(str(error)) from None
        await self._network.advance_clock(int(change.advance_seconds * 1_000_000))
        return await self.show_clock(request)

    async def show_faults(self, _request: HttpRequest) -> Response:
        return _json(self._network.dice.plan)

    async def thrown_faults(self, _request: HttpRequest) -> Response:
        thrown = self._network.dice.thrown.items()
        return _json({protocol: dict(sorted(counts.items())) for protocol, counts in thrown})

    async def change_faults(self, request: HttpRequest) -> Response:
        try:
            changes = msgspec.json.decode(await _body(request), type=dict[str, object])
            return _json(self._network.dice.change(changes))
        except msgspec.MsgspecError as error:
            raise BadRequest(str(error)) from None


def _challenge_of(authorization: Booking | None) -> Booking:
    if authorization is None:
        raise HTTPException(404)
    return authorization


async def _body(request: HttpRequest) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES_MAX:
            raise HTTPException(413)
    return bytes(body)


def _json(content: object, *, status_code: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status_code=status_code, media_type="application/json")


def _page(authorization: Booking, *, status_code: int = 200) -> Response:
    return HTMLResponse(challenge_page.page(authorization), status_code=status_code, headers=challenge_page.HEADERS)


async def _bad_request(_request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, BadRequest)
    return _json({"error": "bad_request", "detail": error.detail}, status_code=400)


_ERRORS = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


async def _http_error(_request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json({"error": _ERRORS.get(error.status_code, "http_error")}, status_code=error.status_code)


async def _broken(_request: HttpRequest, _error: Exception) -> Response:
    # The server logs the error itself. Nothing is booked when the ledger could not be written.
    return _json({"error": "internal_error"}, status_code=500)
