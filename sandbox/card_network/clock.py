"""The network's clock, which can be advanced so that holds end without anybody waiting: GET and POST /clock.

Only the times at which something is booked go by it: a slow or a late request takes as long as ever. It starts with the
process, so a network that is started again shows the right time until it is advanced again.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["AdvancingClock", "clock_routes"]

_SECONDS_MAX = 100 * 366 * 86_400
_BODY_BYTES_MAX = 1_024


class AdvancingClock:
    """Microseconds since the epoch, and by how much they are ahead of the clock behind it."""

    def __init__(self, real: Callable[[], int]) -> None:
        self._real = real
        self.ahead_seconds = 0

    def __call__(self) -> int:
        return self._real() + self.ahead_seconds * 1_000_000

    def advance(self, seconds: int) -> None:
        """Go ahead by so much more; never back."""
        if not 0 <= seconds <= _SECONDS_MAX - self.ahead_seconds:
            raise ValueError("a clock only goes forward, and a hundred years at most")
        self.ahead_seconds += seconds


class _Advance(msgspec.Struct, forbid_unknown_fields=True):
    advance_seconds: int


def clock_routes(clock: AdvancingClock) -> list[Route]:
    """Where the clock is read and advanced, by {"advance_seconds": n}; both answer {"ahead_seconds": n}."""

    async def show(_request: Request) -> Response:
        return JSONResponse({"ahead_seconds": clock.ahead_seconds})

    async def advance(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _BODY_BYTES_MAX:
                return _refused("the body is too large")
        try:
            clock.advance(msgspec.json.decode(body, type=_Advance).advance_seconds)
        except (msgspec.MsgspecError, ValueError) as error:
            return _refused(str(error))
        return await show(request)

    return [Route("/clock", show, methods=["GET"]), Route("/clock", advance, methods=["POST"])]


def _refused(detail: str) -> Response:
    return JSONResponse({"error": "bad_request", "detail": detail}, status_code=HTTPStatus.BAD_REQUEST)
