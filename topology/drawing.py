"""Draws every dataflow into `docs/flows.md`, from the dataflows themselves: `python -m topology.drawing`.

Nothing is run: the flows are built on a source and a sink that only have a place in the picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.visualize import to_mermaid

from schemas.times import Micros
from sinks.postgres import ReadModelWriter, SettlementReader
from topology import payments, postgres, processing, reconciliation, settlement
from topology.kafka import FlowContext, FlowSpec, NoSide, Side, StateStore, WallClock
from topology.postgres import Projection

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parent.parent / "docs" / "flows.md"
_PARTITIONS = 4
_NO_DATABASE = "postgresql://127.0.0.1:1/drawing"


class _NoSource(DynamicSource[tuple[str, object]]):
    """The place of the source; also what the postgres flow asks of one."""

    def build(
        self, _step_id: str, _worker_index: int, _worker_count: int
    ) -> StatelessSourcePartition[tuple[str, object]]:
        raise NotImplementedError("a drawing is not run")

    def positions(self) -> dict[tuple[str, int], int]:
        return {}

    def reached_end(self) -> dict[tuple[str, int], tuple[int, Micros]]:
        return {}

    def record_times(self) -> dict[tuple[str, int], Micros]:
        return {}

    def may_commit(self) -> bool:
        return False

    def restart(self, reason: Exception) -> None:
        raise reason


class _NoSink(FixedPartitionedSink[object, None]):
    """The place of the sink."""

    def list_parts(self) -> list[str]:
        return []

    def build_part(self, _step_id: str, _for_part: str, _resume: None) -> StatefulSinkPartition[object, None]:
        raise NotImplementedError("a drawing is not run")


def _context(side: Side) -> FlowContext:
    return FlowContext(
        source=_NoSource(),
        sink=_NoSink(),
        store=StateStore(),
        side=side,
        partitions=_PARTITIONS,
        clock=WallClock(),
    )


def _flows() -> list[tuple[FlowSpec, Dataflow]]:
    calls = processing.ProcessingSide([], processing.ProcessingConfig(), partitions=_PARTITIONS)
    watch = reconciliation.ReconciliationSide([], reconciliation.ReconciliationTimes(), partitions=_PARTITIONS)
    judge = settlement.ReadModelJudge(SettlementReader(_NO_DATABASE), partitions=_PARTITIONS)
    matching = settlement.SettlementSide(judge, settlement.Calendars(), partitions=_PARTITIONS)
    projection = Projection(ReadModelWriter(_NO_DATABASE))
    return [
        (payments.FLOW, payments.build(_context(payments.FoldSide()))),
        (processing.FLOW, processing.build(_context(calls))),
        (reconciliation.FLOW, reconciliation.build(_context(watch))),
        (settlement.FLOW, settlement.build(_context(matching))),
        (postgres.FLOW, postgres.build(_context(NoSide()), projection=projection)),
    ]


def page() -> str:
    """The page: each flow with its topics and its picture."""
    parts = ["# The dataflows", "", "Made by `python -m topology.drawing`; a test compares.", ""]
    for spec, flow in _flows():
        changelog = f"`{spec.changelog.name}`" if spec.changelog else "none; its sink keeps the offsets"
        parts += [
            f"## {spec.name}",
            "",
            f"Reads {', '.join(f'`{topic.name}`' for topic in spec.inputs)}. Changelog: {changelog}.",
            "",
            "```mermaid",
            to_mermaid(flow).strip(),
            "```",
            "",
        ]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"wrote docs/{PAGE.name}\n")
