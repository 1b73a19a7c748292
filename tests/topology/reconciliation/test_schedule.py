"""The schedule: earliest first, one moment per key, and no pile of outdated ones."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from schemas.times import Micros
from topology.pending.schedule import Schedule
from topology.pending.times import ReconciliationTimes


def test_earliest_first_and_once() -> None:
    schedule = Schedule()
    for at, key in [(30, "c"), (10, "a"), (20, "b")]:
        schedule.set(key, Micros(at))
    schedule.set("b", Micros(5))
    schedule.set("c", None)
    schedule.set("never set", None)
    assert schedule.first() == 5
    assert schedule.take_due(Micros(4), 10) == []
    assert schedule.take_due(Micros(100), 1) == ["b"]
    assert schedule.take_due(Micros(100), 10) == ["a"]
    assert schedule.take_due(Micros(100), 10) == []
    assert len(schedule) == 0
    assert schedule.first() is None


def test_payments_that_end_early_leave_nothing_behind() -> None:
    schedule = Schedule()
    for number in range(50_000):
        schedule.set(f"k{number}", Micros(1_000_000 + number))
        schedule.set(f"k{number}", None)
    assert len(schedule._heap) < 5_000


@given(
    st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(0, 50))), max_size=60), st.integers(0, 50)
)
def test_as_a_dictionary_would(steps: list[tuple[int, int | None]], now: int) -> None:
    schedule, expected = Schedule(), dict[str, int]()
    for key, at in steps:
        schedule.set(str(key), None if at is None else Micros(at))
        if at is None:
            expected.pop(str(key), None)
        else:
            expected[str(key)] = at
    assert schedule.first() == min(expected.values(), default=None)
    due = schedule.take_due(Micros(now), 100)
    assert sorted(due) == sorted(key for key, at in expected.items() if at <= now)
    assert [expected[key] for key in due] == sorted(expected[key] for key in due)


def test_the_next_step_is_always_to_come() -> None:
    times = ReconciliationTimes()
    chance = random.Random(3)
    for _ in range(2_000):
        step = chance.randrange(12)
        now = Micros(times.step_at(step, since=Micros(0)) + chance.randrange(20 * 86_400_000_000))
        following = times.step_after(step, since=Micros(0), now=now)
        assert following > step
        assert times.step_at(following, since=Micros(0)) > now
        assert following == step + 1 or times.step_at(following - 1, since=Micros(0)) <= now
