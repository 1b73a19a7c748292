"""Bare aiohttp against the stub: `python -m bench.processing.bare URL --in-flight N --seconds S`.

So many workers ask one after the other, with the body that the adapter sends; the answer is read and decoded, and that
is all. Prints calls a second after a warm-up, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from dataclasses import dataclass

import aiohttp
import msgspec
import uvloop

from bench.memory import peak_bytes

__all__ = ["Bare", "mean_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """What bare aiohttp reached."""

    calls_per_second: float
    cpu_microseconds_per_call: float
    resident_bytes_peak: int


def mean_of(one: Bare, other: Bare) -> Bare:
    """Of two runs of the same length the mean, and the higher peak."""
    return Bare(
        calls_per_second=round((one.calls_per_second + other.calls_per_second) / 2, 1),
        cpu_microseconds_per_call=round((one.cpu_microseconds_per_call + other.cpu_microseconds_per_call) / 2, 1),
        resident_bytes_peak=max(one.resident_bytes_peak, other.resident_bytes_peak),
    )


async def measure(url: str, *, in_flight: int, seconds: float, warm_up_seconds: float) -> Bare:
    """Ask for so long."""
    numbers = itertools.count()
    end = time.monotonic() + warm_up_seconds + seconds
    answered = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        while time.monotonic() < end:
            body = {
                "reference": f"tx_{next(numbers):032x}",
                "payment_intent": "pi_0123456789abcdef0123456789abcdef",
                "amount_minor": 4_999,
                "currency": "eur",
                "token": "ct_0123456789abcdef0123456789abcdef",
                "notify_url": "http://127.0.0.1:9/processor/cardnet/notify?payment_intent=pi_0&transaction=tx_0",
            }
            headers = {"Content-Type": "application/json"}
            async with session.post(f"{url}/authorizations", data=msgspec.json.encode(body), headers=headers) as answer:
                assert msgspec.json.decode(await answer.read())["status"] == "approved"
            answered += 1

    connector = aiohttp.TCPConnector(limit=in_flight)
    timeout = aiohttp.ClientTimeout(total=10.0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        workers = [asyncio.create_task(work(session)) for _ in range(in_flight)]
        await asyncio.sleep(warm_up_seconds)
        before, began, cpu = answered, time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        calls, took, cpu = answered - before, time.monotonic() - began, time.process_time() - cpu
        await asyncio.gather(*workers)
    return Bare(
        calls_per_second=round(calls / took, 1),
        cpu_microseconds_per_call=round(cpu / calls * 1e6, 1),
        resident_bytes_peak=peak_bytes() or 0,
    )


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m bench.processing.bare")
    parser.add_argument("url")
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up-seconds", type=float, default=5.0)
    given = parser.parse_args()
    found = uvloop.run(
        measure(given.url, in_flight=given.in_flight, seconds=given.seconds, warm_up_seconds=given.warm_up_seconds)
    )
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
