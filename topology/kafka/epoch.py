"""One run of a dataflow over one assignment: the position of its inputs, and whether it still may commit.

The source notes what it has handed out; at the close of the epoch exactly that is committed (`commits`), and a copy is
taken then. Bytewax polls the source only once the epoch before has closed everywhere, so the two never race.
"""

from __future__ import annotations

from schemas.times import Micros
from topology.kafka.membership import Assignment, Positions

__all__ = ["Run", "RunEnded"]


class RunEnded(Exception):
    """A run of the dataflow cannot go on, but the next one may: the shards are joined and restored again."""


class Run:
    """What one run has read. It ends when `failure` is set, or when `stopping` and everything is committed."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.positions: Positions = dict(assignment.positions)
        self.committed: Positions = dict(assignment.positions)
        self.ends: dict[tuple[str, int], tuple[int, Micros]] = {}
        self.record_times: dict[tuple[str, int], Micros] = {}
        self.failure: Exception | None = None
        self.left_group = False
        self.stopping = False

    @property
    def may_commit(self) -> bool:
        """Whether this run still owns its shards, as far as it knows; the broker has the last word."""
        return self.failure is None and not self.left_group

    def fail(self, error: Exception) -> None:
        """Nothing may be committed any more; the first error is the one that counts."""
        if self.failure is None:
            self.failure = error
