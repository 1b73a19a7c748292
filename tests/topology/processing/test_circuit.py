"""The circuit breaker and the waits between tries, by a clock of numbers."""

from __future__ import annotations

import random

from topology.calls.circuit import Backoff, Circuit

WAIT = Backoff(seconds_min=8.0, seconds_max=20.0)


def a_circuit(failures_max: int = 3) -> Circuit:
    return Circuit(failures_max=failures_max, backoff=WAIT, chance=random.Random(1))


def opened() -> Circuit:
    circuit = a_circuit(failures_max=1)
    circuit.started("first")
    circuit.failed("first", 0.0)
    return circuit


def test_waits_double_with_jitter_up_to_a_limit() -> None:
    chance = random.Random(7)
    for attempt, full in [(0, 8.0), (1, 16.0), (2, 20.0), (50, 20.0), (5_000, 20.0)]:
        waits = [WAIT.seconds(attempt, chance) for _ in range(200)]
        assert full / 2 <= min(waits) < max(waits) <= full


def test_failures_in_a_row_open_it_and_an_answer_between_starts_again() -> None:
    circuit = a_circuit()
    for key in ("1", "2"):
        circuit.failed(key, 0.0)
    circuit.answered()
    for key in ("3", "4"):
        circuit.failed(key, 0.0)
    assert circuit.allows(0.0)
    circuit.failed("5", 0.0)
    assert not circuit.allows(3.9)
    assert circuit.allows(8.0)


def test_one_call_tries_and_its_answer_closes_it() -> None:
    circuit = opened()
    circuit.started("try")
    assert not circuit.allows(8.0)
    circuit.answered()
    assert circuit.allows(8.0)
    assert not circuit.is_open


def test_a_try_that_fails_opens_it_for_longer() -> None:
    circuit = opened()
    circuit.started("try")
    circuit.failed("try", 8.0)
    assert not circuit.allows(8.0 + 7.9)
    assert circuit.allows(8.0 + 16.0)


def test_what_left_before_it_opened_changes_nothing() -> None:
    circuit = opened()
    circuit.failed("older", 7.0)
    assert circuit.allows(8.0)
    circuit.started("try")
    circuit.failed("older still", 8.5)
    circuit.neither("another")
    assert not circuit.allows(9.0), "the one that tries is still out"
    circuit.answered()
    assert circuit.allows(9.0)


def test_a_try_that_was_held_back_leaves_room_for_another() -> None:
    circuit = opened()
    circuit.started("try")
    circuit.neither("try")
    assert circuit.allows(8.0)
