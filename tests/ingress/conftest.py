"""The API on fakes, and a client that is authorized."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
from starlette.applications import Starlette

from ingress.app import build_app
from ingress.client_secret import ClientSecretKey
from ingress.keys import Keyring, checksum
from ingress.services import Dependencies
from tests.ingress.fakes import MERCHANT, FakeClock, FakeEvents, FakeFold, FakeLog, FakeReadModel, FakeReplies

API_KEY = "ps_sk_test_" + "A" * 30
API_KEY += checksum(API_KEY)
OTHER_KEY = "ps_sk_test_" + "B" * 30
OTHER_KEY += checksum(OTHER_KEY)


@dataclass
class World:
    """The API and all that it stands on."""

    replies: FakeReplies = field(default_factory=FakeReplies)
    fold: FakeFold = field(default_factory=FakeFold)
    events: FakeEvents = field(default_factory=FakeEvents)
    read_model: FakeReadModel = field(default_factory=FakeReadModel)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.log = FakeLog(self.replies, self.fold)
        self.app: Starlette = build_app(
            Dependencies(
                log=self.log,
                replies=self.replies,
                events=self.events,
                read_model=self.read_model,
                keyring=Keyring.of({API_KEY: MERCHANT, OTHER_KEY: "mer_other"}),
                client_secret_key=ClientSecretKey(id="k1", key=b"0123456789abcdef"),
                clock=self.clock,
                route=("cardnet",),
                processors=frozenset({"cardnet"}),
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
def world() -> World:
    """The API on fakes."""
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the demo merchant."""
    async with world.client() as client:
        yield client
