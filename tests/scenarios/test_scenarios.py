"""Every row of the table on the real stack, and in the end all books at once.

All rows that are asked for are played, phase after phase, before the first test; each test then asks for its own.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pytest

from tests.chaos.checker import check
from tests.chaos.collect import collect
from tests.scenarios.books import broken_at_rest
from tests.scenarios.playbill import Playbill
from tests.scenarios.rows import Row
from tests.scenarios.stage import Stage, open_stage
from tests.scenarios.table import PHASES, ROWS

pytestmark = pytest.mark.timeout(900)

_AT_REST_WITHIN_SECONDS = 60.0
_HOLD = "hold:"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with open_stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def playbill(request: pytest.FixtureRequest, stage: Stage) -> Playbill:
    """All rows that this run has tests of, played."""
    asked = {row.name for row in ROWS if any(f"[{row.name}]" in item.name for item in request.session.items)}
    playbill = Playbill(stage, PHASES, names=asked or {row.name for row in ROWS})
    playbill.play()
    return playbill


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_scenario(playbill: Playbill, row: Row) -> None:
    playbill.result(row.name)


def test_no_promise_is_broken_to_anybody(playbill: Playbill, stage: Stage) -> None:
    """Whatever was played, and whatever rows did besides: each payment in the log, held against the network's books."""
    assert not playbill.broken_before_time_passed
    assert not broken_at_rest(stage)


@pytest.mark.usefixtures("playbill")
def test_all_books_agree_in_the_end(stage: Stage) -> None:
    """The same, as the checker of the chaos suite sees it."""
    deadline = time.monotonic() + _AT_REST_WITHIN_SECONDS
    while (found := _findings(stage)) and time.monotonic() < deadline:
        time.sleep(1)
    assert found == []


def _findings(stage: Stage) -> list[str]:
    # Nobody kept a history of what rows asked.
    evidence = dataclasses.replace(collect(stage.stack, []), history_is_whole=False)
    held = _held(stage)
    return [found for found in check(evidence) if not found.startswith(_HOLD) or held & set(found.split())]


def _held(stage: Stage) -> set[str]:
    """What the network holds. The checker takes any hold to last until Paystream ends it."""
    now = stage.network_now()
    return {booked.reference for booked in stage.ledger() if booked.is_held(now)}
