"""`make bench-processing`: calls a second of one `paystream flow processing`, beside bare aiohttp and the same stub.

A broker, a stub that approves after 200 ms, and one process of the flow with 2,000 calls in flight at most. Events that
ask for authorizations lie ready, always some thousands more than are answered, and never more than may wait. A call
counts once its result has committed. Prints one table, writes `bench/results/processing.json` and the table in
`bench/README.md`; exits with 1 where less was reached than is wanted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.fold.broker import broker
from bench.fold.mix import PARTITIONS, Payment
from bench.fold.peers import Peer, Running
from bench.fold.report import write_table
from bench.processing.bare import Bare
from bench.processing.stub import Served
from schemas.codec import decode, encode
from schemas.payment import PaymentEvent, PaymentIntent
from schemas.processing import Outcome, ProcessorResult
from schemas.times import Micros
from schemas.topics import EVENTS, PROCESSOR_RESULTS
from topology.domain import decide

RESULTS = Path(__file__).parents[1] / "results" / "processing.json"
CALLS_PER_SECOND_WANTED = 2_000
RATIO_WANTED = 0.6

_IN_FLIGHT = 2_000
_LATENCY_MS = 200.0
_AHEAD = 3 * _IN_FLIGHT
"""How many more events are given than calls have been answered; far fewer than may wait."""
_LOOK_EVERY_SECONDS = 0.02
_READY_WITHIN_SECONDS = 60.0
_FIRST_PAYMENT = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the flow reached: calls with a committed result, in the time after the warm-up."""

    calls_per_second: float
    cpu_microseconds_per_call: float
    in_flight_max: int
    resident_bytes_begin: int
    resident_bytes_peak: int
    calls: int


@contextlib.contextmanager
def stub(latency_ms: float) -> Iterator[str]:
    """Run the stub; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = (sys.executable, "-m", "bench.processing.stub", "--port", str(port), "--latency-ms", str(latency_ms))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def events(count: int) -> list[tuple[int, str, bytes]]:
    """Events that ask for an authorization each, as (partition, key, value)."""
    made = []
    at = Micros(time.time_ns() // 1000)
    for number in range(_FIRST_PAYMENT, _FIRST_PAYMENT + count):
        intent: PaymentIntent | None = None
        event: PaymentEvent | None = None
        for stage in (0, 1):
            given = Payment(number).input(stage, at)
            event = decide(intent, decode(given.value)).events[-1]  # type: ignore[arg-type]
            intent = event.payment_intent
        assert event is not None
        made.append((given.partition, given.key, encode(event)))
    return made


class Supply:
    """Gives the flow its events, so many ahead of what the stub has answered, in a thread of its own."""

    def __init__(self, bootstrap: str, url: str, made: list[tuple[int, str, bytes]]) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 2})
        self._client = httpx.Client(base_url=url, trust_env=False)
        self._made = made
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._give)
        self.given = 0

    def __enter__(self) -> Supply:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.close()

    def stop(self) -> None:
        """Give no more."""
        self._stopped.set()
        self._thread.join()
        self._producer.flush(30)

    def served(self) -> Served:
        """What the stub says."""
        return msgspec.json.decode(self._client.get("/served").content, type=Served)

    def _give(self) -> None:
        while not self._stopped.is_set():
            until = min(len(self._made), self.served().calls + _AHEAD)
            for partition, key, value in self._made[self.given : until]:
                self._producer.produce(EVENTS.name, key=key, value=value, partition=partition)
            self.given = max(self.given, until)
            self._producer.poll(0)
            time.sleep(_LOOK_EVERY_SECONDS)


def measure(*, seconds: float, warm_up_seconds: float, events_max: int) -> tuple[Measured, Bare]:
    """Bare aiohttp and the flow, one after the other against one stub."""
    with stub(_LATENCY_MS) as url:
        bare = measure_bare(url, seconds=seconds, warm_up_seconds=warm_up_seconds)
    made = events(events_max)
    with tempfile.TemporaryDirectory() as directory, broker() as bootstrap, stub(_LATENCY_MS) as url:
        environment = {
            "PAYSTREAM_PARTITIONS": str(PARTITIONS),
            "PAYSTREAM_CARD_NETWORK_URL": url,
            "PAYSTREAM_PUBLIC_URL": "http://127.0.0.1:9",
            "PAYSTREAM_CALLS_IN_FLIGHT": str(_IN_FLIGHT),
        }
        command = (sys.executable, "-m", "paystream", "flow", "processing")
        peer = Peer("processing", "processing", command, environment)
        with peer.running(bootstrap, Path(directory) / "log") as running, Supply(bootstrap, url, made) as supply:
            _wait_for_calls(supply, running)
            time.sleep(warm_up_seconds)
            began, cpu, resident = time.time(), running.cpu_seconds(), [running.memory_bytes()]
            for _ in range(round(seconds)):
                time.sleep(1.0)
                resident.append(running.memory_bytes())
            ended, cpu = time.time(), running.cpu_seconds() - cpu
            if supply.given == len(made):
                raise SystemExit("the events ran out: give more with --events")
            supply.stop()
            results = _results(bootstrap, supply.given)
            in_flight_max = supply.served().in_flight_max
    outcomes = Counter(result.outcome for _at, result in results)
    if outcomes != {Outcome.approved: supply.given}:
        raise SystemExit(f"of {supply.given} calls came {dict(outcomes)}")
    calls = sum(began <= at < ended for at, _result in results)
    return Measured(
        calls_per_second=round(calls / (ended - began), 1),
        cpu_microseconds_per_call=round(cpu / calls * 1e6, 1),
        in_flight_max=in_flight_max,
        resident_bytes_begin=resident[0],
        resident_bytes_peak=max(resident),
        calls=calls,
    ), bare


def measure_bare(url: str, *, seconds: float, warm_up_seconds: float) -> Bare:
    """In a process of its own, as the flow is."""
    options = ("--in-flight", str(_IN_FLIGHT), "--seconds", str(seconds), "--warm-up-seconds", str(warm_up_seconds))
    command = (sys.executable, "-m", "bench.processing.bare", url, *options)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return msgspec.json.decode(output, type=Bare)


def _wait_for_calls(supply: Supply, running: Running) -> None:
    """Until the first call has been answered."""
    until = time.monotonic() + _READY_WITHIN_SECONDS
    while supply.served().calls == 0:
        if running.process.poll() is not None or time.monotonic() > until:
            raise SystemExit("the flow makes no calls")
        time.sleep(0.1)


def _results(bootstrap: str, count: int) -> list[tuple[float, ProcessorResult]]:
    """All results, each with the time at which it was appended, once there are so many."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-unused",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )
    consumer.assign([TopicPartition(PROCESSOR_RESULTS.name, number, 0) for number in range(PARTITIONS)])
    found: list[tuple[float, ProcessorResult]] = []
    until = time.monotonic() + _READY_WITHIN_SECONDS
    while len(found) < count and time.monotonic() < until:
        for message in consumer.consume(10_000, 1.0):
            if message.error() is None:
                record = decode(message.value() or b"")
                assert isinstance(record, ProcessorResult)
                found.append((message.timestamp()[1] / 1_000, record))
    consumer.close()
    return found


