"""Whatever is sent: never a 5xx, always a problem document."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingress.conftest import World
from tests.ingress.fakes import an_intent

URLS = (
    "/paymentIntent",
    f"/paymentIntent/{an_intent().id}/transaction",
    f"/paymentIntent/{an_intent().id}/cancel",
    f"/processor/cardnet/notify?payment_intent={an_intent().id}&transaction=tx_{'0' * 32}",
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
names = st.sampled_from(
    ["amount", "currency", "capture_method", "description", "metadata", "type", "payment_method", "reference"]
)
values = st.sampled_from([1999, "usd", "manual", {"a": "b"}, "capture", "void", "tok_visa", "tx_" + "0" * 32])
nearly_right = st.dictionaries(names, values | anything) | st.builds(
    lambda rest: {"amount": 1999, "currency": "usd", **rest}, st.dictionaries(names, values | anything, max_size=3)
)
bodies = st.binary() | (anything | nearly_right).map(lambda value: json.dumps(value).encode())
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=300).map(
    lambda text: text.encode("latin-1")
)


def send(url: str, content: bytes, headers: dict[str, bytes]) -> tuple[World, httpx.Response]:
    world = World()
    world.fold.intents[an_intent().id] = an_intent()

    async def post() -> httpx.Response:
        async with world.client() as client:
            raw = {"content-type": b"application/json", "idempotency-key": b"a", "prefer": b"wait=0", **headers}
            pairs: list[tuple[bytes, bytes]] = [(name.encode(), value) for name, value in raw.items()]
            return await client.post(url, content=content, headers=pairs)

    return world, asyncio.run(post())


def assert_an_answer(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = response.json()
        assert problem["status"] == response.status_code


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(url=st.sampled_from(URLS), content=bodies)
def test_any_body(url: str, content: bytes) -> None:
    world, response = send(url, content, {})
    assert_an_answer(response)
    assert world.log.commands or response.status_code in (202, 400, 404, 413), response.text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(["idempotency-key", "prefer", "authorization", "content-type", "content-length", "x-other"]),
    value=header_values,
)
def test_any_header(name: str, value: bytes) -> None:
    _, response = send(URLS[0], b'{"amount": 1999, "currency": "usd"}', {name: value})
    assert_an_answer(response)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(id_=st.text(min_size=1, max_size=50))
def test_any_id(id_: str) -> None:
    world = World()

    async def get() -> httpx.Response:
        async with world.client() as client:
            return await client.get(f"/paymentIntent/{quote(id_, safe='')}/status")

    response = asyncio.run(get())
    assert_an_answer(response)
    assert response.status_code in (400, 404)


@pytest.mark.parametrize("depth", [100, 1_000, 30_000])
def test_depth(depth: int) -> None:
    for url in URLS:
        for content in (b"[" * depth, b'{"metadata":' * depth, b'{"description":' + b"[" * depth + b"]" * depth + b"}"):
            _, response = send(url, content, {})
            assert_an_answer(response)
            assert response.status_code in (400, 413)
