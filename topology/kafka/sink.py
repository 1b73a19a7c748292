"""The sink of every flow: collects what an epoch has to say, and hands it over to be committed when it closes."""

from __future__ import annotations

from typing import Any

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from topology.kafka.commits import Commits
from topology.kafka.items import AfterCommit, Produce, each

__all__ = ["TransactionSink"]

_ONLY_PART = "log"


class TransactionSink(FixedPartitionedSink[object, None]):
    """Writes what the flow decided, epoch by epoch, all of it or nothing."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits

    def list_parts(self) -> list[str]:
        """One part: there is one transaction per process."""
        return [_ONLY_PART]

    def part_fn(self, _item_key: str) -> int:
        """Always that part. The number is an index into the *sorted* part names."""
        return 0

    def build_part(self, _step_id: str, _for_part: str, _resume_state: None) -> StatefulSinkPartition[object, None]:
        """The part, one for the whole run."""
        return _TransactionPart(self._commits)


class _TransactionPart(StatefulSinkPartition[object, None]):
    """Collects an epoch.

    `snapshot()` is called at the close of each epoch in which something was written; the source's mark sees to that.
    Never in `close()`: it also runs when an exception unwinds.
    """

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._messages: list[Produce] = []
        self._effects: list[object] = []

    def write_batch(self, values: list[Any]) -> None:
        for value in each(values):
            if isinstance(value, Produce):
                self._messages.append(value)
            elif isinstance(value, AfterCommit):
                self._effects.append(value.effect)

    def snapshot(self) -> None:
        messages, effects = self._messages, self._effects
        self._messages, self._effects = [], []
        self._commits.begin(messages, effects)
