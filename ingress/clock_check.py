"""Whether this process's clock agrees with the brokers' clocks, by which every record is stamped (LogAppendTime).

The times in commands are ours, and others compare them with the log's and with their own: an authorization whose
command seems to be older than 5 min is never sent. So a process whose clock is off by much less than that is not ready.

Each delivery bounds the difference, and no delay can feign one: a broker appends a command after it was handed over and
before it is acknowledged. A broker's clock may be the wrong one, so more than half of the partitions have to disagree;
one broker among several shows in the metric alone. Where most brokers are wrong, or the only one is, no process is
ready: it cannot be told from here whose clock is wrong, and it is the difference that does the harm.
"""

from __future__ import annotations

from ingress.metrics import Metrics
from schemas.times import Micros

__all__ = ["ClockCheck"]


class ClockCheck:
    """What the deliveries say of this process's clock, by partition of the commands."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ahead_seconds: dict[int, float] = {}

    def note(self, partition: int, *, sent_at: Micros, appended_at: Micros, acknowledged_at: Micros) -> None:
        """A command was appended by a broker's clock, between two moments by ours."""
        at_least, at_most = sent_at - appended_at, acknowledged_at - appended_at
        ahead_seconds = (max(at_least, 0) + min(at_most, 0)) / 1_000_000
        self._ahead_seconds[partition] = ahead_seconds
        self._metrics.clock_ahead_seconds.labels(str(partition)).set(ahead_seconds)

    def ahead_seconds(self) -> float:
        """By how much our clock is ahead (below zero: behind) by the word of more than half of the partitions.

        Never more than is certain: 0 where it may agree, or nothing was heard yet.
        """
        by_partition = sorted(self._ahead_seconds.values())
        if not by_partition:
            return 0.0
        # Of the two in the middle the one nearer to zero: half of the partitions are not enough.
        return min(by_partition[(len(by_partition) - 1) // 2], by_partition[len(by_partition) // 2], key=abs)
