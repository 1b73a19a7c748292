"""`make bench-settlement`: a day's settlement file of a million lines, imported and matched, on a broker of its own.

The captures are written straight to their topic, as reconciliation writes them, and taken in by the flow; then the
network's own report on them is imported by the command, and the flow is started again and matches its lines. Checks
that each line settled its capture. All of it is done with a fifth of the lines first: what the import has resident may
not grow with the lines. Prints the figures, a run without options writes `bench/results/settlement.json`; exits with 1
where less was reached than is wanted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.committed import committed
from bench.fold.broker import broker
from bench.fold.mix import PARTITIONS
from bench.fold.peers import Peer, Running
from bench.memory import peak_bytes, run_to_end
from sandbox.card_network.booking import Booking, Kind, Status, processor_reference
from sandbox.card_network.settlement_lines import lines as settlement_lines
from sandbox.card_network.settlement_report import report
from schemas.codec import encode
from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.partitioner import partition as partition_of
from schemas.payment import TransactionStatus
from schemas.settlement import Capture, Settlement
from schemas.times import Micros, from_datetime
from schemas.topics import CAPTURES, SETTLEMENT_LINES, SETTLEMENTS, Topic
from topology.settling.references import key_of

RESULTS = Path(__file__).parent / "results" / "settlement.json"

IMPORTED_PER_SECOND_WANTED = 10_000
MATCHED_PER_SECOND_WANTED = 2_000
IMPORT_BYTES_PER_LINE_MAX = 32
"""What the import may have resident more for each line more: it keeps eight bytes of what a line of 127 has."""

_SMALLER = 5
"""By how much the first of the two files is smaller."""
_WITHIN_SECONDS = 1_800.0
_CURRENCIES = ("usd", "eur", "jpy", "gbp")

_FLOW = Peer(
    "settlement",
    "settlement",
    (sys.executable, "-m", "paystream", "flow", "settlement"),
    # Every line meets its capture, so the read model is not asked.
    {"PAYSTREAM_PARTITIONS": str(PARTITIONS), "PAYSTREAM_POSTGRES_URI": "postgresql://nobody@127.0.0.1:1/nothing"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures; peaks are of the resident set of one process."""

    lines: int
    file_bytes: int
    partitions: int
    captures_taken_in_per_second: int
    imported_per_second: int
    import_peak_bytes: int
    restart_seconds: float
    """From the start of the flow, with all captures open, to its first settlement."""
    matched_per_second: int
    flow_peak_bytes: int


def bookings(lines: int, *, on: date) -> Iterator[Booking]:
    """What the network captured on a date."""
    begin = from_datetime(datetime(on.year, on.month, on.day, tzinfo=UTC))
    for number in range(lines):
        reference = f"tx_{number:032x}"
        yield Booking(
            reference=reference,
            kind=Kind.capture,
            status=Status.approved,
            payment_intent=f"pi_{number:032x}",
            amount_minor=1_000 + number % 9_000,
            currency=_CURRENCIES[number % len(_CURRENCIES)],
            processor_reference=processor_reference(reference),
            at_micros=begin + number,
        )


