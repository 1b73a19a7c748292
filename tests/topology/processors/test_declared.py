"""What a processor declares of itself, or does not."""

from __future__ import annotations

import asyncio

import pytest

from schemas.processing import CallKind
from tests.topology.processors.calls import run
from tests.topology.processors.fault_server import answering, http, serving
from topology.processors import Capabilities, CapabilitiesUnknown, declared_capabilities


def ask(body: object, *, status: int = 200) -> Capabilities:
    async def test() -> Capabilities:
        async with serving(answering(lambda _: http(body, status=status))) as server:
            return await asyncio.to_thread(
                declared_capabilities, server.url, deduplication_seconds=60.0, timeout_seconds=0.6
            )

    return run(test())


def test_declared() -> None:
    capabilities = ask(
        {
            "name": "cardnet",
            "deduplicates": {"authorization": False, "capture": True, "void": True},
            "lookup": False,
            "longest_hold_seconds": 5,
        }
    )
    assert capabilities == Capabilities(
        deduplicates=frozenset({CallKind.capture, CallKind.void}),
        lookup=False,
        deduplication_seconds=60.0,
        longest_hold_seconds=5,
    )


@pytest.mark.parametrize(
    ("body", "status"), [({"error": "x"}, 500), ({"lookup": True}, 200), (b"no JSON", 200), (b"", 404)]
)
def test_not_declared(body: object, status: int) -> None:
    with pytest.raises(CapabilitiesUnknown, match="/capabilities"):
        ask(body, status=status)


def test_nobody_there() -> None:
    with pytest.raises(CapabilitiesUnknown, match="ClientConnectorError"):
        declared_capabilities("http://127.0.0.1:1", deduplication_seconds=60.0, timeout_seconds=0.3)
