"""One ingress process: connects the application to Kafka and PostgreSQL and serves it until SIGTERM.

Driven by `paystream ingress`, with values from the settings. SIGTERM and SIGINT end it in order: no new connections,
the requests that are open are answered, the commands that are queued are sent.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import uvicorn
from starlette.applications import Starlette

from ingress.app import build_app
from ingress.client_secret import ClientSecretKey
from ingress.event_log import KafkaEventLog
from ingress.keys import Keyring
from ingress.log import KafkaCommandLog
from ingress.merchants import KafkaMerchants
from ingress.metrics import Metrics
from ingress.open_files import allow_connections
from ingress.ports import SystemClock
from ingress.protocol import BoundedProtocol
from ingress.replies import KafkaReplies
from ingress.services import Dependencies
from sinks.postgres.reader import ReadModel

__all__ = ["IngressConfig", "IngressFailed", "serve", "uvicorn_config"]

_GRACEFUL_SECONDS = 4
_BACKLOG = 2048

_logger = logging.getLogger(__name__)


class IngressFailed(Exception):
    """The process cannot go on and has to be started again. Nothing that was answered is affected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressConfig:
    """All that an ingress process is told."""

    host: str
    port: int
    """0: any free port."""
    kafka_bootstrap: str
    postgres_uri: str = field(repr=False)
    api_keys: Mapping[str, str] = field(repr=False)
    """API key → merchant."""
    client_secret_key: ClientSecretKey
    public_url: str
    instance: str = "0"
    route: tuple[str, ...] = ("cardnet",)
    """Processors for authorizations, in order of preference, where a merchant has no route of its own."""
    processors: tuple[str, ...] = ("cardnet",)
    """Processors that are configured: routes lead to no others, and only their notifications are taken."""


class _Server(uvicorn.Server):
    """uvicorn's server, which ends a process in order and not by the signal that it was sent."""

    def __init__(self, app: Starlette, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as the wish to stop, for the time that the server runs."""
        handlers = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; what waits for a reply is answered now."""
        self._app.state.hurry()
        await super().shutdown(sockets)


class _Started(Protocol):
    def start(self) -> None: ...

    async def stop(self) -> None: ...


def serve(config: IngressConfig) -> None:
    """Serve until told to stop; raises InvalidApiKey, InvalidIdentifier for a bad configuration, and IngressFailed."""
    keyring = Keyring.of(config.api_keys)
    failures: list[str] = []

    def fail(reason: str) -> None:
        _logger.critical("%s", reason)
        failures.append(reason)
        server.should_exit = True

    app = build_app(_dependencies(config, keyring, on_fatal=fail))
    connections_max = allow_connections()
    server = _Server(app, uvicorn_config(app, host=config.host, port=config.port, connections_max=connections_max))
    server.run()
    if failures:
        raise IngressFailed(failures[0])
    if not server.started:
        raise IngressFailed("the server could not start")


def uvicorn_config(app: Starlette, *, host: str, port: int, connections_max: int) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        limit_concurrency=connections_max,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )


def _dependencies(config: IngressConfig, keyring: Keyring, *, on_fatal: Callable[[str], None]) -> Dependencies:
    metrics = Metrics()
    client_id = f"ingress-{config.instance}-{socket.gethostname()}"
    bootstrap = config.kafka_bootstrap
    clock = SystemClock()
    log = KafkaCommandLog(bootstrap=bootstrap, client_id=client_id, metrics=metrics, clock=clock, on_fatal=on_fatal)
    replies = KafkaReplies(bootstrap=bootstrap, client_id=client_id, metrics=metrics, on_fatal=on_fatal)
    events = KafkaEventLog(bootstrap=bootstrap, client_id=client_id, on_fatal=on_fatal)
    merchants = KafkaMerchants(bootstrap=bootstrap, client_id=client_id, on_fatal=on_fatal)
    read_model = ReadModel(config.postgres_uri)
    return Dependencies(
        log=log,
        replies=replies,
        events=events,
        read_model=read_model,
        merchants=merchants,
        keyring=keyring,
        client_secret_key=config.client_secret_key,
        clock=clock,
        route=config.route,
        processors=frozenset(config.processors),
        public_url=config.public_url.rstrip("/"),
        metrics=metrics,
        resources=(lambda: read_model, *(_running(part) for part in (events, merchants, replies, log))),
    )


def _running(part: _Started) -> Callable[[], AbstractAsyncContextManager[object]]:
    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        part.start()
        try:
            yield
        finally:
            await asyncio.shield(part.stop())

    return run
