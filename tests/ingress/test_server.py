"""The API behind uvicorn: what a client can do to the connection itself."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from ingress.protocol import HEAD_BYTES_MAX, HEAD_FIELDS_MAX
from tests.ingress.conftest import API_KEY, World
from tests.ingress.sockets import CREATE, HEAD, HEALTHZ, assert_problem, connected, exchange, parsed

pytestmark = pytest.mark.anyio

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


async def test_a_request_is_answered(port: int) -> None:
    sent = HEAD + b"Content-Length: %d\r\n\r\n" % len(CREATE) + CREATE
    status, headers, body = await exchange(port, sent)
    assert status == 201, body
    assert "server" not in headers


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET /payment\x00Intent HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nBroken\r\n\r\n",
        b"POST /paymentIntent HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /paymentIntent HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /paymentIntent HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(port: int, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert_problem(await exchange(port, request_), 400, "request_malformed")
    assert not caplog.records, "whoever calls at will writes no log"


async def test_http_1_0_needs_no_host(port: int) -> None:
    assert (await exchange(port, b"GET /healthz HTTP/1.0\r\n\r\n"))[0] == 200


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_nothing_but_http_1_is_spoken(port: int, protocol: bytes, caplog: pytest.LogCaptureFixture) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n"
    request = HEALTHZ[:-2] + upgrade + b"\r\n"
    async with connected(port) as client:
        for sent in (request, HEALTHZ, request + HEALTHZ, b"", request + request, b""):
            client.writer.write(sent)
            assert parsed(await client.answer())[0] == 200
    assert not caplog.records


@pytest.mark.parametrize("length", [b"Content-Length: 36\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_body_is_not_the_next_request(port: int, length: bytes) -> None:
    """httptools reads no body of a request that asks for another protocol."""
    request = HEALTHZ[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + length + b"\r\n"
    async with connected(port) as client:
        client.writer.write(request + HEALTHZ)
        assert_problem(parsed(await client.rest()), 400, "request_malformed")


@pytest.mark.parametrize("path", [b"/paymentIntent/../x", b"/paymentIntent/%00/status", b"//paymentIntent"])
async def test_a_path_with_tricks_is_refused(port: int, path: bytes) -> None:
    status, headers, body = await exchange(port, b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status == 400
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == "path_invalid"


@pytest.mark.parametrize("head", ["many headers", "one header", "a path"])
async def test_a_head_without_end_is_refused(port: int, head: str) -> None:
    start = b"GET /healthz HTTP/1.1\r\n"
    part = b"X-Name: " + b"v" * 1000 + b"\r\n"
    if head == "one header":
        start, part = start + b"X-Name: ", b"v" * 1000
    elif head == "a path":
        start, part = b"GET /", b"v" * 1000
    answer = await exchange(port, start, *([part] * (2 * HEAD_BYTES_MAX // 1000)))
    assert_problem(answer, 431, "headers_too_large")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Name: " + b"v" * 40_000,
        b"GET /healthz?" + b"v" * 40_000 + b" HTTP/1.1\r\nHost: a",
        b"GET /healthz HTTP/1.1\r\nHost: a" + b"\r\nX: a" * 10_000,
        b"GET /healthz HTTP/1.1\r\nHost: a" + b"\r\nX: a" * HEAD_FIELDS_MAX,
    ],
)
async def test_a_large_head_is_refused_though_it_ends(port: int, head: bytes) -> None:
    assert_problem(await exchange(port, head + b"\r\n\r\n"), 431, "headers_too_large")


async def test_a_head_may_be_nearly_as_large(port: int) -> None:
    padding = b"v" * (HEAD_BYTES_MAX - 2_000)
    head = HEAD + b"X-Name: " + padding + b"\r\n" + b"X: a\r\n" * (HEAD_FIELDS_MAX - 10) + CHUNKED
    for split in (1, len(head) - 1, len(head)):
        async with connected(port) as client:
            client.writer.write(head[:split])
            await asyncio.sleep(0.05)
            client.writer.write(head[split:] + b"%x\r\n" % len(CREATE) + CREATE + b"\r\n0\r\n\r\n")
            assert parsed(await client.answer())[0] == 201


@pytest.mark.parametrize("start", [b"1;", b"1;a=", b"0\r\n", b"0\r\nX: "])
@pytest.mark.parametrize("part", [b"X-Name: v\r\n" * 100, b"v" * 1_000])
async def test_what_surrounds_a_body_without_end_is_refused(world: World, port: int, start: bytes, part: bytes) -> None:
    if start.startswith(b"1") or start.endswith(b" "):
        part = part.replace(b"\r\n", b"").replace(b": ", b"")
    elif b": " not in part:
        start += part + b":"
    answer = await exchange(port, HEAD + CHUNKED + start, *([part] * (2 * HEAD_BYTES_MAX // len(part))))
    assert_problem(answer, 431, "headers_too_large")
    assert not world.log.commands


async def test_a_body_excuses_no_trailers(port: int) -> None:
    chunk = b"ea60\r\n" + b" " * 60_000 + b"\r\n"
    async with connected(port) as client:
        client.writer.write(HEAD + CHUNKED + chunk)
        await asyncio.sleep(0.1)
        client.writer.write(b"0\r\nX: " + b"v" * (HEAD_BYTES_MAX + 1_000))
        assert_problem(parsed(await client.rest()), 431, "headers_too_large")


async def test_an_answered_request_without_end_ends_too(port: int) -> None:
    async with connected(port) as client:
        client.writer.write(HEALTHZ[:-2] + CHUNKED + b"0\r\n")
        assert parsed(await client.answer())[0] == 200
        client.writer.write(b"X-Name: v\r\n" * 10_000)
        assert await client.rest() == b"", "one request, one answer"


async def test_trailers_are_no_headers(world: World, port: int) -> None:
    head = HEAD.replace(b"Idempotency-Key: a\r\n", b"") + CHUNKED
    chunk = b"%x\r\n" % len(CREATE) + CREATE + b"\r\n"
    answer = await exchange(port, head + chunk + b"0\r\nIdempotency-Key: b\r\n\r\n")
    assert json.loads(answer[2])["code"] == "idempotency_key_missing"
    trailer = b"0\r\nAuthorization: Bearer " + API_KEY.encode() + b"\r\n\r\n"
    assert (await exchange(port, HEAD + CHUNKED + chunk + trailer))[0] == 201
    assert len(world.log.commands) == 1


@pytest.mark.parametrize(("size", "length"), [(1, 3_000), (100, 60_000)])
async def test_a_body_may_come_in_many_chunks(port: int, size: int, length: int) -> None:
    body = CREATE + b" " * (length - len(CREATE))
    chunks = [b"%x\r\n" % size + body[at : at + size] + b"\r\n" for at in range(0, length, size)]
    async with connected(port) as client:
        client.writer.write(HEAD + CHUNKED)
        for first in range(0, len(chunks), 50):
            client.writer.write(b"".join(chunks[first : first + 50]))
            await client.writer.drain()
            await asyncio.sleep(0.001)
        client.writer.write(b"0\r\n\r\n")
        assert parsed(await client.answer())[0] == 201


async def test_a_large_body_is_refused_by_its_length(world: World, port: int) -> None:
    answer = await exchange(port, HEAD + b"Content-Length: 10000000\r\n\r\n", *([b"x" * 100_000] * 100))
    assert_problem(answer, 413, "body_too_large")
    assert not world.log.commands


async def test_a_body_without_end_is_refused(world: World, port: int) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = await exchange(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *([chunk] * 1000))
    assert_problem(answer, 413, "body_too_large")
    assert not world.log.commands


async def test_a_body_that_does_not_come_is_refused(world: World, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress.requests.BODY_TIMEOUT_SECONDS", 0.2)
    answer = await exchange(port, HEAD + b"Content-Length: 100\r\n\r\n", b"{")
    assert_problem(answer, 408, "body_timeout")
    assert not world.log.commands


async def test_a_client_that_goes_away_in_the_middle_does_no_harm(world: World, port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await asyncio.sleep(0.1)
    assert not world.log.commands
    assert (await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"))[0] == 200


async def test_requests_in_a_row_each_have_a_head_of_their_own(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(5):
            response = await client.get("/healthz", headers={"x-name": "v" * 10_000})
            assert response.status_code == 200
