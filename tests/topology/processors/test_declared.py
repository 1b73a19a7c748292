"""What a processor declares of itself, at once, later, or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from schemas.processing import CallKind, Outcome
from tests.topology.processors.calls import a_call, departure, run
from tests.topology.processors.fault_server import FaultServer, Request, answering, approved, http, serving
from topology.processors import Capabilities, HttpJsonProcessor, HttpProcessorConfig, declared, http_json

DECLARED = {
    "name": "cardnet",
    "deduplicates": {"authorization": False, "capture": True, "void": True},
    "lookup": False,
    "longest_hold_seconds": 5,
}
CAPABILITIES = Capabilities(
    deduplicates=frozenset({CallKind.capture, CallKind.void}),
    lookup=False,
    deduplication_seconds=60.0,
    longest_hold_seconds=5,
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_json, "_FIRST_ANSWER_SECONDS_MAX", 0.1)
    monkeypatch.setattr(declared, "_RETRY_SECONDS_MIN", 0.02)
    monkeypatch.setattr(declared, "_RETRY_SECONDS_MAX", 0.05)


def asking(base_url: str) -> HttpJsonProcessor:
    return HttpJsonProcessor(
        HttpProcessorConfig(
            name="cardnet", base_url=base_url, public_url="http://ingress.example", deduplication_seconds=60.0
        )
    )


async def until(done: Callable[[], bool]) -> None:
    while not done():
        await asyncio.sleep(0.005)


def answers(request: Request) -> bytes:
    return http(DECLARED) if request.path == "/capabilities" else http(approved(request))


def test_declared_at_once_and_asked_for_once() -> None:
    async def test() -> None:
        async with serving(answering(answers)) as server:
            processor = asking(server.url)
            for _ in range(2):
                await processor.open()
                assert processor.capabilities == CAPABILITIES
                await processor.close()
            assert [request.path for request in server.requests] == ["/capabilities"]

    run(test())


@pytest.mark.parametrize(
    ("body", "status"), [({"error": "x"}, 500), ({"lookup": True}, 200), (b"no JSON", 200), (b"", 404), (DECLARED, 503)]
)
def test_what_is_no_declaration_is_not_believed_and_asked_for_again(body: Any, status: int) -> None:
    async def test() -> None:
        async with serving(answering(lambda _: http(body, status=status))) as server:
            processor = asking(server.url)
            await processor.open()
            assert processor.capabilities is None
            await until(lambda: len(server.requests) >= 4)
            server.behave = answering(answers)
            await until(lambda: processor.capabilities == CAPABILITIES)
            await processor.close()

    run(test())


def test_down_at_the_start_and_up_later() -> None:
    async def test() -> None:
        async with serving(answering(answers)) as gone:
            url = gone.url
        processor = asking(url)
        began = time.monotonic()
        await processor.open()
        assert time.monotonic() - began < 1.0, "nobody waits for it"
        assert processor.capabilities is None
        port = int(url.rpartition(":")[2])
        back = FaultServer(answering(answers))
        server = await asyncio.start_server(back.accept, "127.0.0.1", port)
        await until(lambda: processor.capabilities == CAPABILITIES)
        answer = await processor.authorize(a_call(), departure())
        assert answer.outcome is Outcome.approved
        await processor.close()
        server.close()
        await back.end()

    run(test())


def test_one_that_hangs_holds_up_neither_the_start_nor_the_end() -> None:
    async def hang(_request: Request) -> None:
        await asyncio.sleep(60)

    async def test() -> None:
        async with serving(hang) as server:
            processor = asking(server.url)
            began = time.monotonic()
            await processor.open()
            await processor.close()
            assert time.monotonic() - began < 1.0

    run(test())


def test_after_the_end_it_is_asked_no_more() -> None:
    async def test() -> None:
        async with serving(answering(lambda _: http({}, status=500))) as server:
            processor = asking(server.url)
            await processor.open()
            await processor.close()
            asked = len(server.requests)
            await asyncio.sleep(0.2)
            assert len(server.requests) == asked

    run(test())


def test_it_is_told_once_for_each_cause(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with serving(answering(lambda _: http({}, status=500))) as server:
            processor = asking(server.url)
            await processor.open()
            await until(lambda: len(server.requests) >= 5)
            await processor.close()

    with caplog.at_level("WARNING", logger="paystream.processors"):
        run(test())
    (record,) = caplog.records
    assert "/capabilities: nothing is called there until it answers" in record.getMessage()
