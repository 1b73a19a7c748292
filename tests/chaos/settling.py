"""Settles a run: makes the network's files wrong by seed, imports them under faults, and lets the windows end.

The order: adjustments at the card network; the file of each processor and settlement date, the one as CSV and the other
nested, imported by command, each of which is killed or shut out in the middle, and then run again; the settlement flow
and those around it are killed and paused meanwhile; once all lines that have a capture are matched, the test clock goes
beyond every window, and they are killed and paused once more. What comes of it is for the checker. Driven by `run`,
once the payments have healed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx
import psycopg

from tests.chaos.adjusting import choose
from tests.chaos.collect_settlement import Files
from tests.chaos.commands import begin, insist
from tests.chaos.evidence import ISO8583, Adjustment, Evidence
from tests.chaos.merchants import HTTP
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import plan_of_settlement
from tests.chaos.processes import until
from tests.harness.api import ledger
from tests.harness.stack import RunningStack

__all__ = ["BEYOND_WINDOWS", "Interruption", "SettlementRun", "adjust", "days_of", "import_file", "lines_of", "settle"]

BEYOND_WINDOWS = "6d12h"
"""By how much the test clock goes ahead: a window of a day, three business days and a weekend. No hold ends by then."""

_NETWORK_SECONDS = 30.0
_IMPORTED_WITHIN_SECONDS = 60.0
_MATCHED_WITHIN_SECONDS = 60.0
_ADVANCED_WITHIN_SECONDS = 60.0
_SHUT_OUT_ENDS_WITHIN_SECONDS = 60.0
# An import takes about so long here, most of it until it may write.
_INTERRUPTED_AFTER_SECONDS = (0.6, 3.0)
# The exit code of a command of which it is not known whether all of it was done.
_NOT_KNOWN = 3
_FORMATS = {HTTP: "csv", ISO8583: "json"}
# Those that need no word of the read model, which comes some time later.
_MATCHED = "SELECT count(*) FROM settlements WHERE outcome IN ('settled', 'amount', 'currency')"


class Interruption(StrEnum):
    """What befalls an import before it is run to its end."""

    kill = "kill"
    shut_out = "shut_out"
    """It stands still while another of the same file goes to its end, and then goes on."""


@dataclass(frozen=True, kw_only=True)
class SettlementRun:
    """What was done: the files, for the checker; and which imports were interrupted before their end."""

    files: Files
    interrupted: Sequence[Interruption]


@dataclass(frozen=True, kw_only=True)
class _File:
    processor: str
    day: str
    path: Path
    sha256: str
    lines: int


def settle(stack: RunningStack, evidence: Evidence, directory: Path, nemesis: Nemesis, *, seed: int) -> SettlementRun:
    """Carry it all out; raises where a command is never done, or the network does not answer."""
    chance = random.Random(f"settling-{seed}")
    days = days_of(stack.card_network)
    adjustments = choose(seed, evidence.steps)
    for adjustment in adjustments:
        adjust(stack.card_network, adjustment, days)
    files = list(_fetched(stack, sorted({*days.values()} or {_today()}), directory))
    interruptions = list(Interruption)
    if seed % 2:
        interruptions.reverse()
    log = directory / "settlement-commands.log"
    with ThreadPoolExecutor(len(files) + 1) as pool:
        disturbing = pool.submit(_disturb, stack, nemesis, seed, while_="files are imported")
        imports = [
            pool.submit(
                import_file,
                stack,
                file.path,
                log.with_name(f"import-{number}.log"),
                interruption=interruptions[number % len(interruptions)],
                after_seconds=chance.uniform(*_INTERRUPTED_AFTER_SECONDS),
            )
            for number, file in enumerate(files)
        ]
        interrupted = [found for one in imports if (found := one.result()) is not None]
        disturbing.result()
    until(lambda: _matched(stack) >= _to_be_matched(evidence, adjustments), seconds=_MATCHED_WITHIN_SECONDS)
    _advance(stack, log)
    _disturb(stack, nemesis, seed, while_="windows end")
    return SettlementRun(
        files=Files(adjustments=adjustments, lines={file.sha256: file.lines for file in files}),
        interrupted=interrupted,
    )


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


def adjust(card_network: str, adjustment: Adjustment, days: Mapping[str, str]) -> None:
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
    url = f"{card_network}/settlement/adjustments"
    httpx.post(url, json=body, timeout=_NETWORK_SECONDS).raise_for_status()


def _fetched(stack: RunningStack, days: Sequence[str], directory: Path) -> Iterator[_File]:
    """The files of every date on which anything was captured, as the network writes them."""
    for day in days:
        for processor, extension in _FORMATS.items():
            url = f"{stack.card_network}/settlements/{processor}/{day}.{extension}"
            content = httpx.get(url, timeout=_NETWORK_SECONDS).raise_for_status().content
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
    stack: RunningStack, path: Path, log: Path, *, interruption: Interruption, after_seconds: float
) -> Interruption | None:
    """Import a file, and be interrupted on the way; by what, or None where it had come to its end before."""
    arguments = ("settlement", "import", str(path))
    first = begin(stack, log, *arguments)
    try:
        time.sleep(after_seconds)
        was_interrupted = first.poll() is None
        if was_interrupted:
            first.send_signal(signal.SIGKILL if interruption is Interruption.kill else signal.SIGSTOP)
        insist(stack, log, *arguments, within_seconds=_IMPORTED_WITHIN_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            first.send_signal(signal.SIGCONT)
        # What it says then does not matter: it has been shut out, or finds all of it done.
        first.wait(_SHUT_OUT_ENDS_WITHIN_SECONDS)
    finally:
        first.kill()
        first.wait()
    return interruption if was_interrupted else None


def _to_be_matched(evidence: Evidence, adjustments: Sequence[Adjustment]) -> int:
    """How many captures have a line: those whose line was not left out."""
    last = {step.intent: step for step in evidence.steps}
    captured = sum(leg.type == "capture" and leg.status == "succeeded" for step in last.values() for leg in step.legs)
    return captured - sum(one.action == "omit" for one in adjustments)


def _matched(stack: RunningStack) -> int:
    with contextlib.suppress(psycopg.Error), psycopg.connect(stack.postgres, connect_timeout=5) as database:
        row = database.execute(_MATCHED).fetchone()
        return int(row[0]) if row is not None else 0
    return 0


def _advance(stack: RunningStack, log: Path) -> None:
    """Let every window end; where it is not known whether every partition has heard of it, say it once more."""
    seconds = _ADVANCED_WITHIN_SECONDS
    insist(stack, log, "clock", "advance", BEYOND_WINDOWS, within_seconds=seconds, done=frozenset({0, _NOT_KNOWN}))
    insist(stack, log, "clock", "advance", "0s", within_seconds=seconds)
