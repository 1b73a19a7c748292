"""The API behind uvicorn: what a client can do to the connection itself, and a process from its start to its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import uvicorn

from ingress.protocol import HEAD_BYTES_MAX
from ingress.server import uvicorn_config
from tests.ingress.conftest import API_KEY, World

pytestmark = pytest.mark.anyio

CREATE = b'{"amount": 1999, "currency": "usd"}'
HEAD = (
    b"POST /paymentIntent HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nIdempotency-Key: a\r\n"
    b"Authorization: Bearer " + API_KEY.encode() + b"\r\n"
)


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    config = uvicorn_config(world.app, host="127.0.0.1", port=0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def exchange(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send the parts, as far as the server takes them, and read the answer up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.wait_for(writer.drain(), 10)
            await asyncio.sleep(0)
    except ConnectionError:
        pass  # it was refused, and no longer listened to
    answer = b""
    try:
        while chunk := await asyncio.wait_for(reader.read(65_536), 10):
            answer += chunk
            if b"connection: close" not in answer and b"\r\n\r\n" in answer:
                break
    except ConnectionError:
        pass
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    return int(status_line.split()[1]), headers, body


def assert_problem(answer: tuple[int, dict[str, str], bytes], status: int, code: str) -> None:
    assert answer[0] == status, answer
    assert answer[1]["content-type"] == "application/problem+json"
    assert answer[1]["connection"] == "close"
    assert json.loads(answer[2])["code"] == code


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
    ],
)
async def test_what_is_no_http_is_refused(port: int, request_: bytes) -> None:
    assert_problem(await exchange(port, request_), 400, "request_malformed")


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


class TestProcess:
    """A whole process, on a machine where nothing else runs."""

    @pytest.fixture
    def process(self) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        program = f"""
            from ingress.client_secret import ClientSecretKey
            from ingress.server import IngressConfig, serve
            serve(IngressConfig(
                host="127.0.0.1", port={port}, kafka_bootstrap="127.0.0.1:1",
                postgres_uri="postgresql://nobody@127.0.0.1:1/nothing", api_keys={{"{API_KEY}": "mer_demo"}},
                client_secret_key=ClientSecretKey(id="k1", key=b"0123456789abcdef"), public_url="http://api.test",
            ))
            print("ended in order", flush=True)
        """
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()})
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.communicate()

    async def test_it_is_healthy_but_not_ready_and_ends_in_order(
        self, process: tuple[subprocess.Popen[bytes], str]
    ) -> None:
        child, url = process
        headers = {"authorization": f"Bearer {API_KEY}", "idempotency-key": "a"}
        async with httpx.AsyncClient(base_url=url, headers=headers) as client:
            deadline = time.monotonic() + 20
            while True:
                try:
                    assert (await client.get("/healthz")).status_code == 200
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < deadline
                    assert child.poll() is None
                    await asyncio.sleep(0.05)
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert set(ready.json()["missing"]) == {"log", "replies", "events"}
            created = await client.post("/paymentIntent", json={"amount": 1, "currency": "usd"})
            assert created.status_code == 503
            assert created.headers["retry-after"]
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        output, _ = await asyncio.to_thread(child.communicate, timeout=10)
        assert child.returncode == 0
        assert output == b"ended in order\n"
        assert time.monotonic() - began < 8
