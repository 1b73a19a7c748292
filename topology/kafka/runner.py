"""Runs a flow: fence, join, restore, fold and commit, leave; and again, in the same process, until it is stopped.

Fencing comes before joining, and again before each rejoin: it aborts what an earlier life of this instance left open,
for which the join would otherwise wait. A run of the dataflow ends when the group takes shards away or gives some,
when anything fails, or when the process is asked to stop. Nothing is committed on the way out: what was not committed
is read again. Only a flow that `finishes_before_leaving` holds on to its shards until its run has ended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from bytewax.run import cli_main
from confluent_kafka import KafkaError, KafkaException, Producer

from topology.kafka.clients import KafkaConfig
from topology.kafka.commits import Commits
from topology.kafka.epoch import Run, RunEnded
from topology.kafka.fence import fence
from topology.kafka.flow import BuildFlow, Clock, FlowContext, FlowSpec, Side, WallClock
from topology.kafka.membership import Assignment, Membership, StartOffsets
from topology.kafka.metrics import ENDED, FENCED, INPUT_HELD, RESTORE_SECONDS, SHARDS
from topology.kafka.restore import restore
from topology.kafka.sink import TransactionSink
from topology.kafka.source import GroupSource
from topology.kafka.store import StateStore, UnreadableState
from topology.kafka.watchdog import Watchdog

__all__ = ["FlowStatus", "run_flow"]

log = logging.getLogger("paystream.kafka")

# Each batch is an epoch. The interval is compared with the wall clock: negative, so that a clock that is set back
# cannot keep an epoch open.
_EPOCH_PER_BATCH = timedelta(days=-36_500)
_SERVE_SECONDS = 0.05
_FENCE_LIMIT_SECONDS = 45.0
_RETRY_SECONDS = 0.5
# So often a join in which a topic was missing is tried again at once; see `FlowRunner._wait_for_topics`.
_SOON_KNOWN = 5
_FENCED_RETRY_SECONDS = (2.0, 5.0, 15.0, 30.0, 60.0)
_FENCED_FORGOTTEN_AFTER_SECONDS = 600.0
_FENCED_CODES = (
    # What a client answers once it has failed for good; that it was fenced is by far the likeliest reason.
    KafkaError._FATAL,
    KafkaError._FENCED,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
)


@dataclass(slots=True)
class FlowStatus:
    """What the process may tell about itself. `shards` is None while it holds none that are restored."""

    shards: tuple[int, ...] | None = None
    restored_at: float = field(default=0.0)


@dataclass(slots=True)
class _Fencing:
    """Twins under one name fence each other in turn: each waits longer every time, beyond the time of a restore."""

    times: int = 0
    last_at: float = float("-inf")

    def wait_seconds(self, *, now: float) -> float:
        """How long to wait now, in the seconds of any steady clock."""
        if now > self.last_at + _FENCED_FORGOTTEN_AFTER_SECONDS:
            self.times = 0
        self.last_at = now
        seconds = _FENCED_RETRY_SECONDS[min(self.times, len(_FENCED_RETRY_SECONDS) - 1)]
        self.times += 1
        return seconds


class FlowRunner:
    """One process of one flow."""

    def __init__(
        self,
        spec: FlowSpec,
        build: BuildFlow,
        *,
        config: KafkaConfig,
        instance: str,
        side: Side,
        stopping: Callable[[], bool],
        status: FlowStatus,
        clock: Clock | None = None,
        start: StartOffsets | None = None,
    ) -> None:
        self._spec = spec
        self._build = build
        self._config = config
        self._instance = instance
        self._side = side
        self._stopping = stopping
        self._status = status
        self._clock = clock or WallClock()
        self._start = start or StartOffsets()
        self._membership: Membership | None = None
        self._fencing = _Fencing()
        self._topics_missing = 0
        self._watchdog = Watchdog()

    def run(self) -> None:
        """Run until stopped. Raises what the process cannot mend itself: expired offsets, fatal client errors, bugs."""
        try:
            while not self._stopping():
                try:
                    self._run_once()
                except KafkaException as error:
                    self._recover(error)
                except RunEnded as error:
                    log.warning("%s: run ended (%s); starting again", self._spec.name, error)
                    ENDED.labels(self._spec.name, "restarted").inc()
                    self._leave()
                    self._sleep(_RETRY_SECONDS)
                except UnreadableState as error:
                    log.critical(
                        "%s cannot go on: %s. It is mended by writing the right record over it", self._spec.name, error
                    )
                    raise
        finally:
            self._leave()

    def _run_once(self) -> None:
        """One generation: from the fence to the end of the dataflow."""
        with self._watchdog.watching("the fence", limit_seconds=_FENCE_LIMIT_SECONDS):
            producer = fence(self._spec, self._config, instance=self._instance, stopping=self._stopping)
        try:
            if self._membership is None:
                self._membership = Membership(self._spec, self._config, instance=self._instance, start=self._start)
            assignment = self._join(self._membership)
            if assignment is None:
                return
            self._topics_missing = 0
            started = time.monotonic()
            store = restore(
                self._spec, assignment, config=self._config, keep_membership=lambda: self._still(assignment)
            )
            RESTORE_SECONDS.labels(self._spec.name).set(time.monotonic() - started)
            if store is not None:
                self._fold(self._membership, assignment, producer, store)
        finally:
            # Whatever it left open is aborted by the next fence; a producer that failed or stalled is not used again.
            producer.purge()

    def _join(self, membership: Membership) -> Assignment | None:
        """Poll the group until it has given this process its shards; None when asked to stop meanwhile."""
        while membership.assignment is None:
            if self._stopping():
                return None
            membership.serve(_SERVE_SECONDS)
        return membership.assignment

    def _still(self, assignment: Assignment) -> bool:
        """Serve the group once; whether the assignment still stands and nobody asked to stop."""
        assert self._membership is not None
        self._membership.serve(0)
        return self._membership.assignment is assignment and not self._stopping()

    def _fold(self, membership: Membership, assignment: Assignment, producer: Producer, store: StateStore) -> None:
        """Run the dataflow on restored shards until it ends."""
        run = Run(assignment)
        commits = Commits(
            spec=self._spec, producer=producer, run=run, store=store, side=self._side, watchdog=self._watchdog
        )
        context = FlowContext(
            source=GroupSource(
                spec=self._spec,
                membership=membership,
                run=run,
                commits=commits,
                side=self._side,
                clock=self._clock,
                stopping=self._stopping,
            ),
            sink=TransactionSink(commits),
            settle=commits.settle,
            store=store,
            side=self._side,
            partitions=assignment.partitions,
            clock=self._clock,
            fail=run.fail,
        )
        self._side.restored(store, assignment.shards)
        self._report(assignment.shards)
        try:
            membership.resume()
            cli_main(self._build(context), epoch_interval=_EPOCH_PER_BATCH)
        finally:
            self._report(None)
            commits.close()
            self._side.close()
            left_group = run.left_group or membership.is_revoked
            membership.release()
        if run.failure is not None:
            raise run.failure
        ENDED.labels(self._spec.name, "left_group" if left_group else "stopped").inc()

    def _report(self, shards: tuple[int, ...] | None) -> None:
        self._status.shards = shards
        SHARDS.labels(self._spec.name).set(len(shards or ()))
        INPUT_HELD.labels(self._spec.name).set(False)
        if shards is not None:
            self._status.restored_at = time.monotonic()

    def _recover(self, failure: KafkaException) -> None:
        """After a failed run: rejoin as a new member, later if this process was fenced by its own name."""
        error = failure.args[0]
        assert isinstance(error, KafkaError)
        self._leave()
        if error.code() in _FENCED_CODES:
            seconds = self._fencing.wait_seconds(now=time.monotonic())
            FENCED.labels(self._spec.name).inc()
            log.error("%s-%s was fenced by its own name; next try in %.0f s", self._spec.name, self._instance, seconds)
        elif error.fatal():
            raise failure
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            seconds = self._wait_for_topics()
            log.warning("%s: run ended (%s); next try in %.1f s", self._spec.name, error, seconds)
        else:
            seconds = _RETRY_SECONDS
            log.warning("%s: run ended (%s); starting again", self._spec.name, error)
        ENDED.labels(self._spec.name, str(error.name())).inc()
        self._sleep(seconds)

    def _wait_for_topics(self) -> float:
        """Seconds until the next join, after one in which a topic was missing.

        Brokers soon know a new topic. But a static member that comes back is given again what it had, also by a group
        in which it read less, as the version before: only once its session has ended the group looks at what it reads.
        """
        self._topics_missing += 1
        if self._topics_missing <= _SOON_KNOWN:
            return _RETRY_SECONDS
        self._topics_missing = 0
        return self._config.session_timeout_ms / 1_000 + _RETRY_SECONDS

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopping():
            time.sleep(0.05)

    def _leave(self) -> None:
        if self._membership is not None:
            self._membership.close()
            self._membership = None


def run_flow(
    spec: FlowSpec,
    build: BuildFlow,
    *,
    config: KafkaConfig,
    instance: str,
    side: Side,
    stopping: Callable[[], bool],
    status: FlowStatus,
    clock: Clock | None = None,
    start: StartOffsets | None = None,
) -> None:
    """Run one process of a flow until `stopping` says so. See `FlowRunner.run`."""
    FlowRunner(
        spec,
        build,
        config=config,
        instance=instance,
        side=side,
        stopping=stopping,
        status=status,
        clock=clock,
        start=start,
    ).run()
