"""Requests that are refused whatever their body says: by media type, key, address or method."""

from __future__ import annotations

import json
from urllib.parse import unquote

import httpx
import pytest
from starlette.types import Message

from tests.ingress.conftest import API_KEY, World
from tests.ingress.fakes import an_intent
from tests.ingress.refusals import CANCEL, CREATE, JSON, KEY, TRANSACTION, assert_problem, refused

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json, text/plain",
        "application/jsoncharset=utf-8",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; x",
        "",
    ],
)
async def test_content_type(world: World, client: httpx.AsyncClient, content_type: str) -> None:
    await refused(
        world,
        client,
        json.dumps(CREATE).encode(),
        status=415,
        code="unsupported_media_type",
        headers={"content-type": content_type},
    )


async def test_content_type_missing(world: World, client: httpx.AsyncClient) -> None:
    for url in ("/paymentIntent", CANCEL):
        response = await client.post(url, content=b"{}", headers=KEY)
        assert_problem(response, 415, "unsupported_media_type")
    assert not world.log.commands


async def test_encoded_body(world: World, client: httpx.AsyncClient) -> None:
    content = json.dumps(CREATE).encode()
    headers = {"content-encoding": "gzip"}
    await refused(world, client, content, status=415, code="unsupported_media_type", headers=headers)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json;",
        "application/json ; ;",
        "application/json; charset=utf-8",
        "application/json;;charset=utf-8;",
        'Application/JSON;charset="UTF-8"',
    ],
)
async def test_content_types_that_are_taken(client: httpx.AsyncClient, content_type: str) -> None:
    headers = {**KEY, "content-type": content_type}
    response = await client.post("/paymentIntent", content=json.dumps(CREATE).encode(), headers=headers)
    assert response.status_code == 201, response.text


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {API_KEY}",
        API_KEY,
        f"Bearer {API_KEY[:-1]}",
        f"Bearer {API_KEY[:-6]}000000",
        f"Bearer {API_KEY} x",
        f"Bearer {API_KEY.replace('test', 'live')}",
        "Bearer ps_sk_test_" + "z" * 36,
    ],
)
@pytest.mark.parametrize("method", ["create", "transact", "cancel", "status"])
async def test_wrong_key(world: World, authorization: str | None, method: str) -> None:
    urls = {"create": "/paymentIntent", "transact": TRANSACTION, "cancel": CANCEL}
    headers = {**KEY, **JSON} | ({} if authorization is None else {"authorization": authorization})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app), base_url="http://api.test") as client:
        if method == "status":
            response = await client.get(f"/paymentIntent/{an_intent().id}/status", headers=headers)
        else:
            response = await client.post(urls[method], content=b"{}", headers=headers)
    assert_problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert not world.log.commands
    assert not world.read_model.reads


@pytest.mark.parametrize("id_", ["pi_1", "pi_" + "0" * 31, "pi_" + "G" * 32, "tx_" + "0" * 32, "PI_" + "0" * 32, "x"])
async def test_id_that_is_none(world: World, client: httpx.AsyncClient, id_: str) -> None:
    assert_problem(await client.get(f"/paymentIntent/{id_}/status"), 404, "unknown_payment_intent")
    for verb in ("transaction", "cancel"):
        response = await client.post(f"/paymentIntent/{id_}/{verb}", json={}, headers=KEY)
        assert_problem(response, 404, "unknown_payment_intent")
    assert not world.log.commands


@pytest.mark.parametrize(
    "path",
    [
        "/paymentIntent/pi_%00/status",
        "/paymentIntent/%00",
        "/paymentIntent/../status",
        "/paymentIntent/%2e%2e/status",
        "/paymentIntent/..%2fstatus",
        "/paymentIntent/.%2e/status",
        "/paymentIntent/pi_..1/status",
        "/paymentIntent/%252e%252e/status",
        "/paymentIntent//status",
        "/paymentIntent/a%2Fb/status",
        "/paymentIntent/a%5cb/status",
        "/paymentIntent/%0d%0a/status",
        "/paymentIntent/%C3%A9/status",
    ],
)
async def test_path_with_tricks(world: World, path: str) -> None:
    raw_path = path.encode()
    response = await _raw_get(world, raw_path)
    assert_problem(response, 400, "path_invalid")


async def _raw_get(world: World, raw_path: bytes) -> httpx.Response:
    """A GET of a path as it stands; a client library would tidy it up."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(raw_path.decode()),
        "raw_path": raw_path,
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {API_KEY}".encode())],
    }
    await world.app(scope, receive, send)
    return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=sent[1]["body"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/paymentIntent"),
        ("PUT", "/paymentIntent"),
        ("DELETE", f"/paymentIntent/{an_intent().id}/status"),
        ("POST", f"/paymentIntent/{an_intent().id}/status"),
        ("GET", TRANSACTION),
        ("GET", "/processor/cardnet/notify"),
        ("POST", "/healthz"),
    ],
)
async def test_wrong_method(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"]


@pytest.mark.parametrize("path", ["/", "/paymentIntent/", "/paymentintent", "/paymentIntent/x", "/canary/status"])
async def test_unknown_address(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert_problem(response, 404, "not_found")
    assert "canary" not in response.text


async def test_a_bug_tells_nothing(world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(world.read_model, "read", broken)
    response = await client.get(f"/paymentIntent/{an_intent().id}/status")
    assert_problem(response, 500, "internal_error")
    assert "canary" not in response.text
