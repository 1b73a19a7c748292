"""A member that has something to finish when another one joins: two members in this process, on a real Kafka."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from schemas.identifiers import PaymentIntentId
from schemas.partitioner import partition as partition_of
from schemas.processing import TimerFired
from schemas.times import Micros
from tests.harness.counting import Counting
from tests.harness.counting_flow import TICK, build_counting
from tests.harness.stack import wait_for
from topology import kafka
from topology.kafka import FlowStatus, KafkaConfig, NoSide, StateStore

KEY = "pi_00000000000000000000000000000001"
SHARD = partition_of(KEY, 4)
ALL_SHARDS = (0, 1, 2, 3)


class Awaiting(NoSide):
    """A side that awaits one answer once it is told to leave."""

    def __init__(self) -> None:
        self.left_at: float | None = None
        self.answer: TimerFired | None = None
        self._is_awaited = False

    def restored(self, _store: StateStore, _shards: tuple[int, ...]) -> None:
        self._is_awaited = False

    def drain(self, _limit: int) -> list[tuple[str, int, object]]:
        if self.answer is None:
            return []
        answer, self.answer, self._is_awaited = self.answer, None, False
        return [(KEY, SHARD, answer)]

    def leave(self) -> None:
        self._is_awaited = True
        self.left_at = time.monotonic()

    def idle(self) -> bool:
        return not self._is_awaited


@dataclass
class Running:
    """One member of the flow in a thread of this process."""

    flow: Counting
    instance: str
    config: KafkaConfig
    side: Awaiting = field(default_factory=Awaiting)
    status: FlowStatus = field(default_factory=FlowStatus)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        kafka.run_flow(
            replace(self.flow.spec, finishes_before_leaving=True),
            lambda context: build_counting(context, self.flow.prefix),
            config=self.config,
            instance=self.instance,
            side=self.side,
            stopping=self.ended.is_set,
            status=self.status,
        )


@pytest.fixture
def flow(kafka_bootstrap: str, tmp_path: Path) -> Iterator[Counting]:
    with Counting(kafka_bootstrap, tmp_path) as made:
        yield made


@contextlib.contextmanager
def members(flow: Counting, config: KafkaConfig) -> Iterator[tuple[Running, Running]]:
    """Two members: the first holds all shards and has counted, the second has just been started."""
    first, second = (Running(flow, instance, config) for instance in "01")
    threads = [threading.Thread(target=member.run) for member in (first, second)]
    try:
        threads[0].start()
        wait_for(lambda: first.status.shards == ALL_SHARDS, what="the first member", within_seconds=30.0)
        flow.send_to(KEY, KEY)
        flow.check()
        threads[1].start()
        wait_for(lambda: first.side.left_at is not None, what="the rebalance", within_seconds=30.0)
        yield first, second
    finally:
        for member in (first, second):
            member.ended.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def share_all_shards(*running: Running) -> None:
    def shared() -> bool:
        held = [member.status.shards or () for member in running]
        return all(held) and sorted(sum(held, ())) == list(ALL_SHARDS)

    wait_for(shared, what="a share for each", within_seconds=30.0)


def test_what_it_awaits_longer_than_its_session_is_committed_before_the_other_has_shards(flow: Counting) -> None:
    config = KafkaConfig(bootstrap=flow.bootstrap)
    with members(flow, config) as (first, second):
        flow.send_to(KEY)
        time.sleep(config.session_timeout_ms / 1_000 + 2.0)
        assert first.status.shards == ALL_SHARDS
        assert second.status.shards is None
        assert flow.read() == 0, "nothing new is taken on"
        first.side.answer = TimerFired(
            payment_intent_id=PaymentIntentId(KEY), name=TICK, due_at=Micros(1), at=Micros(1)
        )
        share_all_shards(first, second)
        flow.wait_until(lambda: flow.counted_count == 4, what="all outputs")
        assert flow.counted[KEY][2:] == [(3, TICK), (4, flow.sent[KEY][2])]


def test_the_other_does_not_wait_for_ever(flow: Counting) -> None:
    config = KafkaConfig(bootstrap=flow.bootstrap, max_poll_interval_ms=12_000)
    with members(flow, config) as (first, second):
        assert first.side.left_at is not None
        share_all_shards(first, second)
        assert 5.0 < time.monotonic() - first.side.left_at < 12.0
        # The first one awaits nothing any more: it has begun anew.
        flow.send_to(KEY)
        flow.check()
