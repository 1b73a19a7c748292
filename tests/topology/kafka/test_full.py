"""A flow whose side is full leaves its input in the log, stays in its group, and reads on without losing its place."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.counting import Counting
from tests.harness.counting_flow import build_counting
from tests.harness.stack import wait_for
from topology import kafka
from topology.kafka import FlowStatus, KafkaConfig, NoSide

KEY = "pi_00000000000000000000000000000001"


class Filling(NoSide):
    """A side that is full when it is told to be; it counts how often it was asked."""

    def __init__(self) -> None:
        self.full = False
        self.is_full_in_this_run_only = False
        self.asked = itertools.count()

    def close(self) -> None:
        if self.is_full_in_this_run_only:
            self.full = False

    def is_full(self) -> bool:
        next(self.asked)
        return self.full


@pytest.fixture
def flow(kafka_bootstrap: str, tmp_path: Path) -> Iterator[Counting]:
    with Counting(kafka_bootstrap, tmp_path) as made:
        yield made


@contextlib.contextmanager
def running(flow: Counting, side: Filling, *instances: str, finishing: bool = False) -> Iterator[None]:
    """Members in threads of this process, until the end of the block."""
    ended = threading.Event()
    members = [threading.Thread(target=run, args=(flow, side, instance, ended, finishing)) for instance in instances]
    try:
        for member in members:
            member.start()
        yield
    finally:
        ended.set()
        for member in members:
            member.join()


def run(flow: Counting, side: Filling, instance: str, ended: threading.Event, finishing: bool) -> None:
    kafka.run_flow(
        replace(flow.spec, finishes_before_leaving=finishing),
        lambda context: build_counting(context, flow.prefix),
        config=KafkaConfig(bootstrap=flow.bootstrap),
        instance=instance,
        side=side,
        stopping=ended.is_set,
        status=FlowStatus(),
    )


def test_while_it_is_full_nothing_is_read_for_longer_than_a_session(flow: Counting) -> None:
    side = Filling()
    with running(flow, side, "0"):
        flow.send_to(KEY)
        flow.check()
        side.full = True
        asked = next(side.asked)
        wait_for(lambda: next(side.asked) > asked + 10, what="a full side", within_seconds=10.0)
        flow.send(500)
        time.sleep(KafkaConfig(bootstrap=flow.bootstrap).session_timeout_ms / 1_000 + 1.0)
        assert flow.read() == 0
        side.full = False
        flow.check()


def test_filled_and_emptied_all_the_time_it_reads_each_input_once(flow: Counting) -> None:
    side = Filling()
    with running(flow, side, "0", "1"), flow.feeding(2_000):
        for _ in range(60):
            time.sleep(0.1)
            side.full = not side.full
    with running(flow, side, "0", "1"):
        flow.check()


@pytest.mark.parametrize("finishing", [False, True])
def test_one_that_was_full_when_the_group_changed_reads_on(flow: Counting, finishing: bool) -> None:
    first, second = Filling(), Filling()
    with running(flow, first, "0", finishing=finishing):
        flow.send(100)
        flow.check()
        first.full = True
        asked = next(first.asked)
        wait_for(lambda: next(first.asked) > asked + 10, what="a full side", within_seconds=10.0)
        first.is_full_in_this_run_only = True
        with running(flow, second, "1", finishing=finishing):
            wait_for(lambda: next(second.asked) > 10, what="the second member", within_seconds=30.0)
            flow.send(200)
            flow.check()
        flow.send(200)
        flow.check()


def test_one_that_is_full_when_it_starts_reads_nothing(flow: Counting) -> None:
    side = Filling()
    side.full = True
    flow.send(100)
    with running(flow, side, "0"):
        asked = next(side.asked)
        wait_for(lambda: next(side.asked) > asked + 200, what="a full side", within_seconds=30.0)
        assert flow.read() == 0
        side.full = False
        flow.check()
