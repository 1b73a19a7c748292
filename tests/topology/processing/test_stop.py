"""A clean stop: what never left goes back to waiting, what has left is awaited, and all of it is committed."""

from __future__ import annotations

from tests.topology.domain.script import Payment
from tests.topology.processing.rig import APPROVED, Rig, not_sent, renamed
from topology.calls.slots import ProcessorLimits
from topology.processing import ProcessingConfig
from topology.processors import Cause


def test_nothing_under_way() -> None:
    rig = Rig()
    rig.side.stop()
    assert rig.side.idle()


def test_what_has_left_is_awaited() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.side.stop()
    assert rig.engine.held_back is Cause.stopping
    assert not rig.side.idle()
    rig.answer(APPROVED)
    assert rig.side.idle()
    assert rig.said() == [("authorize", "approved", None)]
    assert rig.calls() == ()


def test_what_never_left_goes_back_to_waiting() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.side.stop()
    rig.answer(not_sent(Cause.stopping))
    assert rig.side.idle()
    assert rig.results() == []
    call = rig.call()
    assert (call.in_flight, call.first_sent_at) == (False, None)
    rig.crash()
    rig.driver.settle()
    assert [order.asked.restored for order in rig.engine.running] == [False], "the next owner calls it, in no doubt"


def test_what_commits_after_the_stop_began_is_not_called() -> None:
    rig = Rig()
    rig.tell("attempt")
    (order,) = rig.engine.orders
    rig.engine.running.clear()
    rig.side.stop()
    rig.side.committed([order])
    assert rig.engine.orders == [order], "not handed over again"
    assert not rig.side.idle()
    rig.driver.settle()
    assert rig.side.idle()
    assert not rig.call().in_flight


def test_events_that_still_come_wait_for_the_next_owner() -> None:
    rig = Rig()
    rig.side.stop()
    rig.tell("attempt")
    assert rig.side.idle()
    assert not rig.call().in_flight
    assert rig.results() == []


def test_nobody_is_called_from_the_queue() -> None:
    rig = Rig(config=ProcessingConfig(default_limits=ProcessorLimits(in_flight_max=1)))
    event = Payment().tell("attempt").events[-1]
    rig.pipe(renamed(event, 1), renamed(event, 2))
    rig.side.stop()
    rig.answer(APPROVED)
    rig.driver.settle()
    assert len(rig.engine.orders) == 1
    assert rig.side.idle()


def test_a_restored_call_that_was_held_back_stays_in_doubt() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.crash()
    rig.driver.settle()
    rig.side.stop()
    rig.answer(not_sent(Cause.stopping))
    assert rig.side.idle()
    call = rig.call()
    assert (call.in_flight, call.restored) == (True, True)
    assert rig.results() == []


def test_the_stop_does_not_wait_for_ever() -> None:
    config = ProcessingConfig(default_limits=ProcessorLimits(deadline_seconds=10.0))
    rig = Rig(config=config)
    rig.tell("attempt")
    rig.side.stop()
    rig.boot.seconds += 9.9
    assert not rig.side.idle()
    rig.boot.seconds += 0.2
    assert rig.side.idle()
    assert rig.call().in_flight

    rig = Rig(config=ProcessingConfig(default_limits=ProcessorLimits(deadline_seconds=60.0)))
    rig.tell("attempt")
    rig.side.stop()
    rig.boot.seconds += 15.1
    assert rig.side.idle(), "15 s at most"
