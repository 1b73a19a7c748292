"""Timers and look-ups survive a crash: what was due meanwhile is due at once, what was under way is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

from msgspec.structs import replace

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId
from schemas.processing import CallKind, Pending, Timer
from schemas.times import later
from tests.topology.domain.script import START
from tests.topology.processing.rig import FakeEngine
from tests.topology.reconciliation.rig import APPROVED, DAY, HOUR, NO_ANSWER, Rig
from topology.calls.engine import Order
from topology.pending import side as side_module


def doubtful() -> Rig:
    return Rig().tell("attempt", "authorization: unknown")


def test_timers_go_on_as_if_nothing_had_happened() -> None:
    rig = doubtful()
    before = rig.pending()
    since = rig.clock.now()
    rig.restart()
    assert rig.pending() == before
    rig.advance_to(since, 9.99)
    assert rig.looking_up() == []
    rig.advance_to(since, 10.0)
    assert rig.looking_up() == [CallKind.authorize]


def test_what_came_due_meanwhile_is_due_at_once() -> None:
    rig = Rig()
    rig.pipe()
    rig.clock.advance(2 * DAY)
    rig.restart()
    assert rig.fired() == ["abandonment"]
    rig.restart()
    assert rig.fired() == [], "and it has fired for good"


def test_a_look_up_that_was_cut_short_is_made_again() -> None:
    rig = doubtful()
    rig.advance(10.0)
    (order,) = rig.engine.running
    rig.restart()
    assert rig.engine.running == [order]
    rig.answer(APPROVED)
    assert [result.outcome for result in rig.results()] == ["approved"]


def test_an_answer_whose_commit_failed_is_asked_for_again() -> None:
    rig = doubtful()
    rig.advance(10.0)
    rig.engine.finish(NO_ANSWER)
    rig.driver.settle(lost=True)
    assert rig.results() == []
    rig.driver.settle()
    rig.answer(NO_ANSWER)
    assert len(rig.results()) == 1
    pending = rig.pending()
    assert pending is not None
    assert [timer.step for timer in pending.timers if timer.name == "ladder"] == [1]


def test_a_step_whose_commit_failed_is_taken_again() -> None:
    rig = doubtful()
    rig.driver.advance(10.0, lost=True)
    assert rig.looking_up() == []
    rig.driver.settle()
    assert rig.looking_up() == [CallKind.authorize]


def test_a_stop_waits_for_no_look_up() -> None:
    rig = doubtful()
    rig.advance(10.0)
    rig.side.stop()
    assert rig.side.idle()
    rig.clock.advance(HOUR)
    assert rig.side.drain(100) == []


def test_a_large_store_is_gone_through_bit_by_bit() -> None:
    rig = Rig()
    count = 1_200
    keys = [PaymentIntentId(f"pi_{number:032x}") for number in range(count)]
    timer = Timer(name="abandonment", due_at=later(START, seconds=HOUR), set_at=START)
    pending = Pending(payment_intent_id=keys[0], sequence=1, timers=(timer,), lookups=())
    for key in keys:
        rig.driver.store.put(key, partition=0, value=encode(replace(pending, payment_intent_id=key)))
    rig.driver.settle()
    rig.driver.crash()
    rig.clock.advance(2 * HOUR)
    batches = [len(rig.side.drain(1_000)) for _ in range(5)]
    assert sum(batches) == count
    assert max(batches) < count


def test_a_look_up_that_begins_before_its_key_was_gone_through_leaves_once_and_after_its_commit() -> None:
    rig = Rig()
    rig.tell("attempt", "authorization: challenge")
    rig.driver.crash()
    side, store = rig.side, rig.driver.store
    submitted: list[str] = []

    class Watched(FakeEngine):
        def submit(self, orders: Sequence[Order]) -> None:
            submitted.extend(order.asked.transaction_id for order in orders)

    side._engine = Watched()
    with mock.patch.object(side_module, "_GONE_THROUGH_AT_ONCE", 0):
        rig.tell("return")
    assert len(submitted) == 1
    assert len(store) == 1
    rig.advance(0.0)
    assert len(submitted) == 1


def test_an_event_before_the_key_was_gone_through() -> None:
    rig = doubtful()
    rig.driver.crash()
    rig.tell("authorization: approved")
    rig.advance(HOUR)
    assert rig.looking_up() == []
    assert rig.timers() == ["unanswered_alert"]
