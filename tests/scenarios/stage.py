"""The stack that scenarios are played on, and what is done to it: faults, clocks, kills, settlement files, operators.

One stack with both protocols behind proxies, a merchant for each route, a short ladder and the test clock. What rows do
together (`all: …`) is an action here, named by its first word. Driven by `playbill` and `player`.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import msgspec

from sandbox.audit import Booked, ledger_of
from sandbox.card_network.faults import FaultPlan
from sandbox.card_network.settlement_calendar import SettlementCalendar
from sandbox.routed import RoutedMerchant, api_keys_setting, put_on_record
from sandbox.stack import Part
from tests.harness.api import Merchant
from tests.harness.stack import RunningStack, start_stack, wait_for
from tests.scenarios import crash
from tests.scenarios.log import EventLog
from tests.scenarios.rows import MERCHANTS, Phase

__all__ = ["DEADLINE_SECONDS", "Stage", "open_stage"]

PARTITIONS = 4
DEADLINE_SECONDS = 3
# Look-ups 2 and 8 s after the doubt: cards that arrive late do so in between, or long after the void that follows them.
_LADDER = "2,8,11,14,17,5"
# Longer than a transaction of Kafka's may be open.
_SLACK_SECONDS = 15
_REACHED_WITHIN_SECONDS = 45.0
_CONNECTIONS_MIN = 2
_COMMAND_SECONDS = 120.0
_FORMATS = {"cardnet": "csv", "isonet": "json"}
"""Each processor's file is imported in another format."""


