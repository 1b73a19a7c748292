"""Readiness probes: each asks one child, over the network, whether it can do its work. Driven by `supervisor`.

A probe answers None when the child is ready, else the reason in a few words; it never raises for a child that is
merely not there yet.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sandbox.stack.spec import Probe

__all__ = ["http_answers", "http_status", "kafka_broker", "postgres", "tcp"]

ANSWER_WITHIN_SECONDS = 2.0


def tcp(port: int, *, host: str = "127.0.0.1") -> Probe:
    """Ready when the port accepts a connection."""

    async def probe() -> str | None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            return _reason(error)
        writer.close()
        return None

    return probe


def http_answers(url: str, *, statuses: frozenset[int] = frozenset({200})) -> Probe:
    """Ready when a GET is answered with one of these statuses."""

    async def probe() -> str | None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                status = await http_status(url)
        except (OSError, TimeoutError, ValueError) as error:
            return _reason(error)
        return None if status in statuses else f"{urlsplit(url).path} answers {status}"

    return probe


async def http_status(url: str) -> int:
    """The status of one GET, without a client library: a probe runs a few times a second for each child."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    reader, writer = await asyncio.open_connection(host, port)
    try:
        path = parts.path or "/"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status_line = (await reader.readline()).split()
    finally:
        writer.close()
    if len(status_line) < 2:
        raise ValueError("no answer")
    return int(status_line[1])


def kafka_broker(bootstrap: str, *, node_id: int) -> Probe:
    """Ready when the broker answers a metadata request and is itself among the brokers in service."""

    def ask() -> str | None:
        client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            brokers = client.list_topics(timeout=ANSWER_WITHIN_SECONDS).brokers
        except KafkaException as error:
            return _reason(error)
        broker = brokers.get(node_id)
        # Until it has registered anew, a restarted broker hands out the address of its former life.
        in_service = broker is not None and f"{broker.host}:{broker.port}" == bootstrap
        return None if in_service else f"broker {node_id} is not in service"

    async def probe() -> str | None:
        connection = await tcp(int(bootstrap.rpartition(":")[2]))()
        return connection or await asyncio.to_thread(ask)

    return probe


def postgres(uri: str) -> Probe:
    """Ready when a connection can be made (PostgreSQL refuses it while it recovers)."""

    async def probe() -> str | None:
        try:
            connection = await psycopg.AsyncConnection.connect(uri, connect_timeout=2)
        except psycopg.OperationalError as error:
            return _reason(error)
        await connection.close()
        return None

    return probe


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
