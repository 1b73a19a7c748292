"""Settles a run: makes the network's files wrong by seed, imports them under faults, and lets the windows end.

The order: some captures that are never answered; adjustments at the card network; the file of each processor and
settlement date, the one as CSV and the other nested, imported by command, each of which is killed or shut out between
its lines, and then run again; the settlement flow and those around it are killed and paused meanwhile; once all lines
that have a capture are matched, the test clock goes beyond every window, and they are killed and paused once more. What
comes of it is for the checker. Driven by `run`, once the payments have healed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from tests.chaos.adjusting import choose
from tests.chaos.collect_settlement import Files
from tests.chaos.commands import begin, insist
from tests.chaos.evidence import ISO8583, Adjustment, Evidence
from tests.chaos.interrupted import Interruption, places
from tests.chaos.merchants import HTTP
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import plan_of_settlement
from tests.chaos.processes import has_ended, until
from tests.chaos.settled import expected_outcomes
from tests.chaos.unanswered import PAYMENTS, await_doubt, leave_unanswered
from tests.harness.api import ledger
from tests.harness.stack import RunningStack, stands_still

__all__ = ["BEYOND_WINDOWS", "SettlementRun", "adjust", "days_of", "import_file", "lines_of", "settle"]

BEYOND_WINDOWS = "6d12h"
"""By how much the test clock goes ahead: a window of a day, three business days and a weekend. No hold ends by then."""

_NETWORK_SECONDS = 30.0
_IMPORTED_WITHIN_SECONDS = 60.0
_MATCHED_WITHIN_SECONDS = 60.0
_ADVANCED_WITHIN_SECONDS = 60.0
_SHUT_OUT_ENDS_WITHIN_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.3
# A place that no import comes to.
_NOWHERE = 0
# The exit code of a command of which it is not known whether all of it was done.
_NOT_KNOWN = 3
_FORMATS = {HTTP: "csv", ISO8583: "json"}
# Those that need no word of the read model, which comes some time later.
_MATCHES = ("settled", "amount", "currency")
_MATCHED = "SELECT count(*) FROM settlements WHERE outcome = ANY(%s)"


@dataclass(frozen=True, kw_only=True)
class SettlementRun:
    """What was done."""

    files: Files
    """For the checker."""
    history: Path
    """What was asked of the API meanwhile."""
    interrupted: Sequence[Interruption]
    """How imports were interrupted that had written a part of their file."""


@dataclass(frozen=True, kw_only=True)
class _File:
    processor: str
    day: str
    path: Path
    sha256: str
    lines: int


def settle(stack: RunningStack, evidence: Evidence, directory: Path, nemesis: Nemesis, *, seed: int) -> SettlementRun:
    """Carry it all out; raises where a command is never done, or the network does not answer."""
    history = directory / "history-unanswered.jsonl"
    leave_unanswered(stack, history, seed=seed)
    adjustments = choose(seed, evidence.steps)
    with httpx.Client(base_url=stack.card_network, timeout=_NETWORK_SECONDS) as network:
        days = days_of(stack.card_network)
        for adjustment in adjustments:
            adjust(network, adjustment, days)
        await_doubt(stack)
        days = days_of(stack.card_network)
        files = list(_fetched(network, sorted({*days.values()} or {_today()}), directory))
    steps = {step.intent: [step] for step in evidence.steps}
    expected = Counter[str]()
    for (_, _, outcome), times in expected_outcomes(adjustments, steps):
        expected[outcome] += times
    expected["settled"] += PAYMENTS
    with ThreadPoolExecutor(2) as pool:
        disturbing = pool.submit(_disturb, stack, nemesis, seed, while_="files are imported")
        interrupted = _import_all(stack, files, directory, seed=seed)
        disturbing.result()
        matched = sum(expected[outcome] for outcome in _MATCHES)
        until(
            lambda: _matched(stack) >= matched, seconds=_MATCHED_WITHIN_SECONDS, look_every_seconds=_LOOK_EVERY_SECONDS
        )
        disturbing = pool.submit(_disturb, stack, nemesis, seed, while_="windows end")
        _advance(stack, directory / "settlement-commands.log")
        disturbing.result()
    return SettlementRun(
        files=Files(
            adjustments=adjustments,
            lines={file.sha256: file.lines for file in files},
            outcomes=sum(expected.values()),
        ),
        history=history,
        interrupted=interrupted,
    )


def _import_all(stack: RunningStack, files: Sequence[_File], directory: Path, *, seed: int) -> list[Interruption]:
    """Import all files beside one another; how they were interrupted."""
    chance = random.Random(f"settling-{seed}")
    interruptions = list(Interruption)
    if seed % 2:
        interruptions.reverse()
    with ThreadPoolExecutor(len(files)) as pool:
        imports = [
            pool.submit(
                import_file,
                stack,
                file.path,
                directory / f"import-{number}.log",
                interruption=interruptions[number % len(interruptions)],
                place=chance.choice(places(file.lines) or [_NOWHERE]),
            )
            for number, file in enumerate(files)
        ]
        return [found for one in imports if (found := one.result()) is not None]


def _disturb(stack: RunningStack, nemesis: Nemesis, seed: int, *, while_: str) -> None:
    """A few faults, whether anything works or not."""
    nemesis.run(plan_of_settlement(seed, list(stack.processes), while_=while_), is_working=lambda: True)


def days_of(card_network: str) -> dict[str, str]:
    """By reference of a capture, the settlement date that it belongs to: the network's day in UTC."""
    rows = ledger(card_network)
    return {
        row["reference"]: row["at"][:10] for row in rows if row["type"] == "capture" and row["status"] == "approved"
    }


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def adjust(network: httpx.Client, adjustment: Adjustment, days: Mapping[str, str]) -> None:
    """Have the network make a file wrong: that of the capture's date, or the last one. `days` are those of captures."""
    order = {
        "processor": adjustment.processor,
        "date": days.get(adjustment.reference) or max(days.values(), default=_today()),
        "action": adjustment.action,
        "reference": adjustment.reference,
        "kind": adjustment.kind,
        "amount_minor": adjustment.amount,
        "currency": adjustment.currency,
    }
    body = {name: value for name, value in order.items() if value is not None}
    network.post("/settlement/adjustments", json=body).raise_for_status()


