"""The test clock in settlement: whose windows it ends, whose not, and which times stay real."""

from __future__ import annotations

import pytest

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId
from schemas.processing import ShardClock, TimerFired
from schemas.times import later
from schemas.topics import OPEN_CAPTURES, SETTLEMENTS, TIMERS
from tests.topology.settlement.rig import DAY, KEY, SHARD, Rig
from tests.topology.settlement.script import START
from topology import test_clock

# Monday's window ends at midnight; its grace is Tuesday, Wednesday and Thursday.
DUE_SECONDS = 4 * DAY - (14 * 3_600 + 13 * 60 + 20)


@pytest.fixture
def rig() -> Rig:
    """Captures in test mode."""
    return Rig(livemode=False, test_clock=True)


def asked(rig: Rig) -> int:
    """How many windows have ended and are asked about."""
    return len([question for question in rig.judge.asked if question.asked.settlement_id is None])


def test_an_advance_ends_a_window_and_what_is_written_bears_the_real_time(rig: Rig) -> None:
    rig.capture()
    rig.advance_clock(DUE_SECONDS - 2)
    assert asked(rig) == 0
    rig.advance_clock(DUE_SECONDS)
    assert asked(rig) == 1
    rig.known("captured")
    (settlement,) = rig.driver.read(SETTLEMENTS)
    assert (settlement.outcome, settlement.at) == ("missing_at_processor", rig.clock.now())


def test_live_mode_goes_by_the_wall_clock() -> None:
    rig = Rig(livemode=True, test_clock=True)
    rig.capture()
    rig.advance_clock(30 * DAY)
    rig.restart()
    assert asked(rig) == 0
    rig.driver.advance(DUE_SECONDS)
    assert asked(rig) == 1


def test_where_it_is_off_an_advance_is_ignored() -> None:
    rig = Rig(livemode=False, test_clock=False)
    rig.capture()
    rig.advance_clock(30 * DAY)
    assert asked(rig) == 0


def test_a_capture_after_an_advance_has_the_window_of_the_advanced_day(rig: Rig) -> None:
    rig.advance_clock(DAY)
    rig.clock.advance(1)
    rig.capture()
    rig.advance_clock(DUE_SECONDS)
    assert asked(rig) == 0, "Tuesday's, whose grace ends on Friday"
    rig.advance_clock(DUE_SECONDS + DAY)
    assert asked(rig) == 1


def test_a_capture_before_an_advance_that_is_read_first_was_made_before_it(rig: Rig) -> None:
    captured_at = rig.clock.now()
    rig.clock.advance(5)
    rig.advance_clock(DUE_SECONDS)
    rig.clock.at = captured_at
    rig.capture()
    rig.driver.advance(6)
    assert asked(rig) == 1


def test_a_capture_that_is_read_before_an_advance_which_it_followed_is_not_due_at_once(rig: Rig) -> None:
    """As after a restart with both behind: no order holds between two topics."""
    rig.clock.advance(5)
    rig.capture()
    rig.advance_clock(30 * DAY, at=START)
    assert asked(rig) == 0
    assert rig.driver.state(KEY).due_at > later(START, seconds=30 * DAY)
    rig.advance_clock(36 * DAY, at=START)
    assert asked(rig) == 0, "this advance, too, had been made before the capture"
    rig.advance_clock(42 * DAY)
    assert asked(rig) == 1


def test_it_is_not_put_off_for_ever_by_many_small_advances(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the clock showed once is forgotten after a while, and then it shows more."""
    monkeypatch.setattr(test_clock, "_ADVANCES_KEPT", 3)
    rig.capture()
    for number in range(1, 12):
        rig.advance_clock(number * DAY / 2)
    assert asked(rig) == 1


def test_the_clock_survives_and_is_none_of_the_captures(rig: Rig) -> None:
    rig.capture()
    rig.advance_clock(DUE_SECONDS - 60)
    assert isinstance(rig.driver.state(f"clock-{SHARD}"), ShardClock)
    rig.restart()
    assert rig.gauge("paystream_open_captures") == 1
    rig.driver.advance(60)
    assert asked(rig) == 1
    rig.restart()
    assert asked(rig) == 1, "asked again by whoever took over"


def test_an_advance_that_was_lost_has_not_been_made(rig: Rig) -> None:
    rig.capture()
    rig.advance_clock(DUE_SECONDS, lost=True)
    assert asked(rig) == 0
    rig.advance_clock(DUE_SECONDS)
    assert asked(rig) == 1


def test_the_clocks_of_other_shards_are_their_own(rig: Rig) -> None:
    rig.capture()
    rig.advance_clock(30 * DAY)
    rig.driver.crash(shards=[shard for shard in range(4) if shard != SHARD])
    assert rig.side.clocks.of((SHARD + 1) % 4, livemode=False).advances == ()


def test_timers_are_no_news(rig: Rig) -> None:
    rig.capture()
    before = len(rig.driver.log[OPEN_CAPTURES.name])
    intent = PaymentIntentId("pi_" + "0" * 32)
    timer = TimerFired(payment_intent_id=intent, name="abandonment", due_at=START, at=START)
    rig.driver.pipe(TIMERS, timer)
    assert (asked(rig), len(rig.driver.log[OPEN_CAPTURES.name])) == (0, before)
    assert encode(timer)
    rig.line()
    assert rig.outcomes() == ["settled"]
