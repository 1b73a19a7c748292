"""Latency: from an input's append to the moment at which a committed reader has the event that it led to.

Inputs are appended one by one at their times, whatever the system does meanwhile; the stages of a payment are a while
apart. An input is known again by PaymentIntent and sequence: the first event that it makes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median, quantiles

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bench.fold.mix import PARTITIONS, STAGES, Input, Payment
from schemas.codec import decode
from schemas.payment import PaymentEvent
from schemas.times import Micros
from schemas.topics import EVENTS

__all__ = ["EventReader", "Latency", "measure_latency"]

_FIRST_SEQUENCES = (1, 2, 3, 5)
"""By stage, the sequence of the first event that an input makes."""
_SECONDS_BETWEEN_STAGES = 1.0
_FIRST_PAYMENT = 20_000_000
_SETTLE_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds from append to committed event, over so many inputs; `missing` never led to an event in time."""

    inputs: int
    missing: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class EventReader:
    """Reads committed events from where they end now, and notes when each came."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "bench-latency",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "log_level": 2,
            }
        )
        # The end as an uncommitted reader sees it would do as well: nothing is under way.
        places = [TopicPartition(EVENTS.name, number) for number in range(PARTITIONS)]
        for place in places:
            place.offset = self._end(place)
        self._consumer.assign(places)
        self._came: deque[tuple[float, bytes]] = deque()
        self._seen: dict[tuple[str, int], float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _end(self, place: TopicPartition) -> int:
        """Asked again while a topic that was just created has no leader."""
        until = time.monotonic() + 20
        while True:
            try:
                return self._consumer.get_watermark_offsets(place, timeout=10, cached=False)[1]
            except KafkaException:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def close(self) -> None:
        """Read no further."""
        self._stopped.set()
        self._thread.join()
        self._consumer.close()

    def seen(self) -> dict[tuple[str, int], float]:
        """When each event that has come by now came, by PaymentIntent and sequence.

        It is decoded here: while the thread that reads decodes, it does not read.
        """
        while self._came:
            at, value = self._came.popleft()
            event = decode(value)
            assert isinstance(event, PaymentEvent)
            self._seen.setdefault((event.payment_intent.id, event.sequence), at)
        return self._seen

    def _read(self) -> None:
        while not self._stopped.is_set():
            messages = self._consumer.consume(1, 0.05)
            if messages:
                messages += self._consumer.consume(1_000, 0)
                now = time.monotonic()
                self._came.extend((now, value) for message in messages if isinstance(value := message.value(), bytes))


def measure_latency(bootstrap: str, *, commands_per_second: int, seconds: float, warm_up_seconds: float) -> Latency:
    """Append at that rate for so long; what was appended in the warm-up is not counted."""
    reader = EventReader(bootstrap)
    # As ingress has it.
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "log_level": 2})
    appended: dict[tuple[str, int], float] = {}
    plan = list(_plan(commands_per_second, seconds))
    began = time.monotonic() + 0.5
    for due, place, given in plan:
        ahead = began + due - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        appended[place] = time.monotonic()
        producer.produce(given.topic, key=given.key, value=given.value, partition=given.partition)
        producer.poll(0)
    producer.flush(10)
    counted = {place: at for place, at in appended.items() if at > began + warm_up_seconds}
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        time.sleep(_LOOK_EVERY_SECONDS)
        seen = reader.seen()
        if time.monotonic() > deadline or counted.keys() <= seen.keys():
            break
    reader.close()
    took = [(seen[place] - at) * 1_000 for place, at in counted.items() if place in seen]
    if len(took) < 100:
        raise SystemExit(f"only {len(took)} of {len(counted)} inputs led to an event")
    return Latency(
        inputs=len(counted),
        missing=len(counted) - len(took),
        p50_ms=round(median(took), 1),
        p99_ms=round(quantiles(took, n=100)[98], 1),
        max_ms=round(max(took), 1),
    )


def _plan(commands_per_second: int, seconds: float) -> Iterator[tuple[float, tuple[str, int], Input]]:
    """When which input is due, in seconds, and the event by which it is known again."""
    payments_per_second = commands_per_second / STAGES
    at = Micros(time.time_ns() // 1000)
    planned = []
    for number in range(round(seconds * payments_per_second)):
        payment = Payment(_FIRST_PAYMENT + number)
        for stage, sequence in enumerate(_FIRST_SEQUENCES):
            due = number / payments_per_second + stage * _SECONDS_BETWEEN_STAGES
            planned.append((due, (str(payment.id), sequence), payment.input(stage, at)))
    planned.sort(key=lambda entry: entry[0])
    yield from planned
