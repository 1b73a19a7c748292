"""What happens to every request before it is routed: those over the limit and ambiguous paths are refused, and all are
measured.
"""

from __future__ import annotations

import re
import time
from http import HTTPMethod

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingress.metrics import Metrics
from ingress.problems import Problem

__all__ = ["TOO_MANY_CONNECTIONS", "Measured", "NotTooMany", "PlainPaths"]

TOO_MANY_CONNECTIONS = "too_many_connections"
"""Where this is in a request's state (ASGI), it came over a connection that was one too many."""

_KNOWN_METHODS = frozenset(HTTPMethod)

# Whoever stands before us may read these otherwise than we do: encoded or empty segments, parent folders, control
# characters, backslashes. None of our paths needs a percent sign at all.
_AMBIGUOUS = re.compile(rb"%|//|\\|[\x00-\x20\x7f-\xff]|(?:^|/)\.{1,2}(?:/|$)")


class NotTooMany:
    """Refuses what comes over a connection too many; but whoever looks after the process may always look."""

    _ALWAYS_SERVED = frozenset({"/healthz", "/metrics"})

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if TOO_MANY_CONNECTIONS in scope.get("state", ()) and scope["path"] not in self._ALWAYS_SERVED:
            headers = {"retry-after": "1", "connection": "close"}
            problem = Problem(503, TOO_MANY_CONNECTIONS, "There are too many connections.", headers=headers)
            await problem.response()(scope, receive, send)
            return
        await self.app(scope, receive, send)


class PlainPaths:
    """Refuses a path that is not plain, before anything looks at it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
            if _AMBIGUOUS.search(raw_path.split(b"?", 1)[0]) or ".." in scope["path"] or "\0" in scope["path"]:
                problem = Problem.invalid("path_invalid", "The path has characters or segments that none of ours has.")
                await problem.response()(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Measured:
    """Counts and times each request by its route, never by its path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def observing_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.metrics.requests_open.inc()
        try:
            await self.app(scope, receive, observing_send)
        finally:
            self.metrics.requests_open.dec()
            route: BaseRoute | None = scope.get("route")
            path = route.path if isinstance(route, Route) else "none"
            method = scope["method"] if scope["method"] in _KNOWN_METHODS else "other"
            self.metrics.request_seconds.labels(method, path, str(status)).observe(time.perf_counter() - began)
