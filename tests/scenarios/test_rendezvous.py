"""Threads meet, one of them acts, and who will not come is not waited for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.scenarios.rendezvous import Rendezvous


def test_the_last_to_come_acts_once_and_all_go_on() -> None:
    meeting, acts, came = Rendezvous(3), list[int](), list[int]()
    begun = threading.Event()

    def row(number: int) -> int:
        came.append(number)
        meeting.meet(lambda: acts.append(len(came)), within_seconds=5)
        return len(acts)

    with ThreadPoolExecutor(3) as pool:
        first = [pool.submit(row, number) for number in range(2)]
        begun.wait(0.05)
        assert not any(future.done() for future in first)
        assert row(2) == 1
        assert [future.result(5) for future in first] == [1, 1]
    assert acts == [3]
    assert meeting.wait_until_over(within_seconds=0)


def test_one_that_leaves_is_not_waited_for() -> None:
    meeting, acts = Rendezvous(2), list[bool]()
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(meeting.meet, lambda: acts.append(True), within_seconds=5)
        time.sleep(0.05)
        assert not waits.done()
        meeting.leave()
        waits.result(5)
    assert acts == [True]


def test_when_all_have_left_nobody_waits_for_the_end() -> None:
    meeting = Rendezvous(1)
    assert not meeting.wait_until_over(within_seconds=0)
    meeting.leave()
    assert meeting.wait_until_over(within_seconds=0)


def test_a_failure_is_told_to_each() -> None:
    meeting = Rendezvous(2)

    def fail() -> None:
        raise OSError("no")

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(meeting.meet, fail, within_seconds=5)
        with pytest.raises(RuntimeError, match="has failed"):
            meeting.meet(fail, within_seconds=5)
        assert isinstance(other.exception(5), RuntimeError)


def test_a_meeting_to_which_not_all_come_ends_in_time() -> None:
    with pytest.raises(TimeoutError, match="1 of 2"):
        Rendezvous(2).meet(lambda: None, within_seconds=0.05)
