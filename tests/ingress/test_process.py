"""An ingress process from its start to its end, on a machine where nothing else runs."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from tests.ingress.conftest import API_KEY
from tests.ingress.sockets import exchange

pytestmark = pytest.mark.anyio

HEADERS = {"authorization": f"Bearer {API_KEY}", "idempotency-key": "a"}
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
PROGRAM = """
    from ingress.client_secret import ClientSecretKey
    from ingress.server import IngressConfig, serve
    {first}
    serve(IngressConfig(
        host="127.0.0.1", port={port}, kafka_bootstrap="127.0.0.1:1",
        postgres_uri="postgresql://nobody@127.0.0.1:1/nothing", api_keys={{"{key}": "mer_demo"}},
        client_secret_key=ClientSecretKey(id="k1", key=b"0123456789abcdef"), public_url="http://api.test",
    ))
    print("ended in order", flush=True)
"""


@dataclass(frozen=True)
class Process:
    """A process, and where it serves."""

    child: subprocess.Popen[bytes]
    port: int

    async def until_healthy(self) -> None:
        deadline = time.monotonic() + 20
        async with httpx.AsyncClient() as client:
            while True:
                try:
                    answer = await client.get(f"http://127.0.0.1:{self.port}/healthz")
                except httpx.ConnectError:
                    assert time.monotonic() < deadline
                    assert self.child.poll() is None
                    await asyncio.sleep(0.05)
                else:
                    assert answer.status_code == 200
                    return

    async def output(self) -> tuple[bytes, bytes]:
        """What it printed, once it has ended."""
        return await asyncio.to_thread(self.child.communicate, timeout=20)


@contextmanager
def started(first: str = "", *, files: tuple[int, int] | None = None) -> Iterator[Process]:
    """A process that does something else first, and whose limits of open files (soft, hard) are these."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    if files is not None:
        first = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, {files}); {first}"
    program = textwrap.dedent(PROGRAM.format(first=first, port=port, key=API_KEY))
    command = [sys.executable, "-W", "error", "-c", program]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    try:
        yield Process(child, port)
    finally:
        child.kill()
        child.communicate()


async def test_it_is_healthy_but_not_ready_and_ends_in_order() -> None:
    with started() as process:
        await process.until_healthy()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.port}", headers=HEADERS) as client:
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert set(ready.json()["missing"]) == {"log", "replies", "events", "merchants"}
            created = await client.post("/paymentIntent", json={"amount": 1, "currency": "usd"})
            assert created.status_code == 503
            assert created.headers["retry-after"]
        began = time.monotonic()
        process.child.send_signal(signal.SIGTERM)
        output, _ = await process.output()
        assert process.child.returncode == 0
        assert output == b"ended in order\n"
        assert time.monotonic() - began < 8


BUGS = {
    "commands": "from ingress.log import Written; Written.parse = None",
    "replies": "from ingress.replies import KafkaReplies; KafkaReplies._read = None",
    "events": "from ingress import event_log; event_log.KafkaEventLog._count_again_and_again = None",
}


@pytest.mark.parametrize("broken", BUGS)
async def test_a_thread_that_ends_ends_the_process(broken: str) -> None:
    with started(BUGS[broken]) as process:
        began = time.monotonic()
        _, errors = await process.output()
        assert process.child.returncode not in (0, None)
        assert time.monotonic() - began < 15
        assert b"Traceback" in errors
        assert b"IngressFailed: " in errors


async def test_the_limit_of_open_files_is_raised() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with started(files=(300, hard)) as process:
        await process.until_healthy()
        soft, _ = resource.prlimit(process.child.pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, 8192)


async def test_with_few_open_files_it_refuses_and_goes_on() -> None:
    """(376 - 256) / 1.25 = 96 connections are served, 24 more are refused."""
    with started(files=(200, 376)) as process:
        await process.until_healthy()
        held = [await asyncio.open_connection("127.0.0.1", process.port) for _ in range(96)]
        assert (await exchange(process.port, HEALTHZ.replace(b"healthz", b"readyz")))[0] == 503
        many = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", process.port) for _ in range(500)), return_exceptions=True
        )
        await asyncio.sleep(0.5)
        assert process.child.poll() is None
        for one in (*held, *many):
            if isinstance(one, tuple):
                one[1].close()
        await asyncio.sleep(0.5)
        assert (await exchange(process.port, HEALTHZ))[0] == 200
        process.child.send_signal(signal.SIGTERM)
        _, errors = await process.output()
        assert process.child.returncode == 0
        assert b"only 376 files may be open" in errors
        assert b"EMFILE" not in errors
        assert b"Too many open files" not in errors
