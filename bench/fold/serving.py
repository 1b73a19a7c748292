"""How long a system takes until it serves: from its start, or from its end, to the first event of each shard.

Probes are creates of PaymentIntents that nobody else asks for, one a shard, appended again and again under new ids.
"""

from __future__ import annotations

import itertools
import time

from confluent_kafka import Producer

from bench.fold.latency import EventReader
from bench.fold.mix import PARTITIONS, Payment
from schemas.times import Micros

__all__ = ["Probes"]

_FIRST_PAYMENT = 30_000_000
_EVERY_SECONDS = 0.1


class Probes:
    """Asks every shard again and again, and notes which have answered."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 2})
        self._bootstrap = bootstrap
        self._numbers = itertools.count(_FIRST_PAYMENT)

    def seconds_until_served(self, *, since: float, within_seconds: float = 180.0) -> float:
        """From `since` (time.monotonic) to the moment at which the last shard was served again; raises SystemExit."""
        reader = EventReader(self._bootstrap)
        try:
            shards: dict[str, int] = {}
            while time.monotonic() < since + within_seconds:
                shards |= self._ask()
                time.sleep(_EVERY_SECONDS)
                first: dict[int, float] = {}
                for (intent, _sequence), at in reader.seen().items():
                    if intent in shards:
                        first[shards[intent]] = min(at, first.get(shards[intent], at))
                if len(first) == PARTITIONS:
                    return max(first.values()) - since
        finally:
            reader.close()
        raise SystemExit(f"not all shards are served after {within_seconds:.0f} s")

    def _ask(self) -> dict[str, int]:
        """One create for each shard."""
        asked: dict[int, str] = {}
        at = Micros(time.time_ns() // 1000)
        while len(asked) < PARTITIONS:
            payment = Payment(next(self._numbers))
            given = payment.input(0, at)
            if given.partition not in asked:
                self._producer.produce(given.topic, key=given.key, value=given.value, partition=given.partition)
                asked[given.partition] = str(payment.id)
        self._producer.flush(5)
        return {intent: shard for shard, intent in asked.items()}