def table(measured: Measured, bare: Bare) -> str:
    """Markdown."""
    ratio = measured.calls_per_second / bare.calls_per_second
    held = {True: "held", False: "**missed**"}
    enough, close = measured.calls_per_second >= CALLS_PER_SECOND_WANTED, ratio >= RATIO_WANTED
    rows = (
        ("", "paystream flow processing", "bare aiohttp", "ratio", "wanted"),
        ("---",) * 5,
        (
            "calls a second",
            f"{measured.calls_per_second:,.0f}",
            f"{bare.calls_per_second:,.0f}",
            f"{ratio:.2f}",
            f"at least {CALLS_PER_SECOND_WANTED:,}: {held[enough]}; at least {RATIO_WANTED} of bare: {held[close]}",
        ),
        (
            "CPU µs a call",
            f"{measured.cpu_microseconds_per_call:,.0f}",
            f"{bare.cpu_microseconds_per_call:,.0f}",
            f"{measured.cpu_microseconds_per_call / bare.cpu_microseconds_per_call:.2f}",
            "",
        ),
        (
            "resident, MB at most",
            f"{measured.resident_bytes_peak / 1e6:,.0f}",
            f"{bare.resident_bytes_peak / 1e6:,.0f}",
            "",
            "bounded",
        ),
    )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--warm-up-seconds", type=float, default=10.0)
    parser.add_argument("--events", type=int, default=250_000)
    given = parser.parse_args()
    measured, bare = measure(seconds=given.seconds, warm_up_seconds=given.warm_up_seconds, events_max=given.events)
    found = {"in_flight": _IN_FLIGHT, "latency_ms": _LATENCY_MS, "paystream": asdict(measured), "bare": asdict(bare)}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(table(measured, bare))
    write_table("processing", table(measured, bare))
    ratio = measured.calls_per_second / bare.calls_per_second
    sys.exit(measured.calls_per_second < CALLS_PER_SECOND_WANTED or ratio < RATIO_WANTED)


if __name__ == "__main__":
    main()
