"""`make bench-processing`: calls a second of one `paystream flow processing`, beside bare aiohttp and the same stub.

A broker, a stub that approves after 200 ms, and one process of the flow with 2,000 calls in flight at most. Events that
ask for authorizations lie ready, always some thousands more than are answered, and never more than may wait. A call
counts once its result has committed. Then many more events than may wait are laid down at once: those beyond are turned
away, and the process may not grow with them. Prints one table; a run without options writes
`bench/results/processing.json` and the table in `bench/README.md`. Exits with 1 where less was reached than is wanted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from bench.committed import committed
from bench.fold.broker import broker
from bench.fold.mix import PARTITIONS
from bench.fold.peers import Peer, Running
from bench.fold.report import write_table
from bench.memory import peak_bytes
from bench.processing.bare import Bare, mean_of
from bench.processing.report import Flooded, Measured, missed, table
from bench.processing.supply import Asked, Supply, asked, lay_down, stub
from schemas.processing import Outcome, ProcessorResult
from schemas.topics import PROCESSOR_RESULTS
from topology.processors.port import Cause

RESULTS = Path(__file__).parents[1] / "results" / "processing.json"

_IN_FLIGHT = 2_000
_LATENCY_MS = 200.0
_AHEAD = 3 * _IN_FLIGHT
"""How many more events are given than calls have been answered; far fewer than may wait."""
_READY_WITHIN_SECONDS = 60.0
_FLOOD_WITHIN_SECONDS = 240.0
"""After five minutes an authorization would be too old to be sent."""

Results = list[tuple[float, ProcessorResult]]


def measure(*, seconds: float, warm_up_seconds: float, events_max: int, flood: int) -> tuple[Measured, Flooded, Bare]:
    """Bare aiohttp, the flow and its flood, and bare aiohttp again, for a machine is not always equally fast."""
    with stub(_LATENCY_MS) as url:
        before = measure_bare(url, seconds=seconds / 2, warm_up_seconds=warm_up_seconds)
    made = asked(range(events_max))
    with tempfile.TemporaryDirectory() as directory, broker() as bootstrap, stub(_LATENCY_MS) as url:
        environment = {
            "PAYSTREAM_PARTITIONS": str(PARTITIONS),
            "PAYSTREAM_CARD_NETWORK_URL": url,
            "PAYSTREAM_PUBLIC_URL": "http://127.0.0.1:9",
            "PAYSTREAM_CALLS_IN_FLIGHT": str(_IN_FLIGHT),
        }
        command = (sys.executable, "-m", "paystream", "flow", "processing")
        peer = Peer("processing", "processing", command, environment)
        with peer.running(bootstrap, Path(directory) / "log") as running:
            with Supply(bootstrap, url, made, ahead=_AHEAD) as supply:
                measured = _measure_supplied(bootstrap, supply, running, seconds, warm_up_seconds)
                if supply.given == len(made):
                    raise SystemExit("the events ran out: give more with --events")
            at_once = asked(range(events_max, events_max + flood))
            flooded = measure_flooded(bootstrap, running, at_once, results_before=supply.given)
        after = measure_bare(url, seconds=seconds / 2, warm_up_seconds=warm_up_seconds)
    return measured, flooded, mean_of(before, after)


def _measure_supplied(
    bootstrap: str, supply: Supply, running: Running, seconds: float, warm_up_seconds: float
) -> Measured:
    """The calls of a span of time after the warm-up; raises SystemExit unless each of all events was approved."""
    _wait_for_calls(supply, running)
    time.sleep(warm_up_seconds)
    began, cpu, resident = time.time(), running.cpu_seconds(), running.memory_bytes()
    time.sleep(seconds)
    ended, cpu, peak = time.time(), running.cpu_seconds() - cpu, _peak(running)
    supply.stop()
    results = _results(bootstrap, supply.given, within_seconds=_READY_WITHIN_SECONDS)
    said = Counter((result.outcome, result.code) for _at, result in results)
    if sum(count for (outcome, _code), count in said.items() if outcome is Outcome.approved) != supply.given:
        raise SystemExit(f"of {supply.given} calls came {_told(said)}")
    calls = sum(began <= at < ended for at, _result in results)
    return Measured(
        calls_per_second=round(calls / (ended - began), 1),
        cpu_microseconds_per_call=round(cpu / calls * 1e6, 1),
        in_flight_max=supply.served().in_flight_max,
        resident_bytes_begin=resident,
        resident_bytes_peak=peak,
        calls=calls,
    )


def measure_flooded(bootstrap: str, running: Running, made: Sequence[Asked], *, results_before: int) -> Flooded:
    """Lay all of them down at once; raises SystemExit unless each has one result, approved or turned away."""
    began = time.time()
    lay_down(bootstrap, made)
    results = _results(bootstrap, results_before + len(made), within_seconds=_FLOOD_WITHIN_SECONDS)
    peak = _peak(running)
    keys = {event.key for event in made}
    ours = [(at, result) for at, result in results if result.payment_intent_id in keys]
    said = Counter((result.outcome, result.code) for _at, result in ours)
    turned_away = said[Outcome.not_sent, Cause.too_many_waiting]
    approved = sum(count for (outcome, _code), count in said.items() if outcome is Outcome.approved)
    if len({result.payment_intent_id for _at, result in ours}) != len(made) or approved + turned_away != len(made):
        raise SystemExit(f"of {len(made)} events at once came {_told(said)}")
    return Flooded(
        events=len(made),
        approved=approved,
        turned_away=turned_away,
        seconds=round(max(at for at, _result in ours) - began, 1),
        resident_bytes_peak=peak,
    )


def _told(said: Counter[tuple[Outcome, str | None]]) -> str:
    return ", ".join(f"{count} {outcome} ({code})" for (outcome, code), count in said.items())


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


def _peak(running: Running) -> int:
    peak = peak_bytes(running.process.pid)
    if peak is None:
        raise SystemExit("the flow has ended")
    return peak


def _results(bootstrap: str, count: int, *, within_seconds: float) -> Results:
    """All results, each with the time at which it was appended, once there are so many."""
    found: Results = []
    for at, record in committed(
        bootstrap, PROCESSOR_RESULTS, partitions=PARTITIONS, at_least=count, within_seconds=within_seconds
    ):
        assert isinstance(record, ProcessorResult)
        found.append((at, record))
    return found


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--warm-up-seconds", type=float, default=10.0)
    parser.add_argument("--events", type=int, default=250_000)
    parser.add_argument("--flood", type=int, default=200_000, help="events at once; 12,000 are called or may wait")
    given = parser.parse_args()
    measured, flooded, bare = measure(
        seconds=given.seconds, warm_up_seconds=given.warm_up_seconds, events_max=given.events, flood=given.flood
    )
    failed = missed(measured, flooded, bare)
    found = {
        "in_flight": _IN_FLIGHT,
        "latency_ms": _LATENCY_MS,
        "paystream": asdict(measured),
        "flooded": asdict(flooded),
        "bare": asdict(bare),
        "missed": failed,
    }
    sys.stdout.write(table(measured, flooded, bare))
    if given == parser.parse_args([]):
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        write_table("processing", table(measured, flooded, bare))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
