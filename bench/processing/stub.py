"""A processor that approves everything after a while: `python -m bench.processing.stub --port P --latency-ms L`.

Speaks the card network's HTTP API as far as authorizations need it, as cheaply as can be done here: an httptools parser
on a bare protocol, so that what is measured is who calls. `GET /served` tells how many calls were answered, and the
most that were under way at once.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import typing

import httptools
import msgspec
import uvloop

__all__ = ["Served"]


class _Asked(msgspec.Struct, frozen=True):
    reference: str
    amount_minor: int
    currency: str


class Served(msgspec.Struct, frozen=True):
    """What `GET /served` says."""

    calls: int
    in_flight: int
    in_flight_max: int


class _Counts:
    calls = 0
    in_flight = 0
    in_flight_max = 0


_ASKED = msgspec.json.Decoder(_Asked)
_PROMISES = msgspec.json.encode(
    {
        "deduplicates": {"authorization": True, "capture": True, "void": True},
        "lookup": True,
        "longest_hold_seconds": 604_800,
    }
)


class _Connection(asyncio.Protocol):
    """One connection, on which one request follows the other."""

    def __init__(self, counts: _Counts, latency_seconds: float) -> None:
        self._counts = counts
        self._latency_seconds = latency_seconds
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._url = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self._transport = typing.cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url, body, self._url, self._body = self._url, self._body, b"", b""
        if url == b"/authorizations":
            self._counts.in_flight += 1
            self._counts.in_flight_max = max(self._counts.in_flight, self._counts.in_flight_max)
            asyncio.get_running_loop().call_later(self._latency_seconds, self._approve, _ASKED.decode(body))
        elif url == b"/capabilities":
            self._answer(_PROMISES)
        else:
            counts = self._counts
            self._answer(msgspec.json.encode(Served(counts.calls, counts.in_flight, counts.in_flight_max)))

    def _approve(self, asked: _Asked) -> None:
        self._counts.in_flight -= 1
        self._counts.calls += 1
        booked = {
            "reference": asked.reference,
            "type": "authorization",
            "status": "approved",
            "processor_reference": f"stub_{asked.reference}",
            "amount_minor": asked.amount_minor,
            "currency": asked.currency,
        }
        self._answer(msgspec.json.encode(booked))

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            self._transport.write(head + body)


async def _serve(port: int, latency_seconds: float) -> None:
    loop, counts, end = asyncio.get_running_loop(), _Counts(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    server = await loop.create_server(lambda: _Connection(counts, latency_seconds), "127.0.0.1", port, backlog=4_096)
    await end.wait()
    server.close()


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m bench.processing.stub")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency-ms", type=float, required=True)
    given = parser.parse_args()
    uvloop.run(_serve(given.port, given.latency_ms / 1_000))


if __name__ == "__main__":
    main()
