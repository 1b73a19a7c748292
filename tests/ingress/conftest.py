"""The API on fakes, and a client that is authorized."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from ingress.app import build_app
from ingress.client_secret import ClientSecretKey
from ingress.keys import Keyring, checksum
from ingress.merchants import Directory
from ingress.open_files import CONNECTIONS_MAX
from ingress.server import uvicorn_config
from ingress.services import Dependencies
from tests.ingress.fakes import (
    MERCHANT,
    FakeClock,
    FakeEvents,
    FakeFold,
    FakeLog,
    FakeReadModel,
    FakeReplies,
    no_merchants,
)

API_KEY = "ps_sk_test_" + "A" * 30
API_KEY += checksum(API_KEY)
OTHER_KEY = "ps_sk_test_" + "B" * 30
OTHER_KEY += checksum(OTHER_KEY)
SECONDS_MAX = 0.4
"""How long an `impatient` server waits for its clients."""
ON_UVLOOP = pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")])
"""Tests on the event loop of production, whose transports are not asyncio's."""


@dataclass
class World:
    """The API and all that it stands on."""

    replies: FakeReplies = field(default_factory=FakeReplies)
    fold: FakeFold = field(default_factory=FakeFold)
    events: FakeEvents = field(default_factory=FakeEvents)
    read_model: FakeReadModel = field(default_factory=FakeReadModel)
    merchants: Directory = field(default_factory=no_merchants)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.log = FakeLog(self.replies, self.fold)
        self.app: Starlette = build_app(
            Dependencies(
                log=self.log,
                replies=self.replies,
                events=self.events,
                read_model=self.read_model,
                merchants=self.merchants,
                keyring=Keyring.of({API_KEY: MERCHANT, OTHER_KEY: "mer_other"}),
                client_secret_key=ClientSecretKey(id="k1", key=b"0123456789abcdef"),
                clock=self.clock,
                route=("cardnet",),
                processors=frozenset({"cardnet", "isonet"}),
                public_url="http://api.test",
            )
        )

    def client(self, api_key: str = API_KEY) -> httpx.AsyncClient:
        """A client with a key of its own."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app, raise_app_exceptions=False),
            base_url="http://api.test",
            headers={"authorization": f"Bearer {api_key}"},
        )


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio alone."""
    return "asyncio"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server wait for its clients for a moment only."""
    monkeypatch.setattr("ingress.protocol.REQUEST_SECONDS_MAX", SECONDS_MAX)
    monkeypatch.setattr("ingress.protocol._LINGER_SECONDS", 0.2)


@pytest.fixture
def world() -> World:
    """The API on fakes."""
    return World()


@pytest.fixture
def connections_max() -> int:
    """How many connections the server holds."""
    return CONNECTIONS_MAX


@pytest.fixture
async def port(world: World, connections_max: int) -> AsyncIterator[int]:
    """The API on fakes behind the real server."""
    config = uvicorn_config(world.app, host="127.0.0.1", port=0, connections_max=connections_max)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the demo merchant."""
    async with world.client() as client:
        yield client