@dataclass(kw_only=True)
class Stage:
    """A running stack."""

    stack: RunningStack
    log: EventLog
    shops: Mapping[str, Merchant]
    """By route."""
    directory: Path
    calendar: SettlementCalendar
    pool: ThreadPoolExecutor
    files: dict[str, date]
    """The settlement date of each phase, by its title."""
    cuts: list[Future[None]]
    links_are_broken: bool = False

    # What rows do.

    def ledger(self) -> list[Booked]:
        """The card network's own books."""
        return ledger_of(httpx.get(f"{self.stack.card_network}/ledger", timeout=60).raise_for_status().content)

    def network_now(self) -> datetime:
        """The network's time."""
        answer = httpx.get(f"{self.stack.card_network}/clock", timeout=30).raise_for_status().json()
        return datetime.fromisoformat(answer["now"])

    def order_line(self, phase: Phase, order: Mapping[str, object]) -> None:
        """Have a settlement file of the phase's date otherwise than the books."""
        order = {**order, "date": self.file_date(phase).isoformat()}
        answer = httpx.post(f"{self.stack.card_network}/settlement/adjustments", json=order, timeout=30)
        assert answer.status_code == 201, f"{order}: {answer.text}"

    def operate(self, *arguments: str) -> str:
        """Run a command as an operator of the stack does; what it said."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PAYSTREAM_")}
        settings = {
            "PAYSTREAM_KAFKA_BOOTSTRAP": self.stack.kafka,
            "PAYSTREAM_POSTGRES_URI": self.stack.postgres,
            "PAYSTREAM_CARD_NETWORK_URL": self.stack.card_network,
            "PAYSTREAM_TEST_CLOCK": "on",
        }
        answer = subprocess.run(
            [sys.executable, "-m", "paystream", *arguments],
            env={**inherited, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        assert answer.returncode == 0, f"{arguments}: {answer.stdout}{answer.stderr}"
        return answer.stdout

    def is_breaker_open(self, processor: str) -> bool:
        """Whether processing holds calls to a processor back."""
        return self._metric(f'paystream_processor_circuit_open{{processor="{processor}"}}') == 1.0

    def file_date(self, phase: Phase) -> date:
        """The settlement date of a phase: what is captured now belongs to it, unless the phase has an old one."""
        if phase.title not in self.files:
            now = self.network_now()
            self.files[phase.title] = (
                _settlement_date(self.calendar, now)
                if phase.file_days_ago is None
                else now.date() - timedelta(days=phase.file_days_ago)
            )
        return self.files[phase.title]

    # What rows do together.

    def set_faults(self, faults: Mapping[str, object]) -> None:
        """These faults and no others."""
        plan = {**msgspec.to_builtins(FaultPlan()), **faults}
        answer = httpx.post(f"{self.stack.card_network}/faults", json=plan, timeout=30)
        assert answer.status_code == 200, answer.text

    def recover(self) -> None:
        """See that whatever a phase has done to processes and links is over."""
        for name in ("flow-processing", "flow-reconciliation"):
            # One that has just died is about to be another.
            with contextlib.suppress(ProcessLookupError):
                self._signal(name, signal.SIGCONT)
        if self.links_are_broken:
            for cut in self.cuts:
                cut.result()
            wait_for(self._is_reached, what="the ISO 8583 host again", within_seconds=_REACHED_WITHIN_SECONDS)
            self.cuts.clear()
            self.links_are_broken = False

    def _is_reached(self) -> bool:
        """Whether all is well between processing and the ISO 8583 host: connected, and the breaker closed."""
        return self._connections() >= _CONNECTIONS_MIN and _succeeds(self.shops["isonet"])

    def _connections(self) -> float:
        """How many connections processing has to the ISO 8583 host."""
        return self._metric('paystream_iso8583_connections{processor="isonet"}')

    def _metric(self, name: str) -> float:
        """A gauge of the processing flow; not a number while it cannot be asked."""
        try:
            text = httpx.get(self.stack.description["metrics"]["flow-processing"], timeout=10).text
        except httpx.TransportError:
            return math.nan
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)), math.nan)

    def act(self, action: str, phase: Phase) -> None:
        """Carry out an action that rows do together."""
        verb, *words = action.split()
        self._actions()[verb](phase, *words)

    def _actions(self) -> Mapping[str, Callable[..., None]]:
        return {
            "faults": lambda _phase, _off: self.set_faults({}),
            "clock": lambda _phase, by, *hours: self._advance(by, *hours),
            "restart": lambda _phase, name: self._restart(name),
            "pause": lambda _phase, name: self._signal(name, signal.SIGSTOP),
            "resume": lambda _phase, name: self._signal(name, signal.SIGCONT),
            "cut": lambda _phase, name, seconds: self._cut(name, float(seconds)),
            "import": self._import,
        }

    def _advance(self, by: str, hours: str = "") -> None:
        """By so much; to this time of the coming Saturday; or to some hours from the cut-off of a Wednesday."""
        now = self.network_now()
        if by == "saturday":
            by = f"{(5 - now.weekday()) % 7}d"
        elif by == "wednesday":
            wednesday = now.date() + timedelta(days=(2 - now.weekday()) % 7)
            _since, until_micros = self.calendar.span(wednesday)
            until = until_micros // 1_000_000 + int(hours.removesuffix("h")) * 3_600
            by = f"{until - int(now.timestamp())}s"
        self.operate("clock", "advance", by, "--operator", "scenarios")

    def _restart(self, name: str) -> None:
        self.links_are_broken = True
        former = self.stack.kill(name)
        self.stack.wait_for_restart(name, former_pid=former)

    def _signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.stack.processes[name], number)

    def _cut(self, name: str, seconds: float) -> None:
        """Cut a link; it comes back by itself. From here on nothing leaves on it: processing has noticed."""
        self.links_are_broken = True
        url = f"{self.stack.description['proxy']}/{name}/cut"

        def cut() -> None:
            httpx.post(url, params={"seconds": seconds}, timeout=seconds + 30).raise_for_status()

        self.cuts.append(self.pool.submit(cut))
        wait_for(lambda: self._connections() == 0, what="the loss of all connections", within_seconds=seconds)

    def _import(self, phase: Phase, day: str = "") -> None:
        """Both processors' files: of the phase's date, or of the day that it is (`today`)."""
        settlement_date = self.network_now().date() if day == "today" else self.file_date(phase)
        for processor, extension in _FORMATS.items():
            url = f"{self.stack.card_network}/settlements/{processor}/{settlement_date}.{extension}"
            content = httpx.get(url, timeout=60).raise_for_status().content
            file = self.directory / f"{processor}-{settlement_date}.{extension}"
            file.write_bytes(content)
            said = self.operate("settlement", "import", str(file))
            assert " 0 before" in said, said


def _settlement_date(calendar: SettlementCalendar, now: datetime) -> date:
    """The date whose file has what is captured now."""
    micros = int(now.timestamp() * 1_000_000)
    for days in range(-1, 6):
        day = now.date() + timedelta(days=days)
        since, until = calendar.span(day)
        if since <= micros < until:
            return day
    raise AssertionError(f"no settlement date has {now}")


@contextlib.contextmanager
def open_stage() -> Iterator[Stage]:
    """Start a stack for scenarios, with its merchants on record; stopped at the end."""
    merchants = {
        route: RoutedMerchant(id=merchant, route=tuple(route.split(","))) for route, merchant in MERCHANTS.items()
    }
    # Far from now, so that no run goes on beyond it; and never midnight, which ends the day before.
    cut_off = f"{(datetime.now(UTC) + timedelta(hours=12)):%H}:30"
    with contextlib.ExitStack() as running:
        directory = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="paystream-scenarios-")))
        armed = directory / "crash"
        armed.mkdir()
        settings = {
            "PAYSTREAM_CALL_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
            "PAYSTREAM_LADDER_SECONDS": _LADDER,
            "PAYSTREAM_READ_MODEL_SLACK_SECONDS": str(_SLACK_SECONDS),
            "PAYSTREAM_SETTLEMENT_CUT_OFFS": f"cardnet={cut_off}@UTC,isonet={cut_off}@UTC",
            **crash.environment(armed),
        }
        arguments = [word for name, value in settings.items() for word in ("--setting", f"{name}={value}")]
        arguments += ["--setting", api_keys_setting(list(merchants.values()))]
        arguments += ["--proxied", "--partitions", str(PARTITIONS), f"--card-network=--settlement-cut-off={cut_off}"]
        stack = running.enter_context(start_stack(parts=frozenset(Part) - {Part.S3}, arguments=arguments))
        shops = {
            route: Merchant(running.enter_context(_client(stack.ingress, merchant.api_key)))
            for route, merchant in merchants.items()
        }
        stage = Stage(
            stack=stack,
            log=running.enter_context(EventLog(stack.kafka, partitions=PARTITIONS)),
            shops=shops,
            directory=directory,
            calendar=SettlementCalendar.parse(cut_off, "UTC"),
            pool=running.enter_context(ThreadPoolExecutor(32, thread_name_prefix="stage")),
            files={},
            cuts=[],
        )
        put_on_record(list(merchants.values()), kafka=stack.kafka, ingress=stack.ingress)
        yield stage


def _client(url: str, key: str) -> httpx.Client:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=100)
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, limits=limits)


def _succeeds(shop: Merchant) -> bool:
    """Whether a payment of now comes through."""
    answer = shop.pay(str(shop.create()["id"]), wait=10)
    return answer.status_code == 201 and answer.json()["payment_intent"]["status"] == "succeeded"
