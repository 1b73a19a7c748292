"""A processor that has not said what it promises, because it is down as we start: nothing sent, nothing believed."""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace
from prometheus_client import REGISTRY

from schemas.processing import CallKind
from tests.topology.domain.script import Payment
from tests.topology.processing.rig import APPROVED, DEDUPLICATES, Rig, renamed
from topology.calls.slots import ProcessorLimits
from topology.processing import ProcessingConfig
from topology.processors import Capabilities, Cause

DOES_NOT = dataclasses.replace(DEDUPLICATES, deduplicates=frozenset({CallKind.capture, CallKind.void}))
NO_SLOT = ProcessingConfig(default_limits=ProcessorLimits(in_flight_max=0))


def say(rig: Rig, capabilities: Capabilities = DEDUPLICATES) -> None:
    """The processor has come up and answered."""
    rig.processors["a"].capabilities = capabilities
    rig.driver.settle()
    rig.driver.settle()


def sample(name: str, processor: str = "a") -> float | None:
    return REGISTRY.get_sample_value(f"paystream_processor_{name}", {"processor": processor})


def authorizing() -> Rig:
    """A process that has called, and dies before it hears the answer."""
    rig = Rig()
    rig.tell("attempt")
    return rig


def test_what_was_in_flight_rests_until_it_is_known_then_it_is_called_again() -> None:
    before = authorizing()
    rig = before.successor(silent=("a",))
    rig.advance(3_600.0)
    assert rig.engine.orders == []
    assert rig.results() == []
    assert rig.call() == before.call()
    say(rig, dataclasses.replace(DEDUPLICATES, deduplication_seconds=7_200.0))
    assert rig.said() == [("authorize", "unknown", Cause.expired_before_send)], "the customer has gone"

    rig = authorizing().successor(silent=("a",))
    say(rig)
    (again,) = rig.engine.running
    assert again.asked == replace(before.call(), restored=True)
    rig.answer(APPROVED)
    assert rig.said() == [("authorize", "approved", None)]


def test_where_it_turns_out_not_to_deduplicate_what_was_in_flight_is_unknown_and_never_called_again() -> None:
    rig = authorizing().successor(silent=("a",))
    say(rig, DOES_NOT)
    assert rig.engine.orders == []
    assert rig.said() == [("authorize", "unknown", Cause.restarted)]
    assert rig.calls() == ()


def test_a_crash_while_it_rests_changes_nothing() -> None:
    rig = authorizing().successor(silent=("a",))
    rig = rig.successor(silent=("a",))
    assert rig.results() == []
    say(rig)
    assert [order.asked.restored for order in rig.engine.running] == [True]


def test_a_rebalance_while_it_rests_makes_no_second_call_of_it() -> None:
    rig = authorizing().successor(silent=("a",))
    for _ in range(3):
        rig.crash()
        rig.driver.settle()
    say(rig)
    assert len(rig.engine.orders) == 1


def test_a_stop_leaves_what_rests_to_the_next_owner() -> None:
    rig = authorizing().successor(silent=("a",))
    rig.side.stop()
    assert rig.side.idle()
    assert rig.call().in_flight


def test_captures_and_voids_wait_and_are_called_as_soon_as_it_is_known() -> None:
    rig = Rig(silent=("a",))
    rig.payment.tell("attempt", "authorization: approved")
    rig.tell()
    rig.advance(3_600.0)
    assert rig.engine.orders == []
    assert [call.call for call in rig.calls()] == [CallKind.capture]
    rig.results()
    rig = rig.successor(silent=("a",))
    assert not rig.call().in_flight
    say(rig, Capabilities())
    assert [order.kind for order in rig.engine.running] == [CallKind.capture]
    assert rig.results() == []


def test_an_authorization_is_not_sent_so_that_another_processor_may_take_it() -> None:
    rig = Rig(silent=("a",))
    rig.tell("attempt")
    assert rig.said() == [("authorize", "not_sent", Cause.circuit_open)]
    rig.tell("authorization: not_sent circuit_open")
    assert [order.asked.processor for order in rig.engine.running] == ["b"], "others go on"

    waiting = Rig(config=NO_SLOT)
    waiting.tell("attempt")
    rig = waiting.successor(silent=("a",))
    assert rig.said() == [("authorize", "not_sent", Cause.circuit_open)], "one that waited in an earlier life too"


def test_a_repeat_that_cannot_leave_is_unknown() -> None:
    rig = Rig(silent=("a",))
    rig.payment.tell("attempt", "authorization: approved", "capture: unknown")
    rig._told = len(rig.payment.events)
    rig.tell("timer: ladder of capture")
    assert rig.said() == [("capture", "unknown", Cause.circuit_open)]


def test_the_gauges_tell_of_it() -> None:
    rig = authorizing().successor(silent=("a",))
    assert (sample("circuit_open"), sample("circuit_open", "b")) == (1, 0)
    assert sample("calls_waiting") == 1
    rig.pipe(renamed(Payment().tell("attempt", "authorization: approved").events[-1], 1))
    rig.driver.settle()
    assert sample("calls_waiting") == 2
    say(rig)
    assert (sample("circuit_open"), sample("calls_waiting")) == (0, 0)
    assert len(rig.engine.running) == 2


def test_entries_of_a_processor_that_is_not_configured_are_counted_until_they_end() -> None:
    rig = Rig(processors=("b",))
    rig.payment.tell("attempt", "authorization: challenge", "cancel")
    rig._told = len(rig.payment.events) - 1
    rig.tell()
    rig.driver.settle()
    assert [call.in_flight for call in rig.calls()] == [False]
    assert sample("calls_waiting") == 1
    rig = rig.successor(processors=("b",))
    assert sample("calls_waiting") == 1
    rig.tell("operator: void approved")
    rig.driver.settle()
    assert rig.calls() == ()
    assert sample("calls_waiting") == 0

    rig = Rig(processors=("b",))
    rig.pipe(renamed(Payment().tell("attempt", "authorization: approved").events[-1], 1))
    rig.driver.settle()
    assert sample("calls_waiting") == 1
    rig.driver.log.clear()
    rig.crash()
    rig.driver.settle()
    assert not sample("calls_waiting"), "its shard is another's now"