def _fetched(network: httpx.Client, days: Sequence[str], directory: Path) -> Iterator[_File]:
    """The files of every date on which anything was captured, as the network writes them."""
    for day in days:
        for processor, extension in _FORMATS.items():
            content = network.get(f"/settlements/{processor}/{day}.{extension}").raise_for_status().content
            path = directory / f"settlement-{processor}-{day}.{extension}"
            path.write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            yield _File(processor=processor, day=day, path=path, sha256=sha256, lines=lines_of(content.decode()))


def lines_of(content: str) -> int:
    """How many lines a file has by its own trailer."""
    if content.startswith("{"):
        return int(json.loads(content)["trailer"]["lines"])
    return int(content.splitlines()[-1].split(",")[2])


def import_file(
    stack: RunningStack, path: Path, log: Path, *, interruption: Interruption, place: int
) -> Interruption | None:
    """Import a file and be interrupted, then import it again; by what, or None where it never came to its `place`."""
    first = begin(stack, log, interruption, str(place), str(path), module="tests.chaos.interrupted")
    try:
        until(lambda: has_ended(first.pid) or stands_still(first.pid), seconds=_IMPORTED_WITHIN_SECONDS)
        # One that was killed looks as if it had ended before the last of its threads has: then it cannot be asked yet.
        was_interrupted = stands_still(first.pid) or first.wait(_SHUT_OUT_ENDS_WITHIN_SECONDS) == -signal.SIGKILL
        insist(stack, log, "settlement", "import", str(path), within_seconds=_IMPORTED_WITHIN_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            first.send_signal(signal.SIGCONT)
        # What it says then does not matter: it has been shut out, or finds all of it done.
        first.wait(_SHUT_OUT_ENDS_WITHIN_SECONDS)
    finally:
        first.kill()
        first.wait()
    return interruption if was_interrupted else None


def _matched(stack: RunningStack) -> int:
    with contextlib.suppress(psycopg.Error), psycopg.connect(stack.postgres, connect_timeout=5) as database:
        row = database.execute(_MATCHED, ([*_MATCHES],)).fetchone()
        return int(row[0]) if row is not None else 0
    return 0


def _advance(stack: RunningStack, log: Path) -> None:
    """Let every window end; where it is not known whether every partition has heard of it, say it once more."""
    seconds, done = _ADVANCED_WITHIN_SECONDS, frozenset({0, _NOT_KNOWN})
    if insist(stack, log, "clock", "advance", BEYOND_WINDOWS, within_seconds=seconds, done=done) == _NOT_KNOWN:
        insist(stack, log, "clock", "advance", "0s", within_seconds=seconds)
