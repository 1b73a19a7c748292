"""The gate: a call leaves once, in time, or provably never."""

from __future__ import annotations

import pytest

from schemas.processing import Outcome
from topology.processors import Cause, Departure, HeldBack, boot_seconds


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_call_that_left_is_unknown_and_cannot_be_held_back() -> None:
    departure = Departure(boot_seconds=Clock(), send_before=None)
    departure.leave()
    assert departure.left
    assert not departure.hold_back(Cause.stopping)
    answer = departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.timed_out)
    assert (answer.outcome, answer.code) == (Outcome.unknown, Cause.timed_out)


def test_a_call_that_was_said_not_to_be_sent_can_never_leave() -> None:
    departure = Departure(boot_seconds=Clock(), send_before=None)
    answer = departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.timed_out)
    assert (answer.outcome, answer.code) == (Outcome.not_sent, Cause.no_connection)
    with pytest.raises(HeldBack):
        departure.leave()
    assert not departure.left


def test_nothing_leaves_after_the_machine_was_suspended() -> None:
    clock = Clock()
    departure = Departure(boot_seconds=clock, send_before=clock.seconds + 5.0)
    clock.seconds += 3600.0
    with pytest.raises(HeldBack) as held_back:
        departure.leave()
    assert held_back.value.cause is Cause.send_before_passed
    answer = departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.timed_out)
    assert (answer.outcome, answer.code) == (Outcome.not_sent, Cause.send_before_passed)


def test_the_first_cause_is_the_one_on_record() -> None:
    departure = Departure(boot_seconds=Clock(), send_before=None)
    assert departure.hold_back(Cause.stopping)
    assert departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.timed_out).code == Cause.stopping


def test_a_client_that_tries_again_by_itself_is_stopped() -> None:
    departure = Departure(boot_seconds=Clock(), send_before=None)
    departure.leave()
    with pytest.raises(HeldBack):
        departure.leave()
    assert departure.nothing_learnt(not_sent=Cause.no_connection, unknown=Cause.timed_out).outcome is Outcome.unknown


def test_the_clock_goes_on() -> None:
    before = boot_seconds()
    assert boot_seconds() >= before > 0
