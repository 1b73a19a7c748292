"""The table: every scenario of processors and reconciliation, with what is done and how it must end.

`docs/scenarios.md` is made from it: `python -m tests.scenarios > docs/scenarios.md`.
"""

from __future__ import annotations

from tests.scenarios.rows import Phase, Row
from tests.scenarios.table.calls import CALL_PHASES
from tests.scenarios.table.cards import CARD_PHASES
from tests.scenarios.table.failures import FAILURE_PHASES
from tests.scenarios.table.settlement import SETTLEMENT
from tests.scenarios.table.time import TIME_PHASES

__all__ = ["PHASES", "ROWS"]

PHASES: tuple[Phase, ...] = (SETTLEMENT, *CARD_PHASES, *CALL_PHASES, *FAILURE_PHASES, *TIME_PHASES)
"""In the order in which they are played."""

ROWS: tuple[Row, ...] = tuple(row for phase in PHASES for row in phase.rows)
