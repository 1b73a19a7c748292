"""The test clock: what it makes due at once, what it leaves alone, and which times are told."""

from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId
from schemas.partitioner import key_in, partition
from schemas.payment import CaptureMethod
from schemas.processing import CallKind, ClockOffset, Pending, ShardClock, Timer, TimerFired
from schemas.times import Micros, later
from schemas.topics import EVENTS, TIMERS
from tests.topology.domain.script import START, Payment
from tests.topology.reconciliation.rig import DAY, HOUR, NOT_FOUND, Rig
from topology.kafka import StateStore
from topology.test_clock import PaymentClock, ShardClocks


def test_what_becomes_due_by_an_advance_is_due_at_once_and_told_at_the_real_time() -> None:
    rig = Rig(test_clock=True)
    rig.pipe()
    since = rig.payment.events[0].at
    rig.advance_clock(DAY - 1)
    assert rig.fired() == []
    rig.advance_clock(DAY)
    (timer,) = rig.driver.read(TIMERS)
    assert (timer.name, timer.due_at) == ("abandonment", later(since, seconds=DAY))
    assert timer.at == rig.clock.now() < timer.due_at
    rig.payment.give(timer)
    assert rig.payment.intent.status == "canceled"
    assert rig.payment.intent.updated_at == rig.clock.now()


def test_without_an_advance_times_are_as_ever() -> None:
    with_clock, without = Rig(test_clock=True), Rig()
    for rig in (with_clock, without):
        rig.tell("attempt", "authorization: unknown")
        rig.advance(10.0)
    assert with_clock.pending() == without.pending()
    assert with_clock.looking_up() == without.looking_up() == [CallKind.authorize]


def test_live_mode_goes_by_the_wall_clock() -> None:
    rig = Rig(test_clock=True)
    live = [replace(event, payment_intent=replace(event.payment_intent, livemode=True)) for event in rig.payment.events]
    rig.driver.pipe(EVENTS, *live)
    rig.advance_clock(30 * DAY)
    rig.driver.crash()
    rig.driver.settle()
    assert rig.fired() == []
    pending = rig.pending()
    assert pending is not None
    assert pending.livemode
    rig.advance(DAY)
    assert rig.fired() == ["abandonment"]


def test_what_begins_after_an_advance_waits_as_long_as_ever() -> None:
    rig = Rig(test_clock=True)
    rig.pipe()
    rig.advance_clock(2 * DAY)
    rig.driver.read(TIMERS)
    rig.clock.advance(1)
    rig.tell("attempt", "authorization: unknown")
    since = rig.clock.now()
    rig.advance_to(since, 9.99)
    assert rig.looking_up() == []
    rig.advance_to(since, 10.0)
    assert rig.looking_up() == [CallKind.authorize]


def test_what_happened_before_an_advance_had_happened_then_whenever_it_is_read() -> None:
    rig = Rig(test_clock=True)
    rig.clock.advance(5)
    rig.advance_clock(DAY)
    rig.pipe()
    rig.driver.settle()
    assert rig.fired() == ["abandonment"]


def test_each_advance_takes_the_ladder_one_step_on() -> None:
    rig = Rig(test_clock=True).tell("attempt", "authorization: unknown")
    rig.clock.advance(1)
    rig.advance_clock(10)
    rig.answer(NOT_FOUND)
    assert rig.feed() == ["lookup not_found"]
    rig.advance_clock(70)
    rig.answer(NOT_FOUND)
    rig.feed()
    assert rig.payment.transactions()[-1] == "void (doubt) created"


def test_an_advance_survives_the_process_and_what_was_lost_never_was() -> None:
    rig = Rig(test_clock=True)
    rig.pipe()
    rig.advance_clock(DAY, lost=True)
    assert rig.fired() == []
    rig.advance_clock(DAY - 1)
    rig.restart()
    assert rig.fired() == []
    rig.advance(1)
    assert rig.fired() == ["abandonment"]


def test_restored_payments_wake_by_an_advance_too() -> None:
    rig = Rig(test_clock=True)
    count = 1_200
    timer = Timer(name="abandonment", due_at=later(START, seconds=HOUR), set_at=START)
    keys = [PaymentIntentId(f"pi_{number:032x}") for number in range(count)]
    for key in keys:
        pending = Pending(payment_intent_id=key, sequence=1, timers=(timer,), lookups=(), livemode=False)
        rig.driver.store.put(key, partition=partition(key, 4), value=encode(pending))
    rig.driver.settle()
    rig.driver.crash()
    offset = ClockOffset(offset_micros=3_600_000_000, actor_id="ada", at=rig.clock.now())
    for shard in range(4):
        rig.driver.pipe_to(TIMERS, shard, offset)
    for _ in range(4):
        rig.driver.settle()
    assert rig.fired() == ["abandonment"] * count


