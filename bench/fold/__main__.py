"""`make bench-fold`: the payments fold beside a Kafka Streams and a Quix Streams application that do the same work.

For each system, on a broker of its own: what it says is held against what Paystream says; start; memory of live
intents; restart with them; throughput; latency. Prints one table with ratios, writes `bench/results/fold.json` and the
table in `bench/README.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.fold.broker import broker
from bench.fold.drain import Drained, drain
from bench.fold.feed import Feed
from bench.fold.latency import Latency, measure_latency
from bench.fold.mix import PARTITIONS, STAGES, Input, Payment, stage
from bench.fold.peers import Peer, kafka_streams, paystream, quix_streams
from bench.fold.report import table, write_table
from bench.fold.serving import Probes
from bench.parity import Said, differences, said
from schemas.codec import Record
from schemas.commands import CommandReply
from schemas.payment import PaymentEvent
from schemas.times import Micros

RESULTS = Path(__file__).parents[1] / "results" / "fold.json"

_LIVE_INTENTS = 100_000
_LIVE_FIRST = 10_000_000
_PARITY = range(40_000_000, 40_001_000)
"""Payments that all systems are given just the same, to the microsecond of their time."""
_WARM_UP_INTENTS = 20_000
_COMMANDS_PER_SECOND = 2_000
_STARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that was measured of one system."""

    drained: Drained
    latency: Latency
    start_seconds: list[float]
    """From the start of the process on next to empty topics to the first event of each shard; not its first start."""
    restart_seconds: list[float]
    """The same with the live intents, and whatever state it keeps on disk gone."""
    restore_seconds_per_100k: float
    """By the medians of the two."""
    memory_bytes_per_live_intent: int


def measure(peer: Peer, directory: Path, *, at: Micros, commands: int, seconds: float) -> tuple[Measured, Said]:
    """One system, from an empty broker to its figures, and what it said of the payments that all are given."""
    log = directory / f"{peer.name}.log"
    with broker() as bootstrap:
        feed, probes = Feed(bootstrap, peer.group), Probes(bootstrap)
        # The first start of all also waits for a broker that is new to its topics.
        _, *start_seconds = [_start_and_stop(peer, bootstrap, log, probes) for _ in range(1 + _STARTS)]
        with peer.running(bootstrap, log) as running:
            probes.seconds_until_served(since=time.monotonic())
            for number in range(STAGES):
                feed.fold(stage(number, _PARITY, at))
            told = _of_all(said(bootstrap, partitions=PARTITIONS))
            feed.fold(_live(range(_LIVE_FIRST - _WARM_UP_INTENTS, _LIVE_FIRST)))
            before = running.memory_bytes()
            feed.fold(_live(range(_LIVE_FIRST, _LIVE_FIRST + _LIVE_INTENTS)))
            memory = (running.memory_bytes() - before) / _LIVE_INTENTS
        restart_seconds = [_start_and_stop(peer, bootstrap, log, probes) for _ in range(_STARTS)]
        with peer.running(bootstrap, log) as running:
            probes.seconds_until_served(since=time.monotonic())
            drained = drain(running, feed, commands=commands)
            latency = measure_latency(
                bootstrap, commands_per_second=_COMMANDS_PER_SECOND, seconds=seconds, warm_up_seconds=seconds / 4
            )
        feed.close()
    live = _LIVE_INTENTS + _WARM_UP_INTENTS
    restore_seconds = statistics.median(restart_seconds) - statistics.median(start_seconds)
    return Measured(
        drained=drained,
        latency=latency,
        start_seconds=start_seconds,
        restart_seconds=restart_seconds,
        restore_seconds_per_100k=round(restore_seconds * 100_000 / live, 2),
        memory_bytes_per_live_intent=round(memory),
    ), told


def _start_and_stop(peer: Peer, bootstrap: str, log: Path, probes: Probes) -> float:
    """How long it takes from a start until all shards are served."""
    began = time.monotonic()
    with peer.running(bootstrap, log):
        return round(probes.seconds_until_served(since=began), 2)


def _of_all(told: Said) -> Said:
    """What was said of the payments that all are given, and not of the probes."""
    given = {str(Payment(number).id) for number in _PARITY}
    return {key: records for key, records in told.items() if all(_intent_of(record) in given for record in records)}


def _intent_of(record: Record) -> str:
    if isinstance(record, PaymentEvent):
        return record.payment_intent.id
    assert isinstance(record, CommandReply)
    return record.payment_intent_id


def _live(numbers: range) -> Iterator[Input]:
    """Payments that are created and attempted: one Transaction each, and two metadata pairs."""
    at = Micros(time.time_ns() // 1000)
    for number in (0, 1):
        yield from stage(number, numbers, at)


def results(measured: dict[str, Measured], shape: dict[str, Any]) -> dict[str, Any]:
    """What is written: by figure and system, Paystream's own restore and memory by themselves, and all else in full."""
    ours = measured["paystream"]
    return {
        "commands_per_second": {name: one.drained.commands_per_second for name, one in measured.items()},
        "cpu_microseconds_per_command": {
            name: one.drained.cpu_microseconds_per_command for name, one in measured.items()
        },
        "latency_p50_ms": {name: one.latency.p50_ms for name, one in measured.items()},
        "latency_p99_ms": {name: one.latency.p99_ms for name, one in measured.items()},
        "restore_seconds_per_100k": ours.restore_seconds_per_100k,
        "memory_bytes_per_live_intent": ours.memory_bytes_per_live_intent,
        "shape": shape,
        "systems": {name: asdict(one) for name, one in measured.items()},
    }


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--commands-quix", type=int, default=100_000, help="no code of it is compiled while it runs")
    parser.add_argument("--seconds", type=float, default=30.0, help="of inputs at 2,000 a second for the latency")
    parser.add_argument("--systems", default="paystream,kafka_streams,quix_streams")
    given = parser.parse_args()
    peers = {"paystream": paystream, "kafka_streams": kafka_streams, "quix_streams": quix_streams}
    measured: dict[str, Measured] = {}
    told: dict[str, Said] = {}
    at = Micros(time.time_ns() // 1000)
    with tempfile.TemporaryDirectory() as directory:
        for name in given.systems.split(","):
            sys.stderr.write(f"{name} …\n")
            commands = given.commands_quix if name == "quix_streams" else given.commands
            measured[name], told[name] = measure(
                peers[name](), Path(directory), at=at, commands=commands, seconds=given.seconds
            )
            unlike = differences(told["paystream"], told[name])
            if unlike:
                raise SystemExit("\n".join([f"{name} says something else:", *unlike[:20]]))
    shape = {
        "partitions": PARTITIONS,
        # Paystream commits once the commit before is decided.
        "commit_interval_ms": {"paystream": 0, "kafka_streams": 50, "quix_streams": 50},
        "latency_commands_per_second": _COMMANDS_PER_SECOND,
        "live_intents": _LIVE_INTENTS,
    }
    found = results(measured, shape)
    sys.stdout.write(table(found))
    if set(measured) == set(peers):
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        write_table("fold", table(found))


if __name__ == "__main__":
    main()
