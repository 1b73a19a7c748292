"""The table is whole and well written, without playing it: names, steps, histories, what the issue asks for."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from sandbox.card_network.booking import Kind
from sandbox.card_network.cards import CARDS
from sandbox.card_network.faults import FaultPlan
from sandbox.card_network.settlement_lines import Adjusting
from schemas.payment import PaymentIntentStatus, TransactionStatus, TransactionType, VoidReason
from schemas.settlement import SettlementOutcome
from tests.scenarios.document import document
from tests.scenarios.rows import MERCHANTS, Phase, Row
from tests.scenarios.steps import TOGETHER, is_step
from tests.scenarios.table import PHASES, ROWS

DOCUMENT = Path(__file__).parents[2] / "docs" / "scenarios.md"
ROWS_WANTED = 40
# What the table has to have at least, by a word of the row's name, and at which of the two protocols.
WANTED = {
    "time-out, then approved": "both",
    "time-out, then declined": "both",
    "never arrived": "both",
    "answer after the deadline": "both",
    "duplicate answer": "both",
    "answer for an unknown transaction": "both",
    "processor restarts": "both",
    "look-up says unknown, then found": "cardnet",
    "cancel racing approval": "both",
    "capture racing expiry": "both",
    "settlement contradicts look-up": "cardnet",
    "settlement without our transaction": "both",
    "settled although voided": "both",
    "cut-off and weekend": "both",
    "fees and chargeback lines": "cardnet",
    "currency mismatch": "isonet",
    "amount mismatch": "cardnet",
    "settled twice": "cardnet",
    "missing at the processor": "both",
    "request that arrives after its void": "both",
    "challenge passed after its time-out": "cardnet",
    "capture failed, the authorization is gone": "both",
    "crash before the call": "both",
    "partial approval": "both",
    "partial capture": "both",
    "void times out once": "both",
    "capture's connection is reset": "both",
    "abandoned after 24 h": "cardnet",
    "authorization expires": "both",
    "doubt alert": "both",
    "an operator decides": "both",
    "answers on another connection": "isonet",
}
_SHOWN = re.compile(r"(?P<type>[a-z]+) (\((?P<reason>[a-z_]+)\) )?(?P<status>[a-z_]+)( (?P<code>[a-z_]+))?")
_WITHOUT_CODE = (TransactionStatus.succeeded,)
_EACH_PHASE = pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.title)
_EACH_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def test_there_are_enough_rows_and_each_has_its_name() -> None:
    assert len(ROWS) >= ROWS_WANTED
    assert [name for name, count in Counter(row.name for row in ROWS).items() if count > 1] == []
    # What is in brackets is the id of a test, by which the playbill knows which rows are asked for.
    assert [row.name for row in ROWS if "[" in row.name or "]" in row.name] == []


def test_no_two_phases_have_one_title() -> None:
    assert len({phase.title for phase in PHASES}) == len(PHASES)


def test_all_that_is_wanted_is_there_at_the_protocols_that_know_it() -> None:
    for words, where in WANTED.items():
        routes = {row.route for row in ROWS if words in row.name}
        assert routes >= ({"cardnet", "isonet"} if where == "both" else {where}), words


@_EACH_ROW
def test_a_row_says_what_can_be(row: Row) -> None:
    assert row.route in MERCHANTS
    assert row.card in CARDS
    assert row.status in set(PaymentIntentStatus) - {PaymentIntentStatus.processing}
    assert set(row.settlements) <= set(SettlementOutcome)
    for text in row.history:
        found = _SHOWN.fullmatch(text)
        assert found is not None, text
        kind, status = TransactionType(found["type"]), TransactionStatus(found["status"])
        assert (kind is TransactionType.void) == (found["reason"] is not None), text
        assert found["reason"] is None or VoidReason(found["reason"])
        assert (found["code"] is None) == (status in _WITHOUT_CODE), text
        assert status not in (TransactionStatus.created, TransactionStatus.pending, TransactionStatus.requires_action)


@_EACH_ROW
def test_the_steps_of_a_row_are_understood(row: Row) -> None:
    assert [step for step in row.steps if not is_step(step)] == []
    together = [step for step in row.steps if step.startswith(TOGETHER)]
    assert len(set(together)) == len(together), "rows meet for the same only once"


@_EACH_ROW
def test_orders_for_settlement_files_are_taken_by_the_network(row: Row) -> None:
    for step in row.steps:
        if step.startswith("line "):
            _line, action, *words = step.split()
            pairs = [word.partition("=") for word in words if "=" in word]
            order = {name: int(value) if name.endswith("_minor") else value for name, _equals, value in pairs}
            order |= {"processor": row.route, "date": "2026-01-02", "action": action}
            assert msgspec.convert(order, Adjusting).action == action
    orders = [step for step in row.steps if step.startswith("line ")]
    assert not orders or any(step.startswith(f"{TOGETHER}import") for step in row.steps), "nobody reads the line"


@_EACH_PHASE
def test_a_phase_has_faults_that_the_network_knows(phase: Phase) -> None:
    for faults in (phase.faults, *(row.faults for row in phase.rows)):
        plan = msgspec.convert({**msgspec.to_builtins(FaultPlan()), **faults}, FaultPlan)
        assert plan.kinds <= set(Kind)
    assert phase.one_by_one or not any(row.faults for row in phase.rows), "one row's faults would be another's too"
    assert phase.one_by_one == any("next" in row.steps for row in phase.rows)


@_EACH_PHASE
def test_who_stops_a_process_lets_it_go_on(phase: Phase) -> None:
    for row in phase.rows:
        paused = [step.removeprefix(f"{TOGETHER}pause ") for step in row.steps if step.startswith(f"{TOGETHER}pause")]
        resumed = [
            step.removeprefix(f"{TOGETHER}resume ") for step in row.steps if step.startswith(f"{TOGETHER}resume")
        ]
        assert paused == resumed


def test_clocks_are_advanced_last() -> None:
    """No clock goes back, and what has not come to its end by then would hear of time that was not meant for it."""
    advancing = [_advances(phase) for phase in PHASES]
    assert advancing == sorted(advancing)
    assert all(phase.at_rest for phase in PHASES if _advances(phase))


def _advances(phase: Phase) -> bool:
    return any(step.startswith(f"{TOGETHER}clock") for row in phase.rows for step in row.steps)


def test_the_documentation_shows_the_table_as_it_is() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(PHASES), "python -m tests.scenarios > docs/scenarios.md"
