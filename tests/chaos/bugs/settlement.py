"""Bugs in the import of settlement files, and in how their lines are matched with captures."""

from __future__ import annotations

from tests.chaos.bugs.planting import Bug, Edit

__all__ = ["SETTLEMENT_BUGS"]

_MATCHING = "topology.settling.matching"

SETTLEMENT_BUGS = (
    Bug(
        name="capture_matched_again",
        does="a capture that was settled by a line waits on, for the next line to settle it once more",
        edits=(
            Edit(
                where=f"{_MATCHING}:_line",
                before="return Matched(kept=None, settlements=(_settled(line, capture, at),))",
                after="return Matched(kept=kept, settlements=(_settled(line, capture, at),))",
            ),
        ),
    ),
    Bug(
        name="import_from_its_start",
        does="an import that was cut short begins again with the first line of its file",
        edits=(
            Edit(
                where="topology.settlement_files.importing:_import",
                before="before = 0 if known is None else known.lines_written",
                after="before = 0",
            ),
        ),
    ),
    Bug(
        name="line_judged_at_once",
        does="the read model is asked about a line before it has come past what was in the log by then",
        edits=(
            Edit(
                where="topology.settling.judge:ReadModelJudge._answer",
                before="takewhile(lambda pair: pair[0] <= watermark, first)",
                after="first",
            ),
        ),
    ),
    Bug(
        name="missing_before_the_grace",
        does="a line counts as missing at the processor as soon as the window of its capture has ended",
        edits=(
            Edit(
                where="topology.settling.windows:Calendar.window",
                before="return _window(self, day)",
                after="""
                    known = _window(self, day)
                    return Window(settlement_date=known.settlement_date, ends_at=known.ends_at, due_at=known.ends_at)
                """,
            ),
        ),
    ),
)
