"""The source and the flow's side: what it brings, the time that it is given, and when it is full."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest
from prometheus_client import REGISTRY

from tests.topology.kafka.sourced import KEY, PLACE, SHARD, OneInjected, Sourced, record
from topology.kafka import Injected, NoSide, Received
from topology.kafka.items import EpochMark


class Answering(OneInjected):
    """A side that has nothing to say until an effect has committed, and then its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = []

    def committed(self, effects: list[object]) -> None:
        self.waiting += [(KEY, SHARD, f"answer to {effect}") for effect in effects]


class Working(NoSide):
    """A side whose work brings something now and then; it notes what time it was given."""

    def __init__(self, *, brings: Sequence[int] = ()) -> None:
        self.given: list[tuple[float | None, Future[None] | None]] = []
        self._brings = brings
        self._brought: list[tuple[str, int, object]] = []

    def work(self, seconds: float | None, until: Future[None] | None = None) -> None:
        self.given.append((seconds, until))
        if len(self.given) in self._brings:
            self._brought.append((KEY, SHARD, "ended"))

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        taken, self._brought = self._brought[:limit], self._brought[limit:]
        return taken


def test_what_the_side_brings_comes_with_the_records() -> None:
    sourced = Sourced([record(7)], side=OneInjected())
    received, injected, mark = sourced.next_items()
    assert isinstance(received, Received)
    assert injected == Injected(KEY, SHARD, "due")
    assert mark == EpochMark()


def test_a_clean_stop_takes_no_more_input_and_waits_for_the_side() -> None:
    side = OneInjected()
    sourced = Sourced([record(7)], side=side, stopping=lambda: True)
    assert sourced.next_items() == [Injected(KEY, SHARD, "due"), EpochMark()]
    assert side.stopped
    assert sourced.membership.paused
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    assert sourced.source.positions() == {PLACE: 7}
    assert sourced.run.may_commit


def test_what_the_side_has_does_not_stretch_an_epoch() -> None:
    side = OneInjected()
    side.waiting = [(KEY, SHARD, number) for number in range(100_000)]
    sourced = Sourced([record(7)], side=side)
    sourced.producer.may_commit.clear()
    sourced.commits.begin([], [])
    threading.Timer(0.2, sourced.producer.may_commit.set).start()
    injected = [item for item in sourced.next_items() if isinstance(item, Injected)]
    assert 1_000 <= len(injected) < 2_000


def test_a_clean_stop_awaits_the_commit_and_does_what_follows_it_first() -> None:
    stopping = False
    sourced = Sourced([record(7)], side=Answering(), stopping=lambda: stopping)
    sourced.next_items()
    sourced.producer.may_commit.clear()
    sourced.commits.begin([], ["call"])
    stopping = True
    threading.Timer(0.2, sourced.producer.may_commit.set).start()
    assert Injected(KEY, SHARD, "answer to call") in sourced.next_items()
    with pytest.raises(StopIteration):
        sourced.source.next_batch()


def test_a_side_that_works_has_the_time_in_which_nothing_comes_and_what_its_work_brings_is_no_later() -> None:
    side = Working(brings=[1])
    sourced = Sourced(side=side)
    assert sourced.next_items() == [Injected(KEY, SHARD, "ended"), EpochMark()]
    ((seconds, until),) = side.given
    assert seconds is not None
    assert (0 < seconds < 0.1, until) == (True, None)


def test_a_side_that_works_can_do_so_before_each_batch_of_a_busy_flow() -> None:
    side = Working(brings=[1, 2, 3])
    sourced = Sourced([record(7)], [record(8)], [record(9)], side=side)
    sourced.next_items()
    side.given.clear()
    sourced.producer.may_commit.clear()
    sourced.commits.begin([], [])
    threading.Timer(0.2, sourced.producer.may_commit.set).start()
    sourced.next_items()
    ((seconds, awaited), *meanwhile) = side.given
    assert (seconds, awaited is None) == (0, True)
    assert meanwhile, "and as long as a commit is awaited"
    assert all(seconds and until is not None for seconds, until in meanwhile)


def test_a_side_that_works_has_the_time_of_a_commit_that_is_awaited_without_a_limit() -> None:
    side = Working()
    sourced = Sourced(side=side)
    sourced.producer.may_commit.clear()
    sourced.commits.begin([], [])
    threading.Timer(0.1, sourced.producer.may_commit.set).start()
    sourced.commits.settle()
    ((seconds, until),) = side.given
    assert seconds is None
    assert until is not None
    assert until.done()


class Full(NoSide):
    """A side that is as full as the test says."""

    full = True

    def is_full(self) -> bool:
        return self.full


def held(flow: str = "flow") -> float | None:
    return REGISTRY.get_sample_value("paystream_input_held", {"flow": flow})


def test_input_stays_in_the_log_while_the_side_is_full() -> None:
    side = Full()
    sourced = Sourced([record(7)], side=side)
    assert sourced.next_items() == []
    assert (sourced.membership.paused, held()) == (True, 1)
    side.full = False
    received, _mark = sourced.next_items()
    assert isinstance(received, Received)
    assert (sourced.membership.paused, held()) == (False, 0)


def test_a_clean_stop_of_a_full_side_reads_nothing_more() -> None:
    side = Full()
    stopping = False
    sourced = Sourced([record(7)], side=side, stopping=lambda: stopping)
    sourced.next_items()
    stopping, side.full = True, False
    with pytest.raises(StopIteration):
        sourced.next_items()
    assert sourced.membership.paused
