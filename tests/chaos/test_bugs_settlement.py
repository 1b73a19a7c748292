"""Bugs of the ISO 8583 adapter and of settlement, each with a schedule in which it does harm, judged by the checker.

The card network is a process, another one for each run of a schedule. Adapter, import, flows and judge are real. Each
schedule is run twice: without a bug nothing is found; with its bug the checker finds what the bug does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.banks import HttpBank, IsoBank, wait_until_booked
from tests.chaos.bugs import BUGS, planted
from tests.chaos.desk import Desk, ImportDied
from tests.chaos.evidence import Adjustment
from tests.chaos.merchants import HTTP
from tests.chaos.shop import Shop
from tests.sandbox.card_network.network_process import NetworkProcess

_A_DAY_SECONDS = 86_400.0


def opened(shop: Shop, key: str = "order") -> str:
    """The id of a new PaymentIntent."""
    created = shop.create(key)
    assert created.answer is not None, created
    return str(created.answer["id"])


def dies_before_the_answer(network: NetworkProcess) -> list[str]:
    """A 0100 is approved, and its caller dies before it hears that."""
    bank = IsoBank(network)
    with Shop(bank, deadline_seconds=1.0) as shop:
        shop.pay(opened(shop), "tok_timeoutThenApproved", wait=0)
        shop.processing_reads()
        wait_until_booked(bank)
        shop.processing.crash()
        shop.heal()
        return shop.findings()


def is_not_acknowledged_at_first(network: NetworkProcess) -> list[str]:
    """A 0400 is carried out, and its answer is lost: so it is sent again."""
    with Shop(IsoBank(network), deadline_seconds=1.0) as shop:
        created = shop.post("/paymentIntent", "order", {"amount": 1_999, "currency": "usd", "capture_method": "manual"})
        assert created.answer is not None
        intent = str(created.answer["id"])
        shop.pay(intent, "tok_voidTimesOutOnce", wait=0)
        shop.settle()
        shop.cancel(intent)
        shop.heal()
        return shop.findings()


@contextlib.contextmanager
def paid(network: NetworkProcess, *, payments: int = 3) -> Iterator[Desk]:
    """A desk, and so many payments to settle."""
    with Shop(HttpBank(network, deduplicates=True)) as shop, Desk(shop, network) as desk:
        for number in range(payments):
            shop.pay(opened(shop, f"order-{number}"), wait=0)
        shop.settle()
        assert len(desk.captured()) == payments
        yield desk


def has_a_line_twice(network: NetworkProcess) -> list[str]:
    """The processor's file names one capture twice."""
    with paid(network) as desk:
        desk.adjust(Adjustment(action="double", processor=HTTP, reference=desk.captured()[1]))
        desk.import_file()
        desk.settle()
        desk.end_windows()
        return desk.findings()


def dies_on_the_way(network: NetworkProcess) -> list[str]:
    """An import dies after its second transaction, and is run again."""
    with paid(network) as desk:
        with pytest.raises(ImportDied):
            desk.import_file(lines_at_once=1, dies_after=2)
        desk.settle()
        desk.import_file(lines_at_once=1)
        desk.settle()
        desk.end_windows()
        return desk.findings()


def comes_before_its_captures(network: NetworkProcess) -> list[str]:
    """Read model and reconciliation are behind when the file is imported, and catch up later."""
    with Shop(HttpBank(network, deduplicates=True)) as shop, Desk(shop, network) as desk:
        desk.captures_are_held = True
        desk.read_model.stand()
        shop.pay(opened(shop), wait=0)
        shop.settle()
        desk.import_file()
        desk.step()
        desk.wait_for_answers(seconds=1.5)
        desk.step()
        desk.captures_are_held = False
        desk.read_model.go_on()
        desk.settle()
        desk.end_windows()
        return desk.findings()


def comes_within_the_grace(network: NetworkProcess) -> list[str]:
    """The file of a date is there when that date has passed, and its grace has not."""
    with Shop(HttpBank(network, deduplicates=True)) as shop, Desk(shop, network) as desk:
        shop.pay(opened(shop), wait=0)
        shop.settle()
        desk.settle()
        shop.clock.advance(_A_DAY_SECONDS)
        desk.step()
        desk.settle()
        desk.import_file()
        desk.settle()
        desk.end_windows()
        return desk.findings()


SCHEDULES: dict[str, tuple[Callable[[NetworkProcess], list[str]], str]] = {
    "authorization_repeated_by_iso8583": (dies_before_the_answer, "held twice: "),
    "reversal_numbered_anew": (is_not_acknowledged_at_first, "reversal: "),
    "capture_matched_again": (has_a_line_twice, "settlement: "),
    "import_from_its_start": (dies_on_the_way, "file: "),
    "line_judged_at_once": (comes_before_its_captures, "settlement: "),
    "missing_before_the_grace": (comes_within_the_grace, "settlement: "),
}
"""By bug: the schedule in which it shows, and what is then found."""


@pytest.mark.parametrize("bug", SCHEDULES)
def test_a_bug_is_found_and_its_schedule_passes_without_it(bug: str, tmp_path: Path) -> None:
    schedule, finding = SCHEDULES[bug]
    for planted_bug in (None, BUGS[bug]):
        name = "without" if planted_bug is None else "with"
        with planted(planted_bug), NetworkProcess(tmp_path / f"{name}.db") as network:
            findings = schedule(network)
        if planted_bug is None:
            assert findings == []
        else:
            assert any(one.startswith(finding) for one in findings), findings