def test_the_clock_goes_with_its_shard() -> None:
    rig = Rig(test_clock=True)
    rig.advance_clock(DAY)
    rig.driver.crash(shards={(rig.shard + 1) % 4})
    assert not rig.side.clocks.of(rig.shard, livemode=False).advances
    rig.driver.crash(shards={rig.shard})
    assert rig.side.clocks.of(rig.shard, livemode=False).now(START) == later(START, seconds=DAY)
    rig.clock.advance(1)
    rig.tell("attempt", "authorization: unknown")
    assert rig.looking_up() == []


@pytest.mark.parametrize("total_seconds", [DAY, DAY - 1, 0, -DAY, 1e12])
def test_the_clock_only_goes_forward(total_seconds: float) -> None:
    rig = Rig(test_clock=True)
    rig.advance_clock(DAY)
    changelog = list(rig.driver.log["payments.pending"])
    rig.advance_clock(total_seconds)
    assert rig.driver.log["payments.pending"] == changelog
    assert rig.side.clocks.of(rig.shard, livemode=False).now(START) == later(START, seconds=DAY)


def test_where_it_is_off_an_advance_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.pipe()
    with caplog.at_level(logging.WARNING, "paystream.test_clock"):
        rig.advance_clock(30 * DAY)
    assert rig.fired() == []
    assert "is off here" in caplog.text


def test_its_own_timers_are_no_news() -> None:
    rig = Rig(test_clock=True)
    rig.pipe()
    rig.advance(DAY)
    (timer,) = rig.driver.read(TIMERS)
    before = dict(rig.driver.log)
    pending = rig.pending()
    rig.driver.pipe(TIMERS, timer, replace(timer, payment_intent_id=PaymentIntentId("pi_" + "0" * 32)))
    assert rig.pending() == pending
    assert dict(rig.driver.log) == before
    assert isinstance(timer, TimerFired)


def test_the_end_of_a_hold_does_not_run_away_from_small_advances() -> None:
    """It is counted anew with each event, and each advance brings some."""
    rig = Rig(test_clock=True).tell("attempt", "authorization: unknown")
    fired: list[str] = []
    for day in range(1, 8):
        rig.clock.advance(1)
        rig.advance_clock(day * DAY)
        while rig.engine.running:
            rig.answer(NOT_FOUND)
        fired += rig.feed()
    assert "hold_ended" not in fired, "seven days are held at most, and a day more for what was on its way"
    rig.clock.advance(1)
    rig.advance_clock(8 * DAY + 60)
    assert "hold_ended" in rig.feed()


@pytest.mark.parametrize("said", [None, 3 * DAY], ids=["the fold counts", "the processor says"])
def test_an_authorization_of_an_advanced_time_expires_in_its_own(said: float | None) -> None:
    rig = Rig(test_clock=True, payment=Payment(capture=CaptureMethod.manual, route=("a",)))
    rig.pipe()
    rig.advance_clock(10 * DAY)
    rig.driver.read(TIMERS)
    rig.clock.advance(1)
    rig.tell("attempt")
    approved = rig.payment._input("authorization: approved")
    assert not isinstance(approved, TimerFired)
    if said is not None:
        # The simulated network goes by the same clock.
        approved = replace(approved, capture_before=later(approved.at, seconds=10 * DAY + said))
    rig.payment.give(approved)
    rig.pipe()
    held_seconds = 7 * DAY if said is None else said
    rig.clock.advance(1)
    rig.advance_clock(10 * DAY + held_seconds - 10)
    assert rig.fired() == []
    rig.advance_clock(10 * DAY + held_seconds)
    assert rig.feed() == ["authorization_expiry"]
    assert rig.payment.transactions()[-1] == "void (expiry) created"


def test_so_many_advances_are_kept_that_a_record_stays_small() -> None:
    store = StateStore()
    clocks = ShardClocks(store, allowed=True)
    for number in range(1, 1_001):
        assert clocks.take(ClockOffset(offset_micros=number, actor_id="ada", at=Micros(number * 1_000)), 3)
    kept = store.load("clock-3", ShardClock, partition=3)
    assert kept is not None
    assert len(kept.advances) == 200
    clock = ShardClocks(store, allowed=True).of(3, livemode=False)
    assert clock.now(Micros(5_000_000)) == 5_001_000
    assert clock.shown_at(Micros(950_500)) == 950_500 + 950
    assert clock.shown_at(Micros(5)) == 5 + 801, "later than it was rather than earlier"


def test_a_clock_that_was_behind_does_not_change_what_was() -> None:
    clocks = ShardClocks(StateStore(), allowed=True)
    clocks.take(ClockOffset(offset_micros=10, actor_id="ada", at=Micros(100)), 0)
    clocks.take(ClockOffset(offset_micros=30, actor_id="bob", at=Micros(50)), 0)
    clock = clocks.of(0, livemode=False)
    assert [clock.shown_at(Micros(at)) for at in (49, 60, 99, 100)] == [49, 60, 99, 130]
    assert PaymentClock().now(Micros(7)) == PaymentClock().shown_at(Micros(7)) == 7


@pytest.mark.parametrize("partitions", [1, 4, 64])
def test_an_advance_bears_a_key_of_its_partition(partitions: int) -> None:
    for number in range(partitions):
        assert partition(key_in(number, partitions, prefix=f"clock-{number}-"), partitions) == number
