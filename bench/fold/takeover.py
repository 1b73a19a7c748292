"""How long shards are not served: `make bench-takeover`.

100,000 live PaymentIntents, 1,000,000 changelog records behind them, 12 shards, one broker. An owner is killed and
stays away; is killed and started again at once; is stopped cleanly and started again. Measured from the signal to the
moment at which every shard has answered a command that was given after it. Writes `bench/results/takeover.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from confluent_kafka import Producer
from msgspec.structs import replace

from bench.fold.broker import broker
from bench.fold.mix import PARTITIONS, Payment
from bench.fold.peers import Peer, Running, paystream
from bench.fold.serving import Probes
from schemas.codec import decode, encode
from schemas.partitioner import partition
from schemas.payment import PaymentIntent
from schemas.times import Micros
from schemas.topics import INTENTS
from topology.domain import decide

RESULTS = Path(__file__).parents[1] / "results" / "takeover.json"
LIVE_INTENTS = 100_000
RECORDS_PER_INTENT = 10
RECORDS_PER_EPOCH = 500
"""A full epoch has a thousand inputs, of some two for each intent that they change."""


def live_intents() -> Iterator[PaymentIntent]:
    """PaymentIntents with one Transaction and two metadata pairs, as the fold leaves them after an attempt."""
    at = Micros(time.time_ns() // 1000)
    for number in range(LIVE_INTENTS):
        intent: PaymentIntent | None = None
        for stage in (0, 1):
            given = decode(Payment(number).input(stage, at).value)
            intent = decide(intent, given).events[-1].payment_intent  # type: ignore[arg-type]
        assert intent is not None
        yield intent


def fill_changelog(bootstrap: str) -> int:
    """Write the changelog of that many intents, in transactions as epochs make them; how many records there are."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": "takeover",
            "linger.ms": 20,
            "compression.type": "lz4",
            "log_level": 2,
        }
    )
    producer.init_transactions(30)
    intents = list(live_intents())
    for sequence in range(1, RECORDS_PER_INTENT + 1):
        for first in range(0, len(intents), RECORDS_PER_EPOCH):
            producer.begin_transaction()
            for intent in intents[first : first + RECORDS_PER_EPOCH]:
                value = encode(replace(intent, sequence=sequence))
                producer.produce(INTENTS.name, key=intent.id, value=value, partition=partition(intent.id, PARTITIONS))
            producer.commit_transaction(30)
    return len(intents) * RECORDS_PER_INTENT


class Owners:
    """Processes of the flow, by instance."""

    def __init__(self, bootstrap: str, log: Path) -> None:
        self._bootstrap = bootstrap
        self._log = log
        self._stack = contextlib.ExitStack()
        self.probes = Probes(bootstrap)

    def __enter__(self) -> Owners:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, instance: str) -> Running:
        """One more process."""
        peer = paystream()
        named = Peer(peer.name, peer.group, peer.command, {**peer.environment, "PAYSTREAM_INSTANCE": instance})
        return self._stack.enter_context(named.running(self._bootstrap, self._log))

    def served(self, since: float) -> float:
        """Seconds until every shard has answered."""
        return round(self.probes.seconds_until_served(since=since), 2)


def killed_and_away(owners: Owners) -> float:
    """One of two owners is killed; the other takes over."""
    first, second = owners.start("0"), owners.start("1")
    owners.served(time.monotonic())
    time.sleep(3.0)
    owners.served(time.monotonic())
    first.process.kill()
    seconds = owners.served(time.monotonic())
    second.process.terminate()
    second.process.wait(30)
    return seconds


def ended_and_restarted(owners: Owners, number: signal.Signals) -> float:
    """The only owner is ended, and another is started under its name as soon as it is gone."""
    first = owners.start("0")
    owners.served(time.monotonic())
    at = time.monotonic()
    first.process.send_signal(number)
    first.process.wait(30)
    second = owners.start("0")
    seconds = owners.served(at)
    second.process.terminate()
    second.process.wait(30)
    return seconds


CASES: dict[str, tuple[Callable[[Owners], float], float]] = {
    "killed_and_stays_away": (killed_and_away, 15.0),
    "killed_and_restarted": (lambda owners: ended_and_restarted(owners, signal.SIGKILL), 6.0),
    "stopped_and_restarted": (lambda owners: ended_and_restarted(owners, signal.SIGTERM), 4.0),
}
"""What is done to an owner, and within how many seconds all shards have to be served again."""


def _measure(run: Callable[[Owners], float], bootstrap: str, log: Path, *, times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        with Owners(bootstrap, log) as owners:
            seconds.append(run(owners))
        sys.stderr.write(f"{seconds[-1]} s\n")
        # Static members keep their place until their session ends.
        time.sleep(8.0)
    return seconds


def main() -> None:
    """Measure each several times, print a table, write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as directory, broker() as bootstrap:
        with Owners(bootstrap, Path(directory) / "log") as owners:
            # The group then has offsets: state without any would be refused.
            owners.start("0")
            owners.served(time.monotonic())
        records = fill_changelog(bootstrap)
        sys.stderr.write(f"{records} changelog records\n")
        measured = {
            name: _measure(run, bootstrap, Path(directory) / "log", times=times) for name, (run, _) in CASES.items()
        }
    found = {"live_intents": LIVE_INTENTS, "changelog_records": records, "seconds": measured}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    lines = ["| owner | seconds until all shards are served, each time | at most |", "|---|---|---|"]
    for name, seconds in measured.items():
        lines.append(f"| {name.replace('_', ' ')} | {', '.join(map(str, seconds))} | {CASES[name][1]:g} |")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(any(max(seconds) > CASES[name][1] for name, seconds in measured.items()))


if __name__ == "__main__":
    main()