def write_captures(bootstrap: str, captures: Iterator[Booking]) -> None:
    """As reconciliation writes them."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "lz4"})
    for booking in captures:
        assert booking.amount_minor is not None
        assert booking.currency is not None
        capture = Capture(
            processor="cardnet",
            processor_reference=booking.processor_reference,
            payment_intent_id=PaymentIntentId(booking.payment_intent),
            transaction_id=TransactionId(booking.reference),
            status=TransactionStatus.succeeded,
            amount_minor=booking.amount_minor,
            currency=booking.currency,
            at=Micros(booking.at_micros),
        )
        key = key_of(capture)
        while True:
            try:
                producer.produce(CAPTURES.name, encode(capture), key, partition_of(key, PARTITIONS))
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise SystemExit("not all captures were written")


class Group:
    """How far the flow has come in a topic."""

    def __init__(self, bootstrap: str) -> None:
        # Read committed, it would wait for a moment in which no transaction of a busy flow is open.
        asking = {"group.id": _FLOW.group, "isolation.level": "read_uncommitted", "log_level": 2}
        self._consumer = Consumer({"bootstrap.servers": bootstrap, **asking})

    def wait_for_end(self, topic: Topic, running: Running) -> None:
        """Until all of it has been read and committed."""
        places = [TopicPartition(topic.name, number) for number in range(PARTITIONS)]
        ends = {place.partition: self._consumer.get_watermark_offsets(place, timeout=10)[1] for place in places}
        deadline = time.monotonic() + _WITHIN_SECONDS
        while time.monotonic() < deadline:
            if running.process.poll() is not None:
                raise SystemExit(f"the flow ended with {running.process.returncode}")
            committed = {each.partition: each.offset for each in self._consumer.committed(places, timeout=10)}
            if all(committed[number] >= end for number, end in ends.items()):
                return
            time.sleep(0.5)
        raise SystemExit(f"{topic.name} was not read within {_WITHIN_SECONDS:.0f} s")

    def close(self) -> None:
        self._consumer.close()


def settlements(bootstrap: str) -> tuple[Counter[str], float, float]:
    """How many settlements there are by outcome, and when the first and the last was appended, in Unix time."""
    outcomes: Counter[str] = Counter()
    first, last = math.inf, 0.0
    for at, record in committed(bootstrap, SETTLEMENTS, partitions=PARTITIONS, within_seconds=_WITHIN_SECONDS):
        assert isinstance(record, Settlement)
        outcomes[record.outcome] += 1
        first, last = min(first, at), max(last, at)
    return outcomes, first, last


def import_file(bootstrap: str, path: Path) -> tuple[float, int]:
    """Run the command; its seconds from start to end, and the peak of its resident set in bytes."""
    environment = {
        **os.environ,
        "PAYSTREAM_KAFKA_BOOTSTRAP": bootstrap,
        "PAYSTREAM_PARTITIONS": str(PARTITIONS),
    }
    arguments = (sys.executable, "-m", "paystream", "settlement", "import", str(path))
    began = time.monotonic()
    command = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL)
    peak = run_to_end(command)
    if command.returncode != 0:
        raise SystemExit("the file was not imported")
    return time.monotonic() - began, peak


def _peak_bytes(running: Running) -> int:
    peak = peak_bytes(running.process.pid)
    if peak is None:
        raise SystemExit("the flow has ended")
    return peak


def measure(lines: int, directory: Path) -> Measured:
    """One run; raises SystemExit where a line did not settle its capture."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    path, log = directory / "report.csv", directory / "flow.log"
    with path.open("w") as file:
        captured = settlement_lines(bookings(lines, on=yesterday), (), grouped=False)
        file.writelines(report(captured, processor="cardnet", settlement_date=yesterday))
    with broker() as bootstrap:
        group = Group(bootstrap)
        write_captures(bootstrap, bookings(lines, on=yesterday))
        began = time.monotonic()
        with _FLOW.running(bootstrap, log) as running:
            group.wait_for_end(CAPTURES, running)
            taken_in_seconds = time.monotonic() - began
            flow_peak = _peak_bytes(running)
        import_seconds, import_peak = import_file(bootstrap, path)
        restarted = time.time()
        with _FLOW.running(bootstrap, log) as running:
            group.wait_for_end(SETTLEMENT_LINES, running)
            flow_peak = max(flow_peak, _peak_bytes(running))
        group.close()
        outcomes, first_at, last_at = settlements(bootstrap)
    if outcomes != {"settled": lines}:
        raise SystemExit(f"not every line settled its capture: {dict(outcomes)}")
    return Measured(
        lines=lines,
        file_bytes=path.stat().st_size,
        partitions=PARTITIONS,
        captures_taken_in_per_second=round(lines / taken_in_seconds),
        imported_per_second=round(lines / import_seconds),
        import_peak_bytes=import_peak,
        restart_seconds=round(first_at - restarted, 1),
        matched_per_second=round(lines / max(last_at - first_at, 0.001)),
        flow_peak_bytes=flow_peak,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two files, and what the larger one took more, in bytes of the resident set for each line more."""

    small: Measured
    large: Measured
    import_bytes_per_line: float
    flow_bytes_per_capture: float
    """The flow keeps every open capture."""
    missed: Sequence[str]


def compare(small: Measured, large: Measured) -> Compared:
    """Hold the figures of the larger file against what is wanted, and its memory against that of the smaller one."""
    more = large.lines - small.lines
    import_bytes_per_line = (large.import_peak_bytes - small.import_peak_bytes) / more
    held = {
        "imported_per_second": large.imported_per_second >= IMPORTED_PER_SECOND_WANTED,
        "matched_per_second": large.matched_per_second >= MATCHED_PER_SECOND_WANTED,
        "import_bytes_per_line": import_bytes_per_line <= IMPORT_BYTES_PER_LINE_MAX,
    }
    return Compared(
        small=small,
        large=large,
        import_bytes_per_line=round(import_bytes_per_line, 1),
        flow_bytes_per_capture=round((large.flow_peak_bytes - small.flow_peak_bytes) / more, 1),
        missed=[name for name, is_held in held.items() if not is_held],
    )


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=1_000_000)
    given = parser.parse_args()
    measured = []
    for lines in (given.lines // _SMALLER, given.lines):
        with tempfile.TemporaryDirectory() as directory:
            measured.append(measure(lines, Path(directory)))
    compared = compare(*measured)
    text = json.dumps(asdict(compared), indent=2)
    sys.stdout.write(text + "\n")
    if given == parser.parse_args([]):
        RESULTS.write_text(text + "\n")
    sys.exit(bool(compared.missed))


if __name__ == "__main__":
    main()
