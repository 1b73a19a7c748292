"""What the flow is given: a stub to call, and events that ask for authorizations, at a pace or all at once."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import httpx
import msgspec
from confluent_kafka import Producer

from bench.fold.mix import Payment
from bench.processing.stub import Served
from schemas.codec import decode, encode
from schemas.payment import PaymentEvent, PaymentIntent
from schemas.times import Micros
from schemas.topics import EVENTS
from topology.domain import decide

__all__ = ["Asked", "Supply", "asked", "lay_down", "stub"]

_LOOK_EVERY_SECONDS = 0.02
_STUB_WITHIN_SECONDS = 30.0
_FIRST_PAYMENT = 50_000_000


class Asked(NamedTuple):
    """An event that asks for an authorization, as it is written."""

    partition: int
    key: str
    value: bytes


@contextlib.contextmanager
def stub(latency_ms: float) -> Iterator[str]:
    """Run the stub; its URL, once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = (sys.executable, "-m", "bench.processing.stub", "--port", str(port), "--latency-ms", str(latency_ms))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _wait_for_stub(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_for_stub(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _STUB_WITHIN_SECONDS
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", port)) != 0:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the stub does not listen")
            time.sleep(_LOOK_EVERY_SECONDS)


def asked(numbers: range) -> list[Asked]:
    """An event for each payment by number. Asked for now: after five minutes none of them is sent any more."""
    made = []
    at = Micros(time.time_ns() // 1000)
    for number in numbers:
        intent: PaymentIntent | None = None
        event: PaymentEvent | None = None
        for stage in (0, 1):
            given = Payment(_FIRST_PAYMENT + number).input(stage, at)
            event = decide(intent, decode(given.value)).events[-1]  # type: ignore[arg-type]
            intent = event.payment_intent
        assert event is not None
        made.append(Asked(given.partition, given.key, encode(event)))
    return made


def lay_down(bootstrap: str, made: Sequence[Asked]) -> None:
    """Append all of them, as fast as the broker takes them."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 2})
    for event in made:
        while True:
            try:
                producer.produce(EVENTS.name, key=event.key, value=event.value, partition=event.partition)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise SystemExit("not all events were written")


class Supply:
    """Gives the flow its events, `ahead` more than the stub has answered, in a thread of its own."""

    def __init__(self, bootstrap: str, url: str, made: Sequence[Asked], *, ahead: int) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 2})
        self._client = httpx.Client(base_url=url, trust_env=False)
        self._made = made
        self._ahead = ahead
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
            until = min(len(self._made), self.served().calls + self._ahead)
            for partition, key, value in self._made[self.given : until]:
                self._producer.produce(EVENTS.name, key=key, value=value, partition=partition)
            self.given = max(self.given, until)
            self._producer.poll(0)
            time.sleep(_LOOK_EVERY_SECONDS)
