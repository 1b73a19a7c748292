"""The state of a flow's shards in memory: what is read is what was last put; what changed is told once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId
from schemas.operations import Forgotten
from schemas.processing import TimerFired
from schemas.times import Micros
from topology.kafka import StateStore


def test_a_key_has_the_last_value_that_was_put() -> None:
    store = StateStore()
    store.put("a", partition=1, value=b"1")
    store.put("a", partition=1, value=b"2")
    assert store.get("a") == b"2"
    assert store.get("b") is None
    assert len(store) == 1
    assert list(store.items()) == [("a", b"2")]


def test_an_epoch_writes_the_last_value_of_each_changed_key_once() -> None:
    store = StateStore()
    store.put("a", partition=1, value=b"1")
    store.put("b", partition=2, value=b"1")
    store.put("a", partition=1, value=b"2")
    assert store.take_changes() == [("a", 1, b"2"), ("b", 2, b"1")]
    assert store.take_changes() == []


def test_a_removed_key_is_written_as_a_tombstone() -> None:
    store = StateStore()
    store.put("a", partition=1, value=b"1")
    store.take_changes()
    store.put("a", partition=1, value=None)
    assert store.get("a") is None
    assert len(store) == 0
    assert store.take_changes() == [("a", 1, None)]


def test_a_key_that_comes_and_goes_within_an_epoch_leaves_a_tombstone() -> None:
    store = StateStore()
    store.put("a", partition=1, value=b"1")
    store.put("a", partition=1, value=None)
    assert store.take_changes() == [("a", 1, None)]


def test_what_is_restored_is_no_change() -> None:
    store = StateStore()
    store.restore("a", b"1")
    store.restore("b", b"1")
    store.restore("b", None)
    store.restore("never there", None)
    assert list(store.items()) == [("a", b"1")]
    assert store.take_changes() == []


def test_a_record_that_was_saved_is_read_as_it_was_however_many_came_after() -> None:
    store, timers = StateStore(), {f"pi_{number}": timer(number) for number in range(20_000)}
    for key, saved in timers.items():
        store.save(key, saved, partition=0)
        assert store.load(key, TimerFired, partition=0) is saved
    assert all(store.load(key, TimerFired, partition=0) == saved for key, saved in timers.items())
    assert len(store) == len(timers) == len(store.take_changes())


def test_a_long_record_is_kept_as_bytes_only() -> None:
    store, long = StateStore(), replace(timer(1), name="x" * 3_000)
    store.save("a", long, partition=0)
    assert store.load("a", TimerFired, partition=0) == long
    assert store.load("a", TimerFired, partition=0) is not long
    store.save("a", timer(1), partition=0)
    store.save("a", long, partition=0)
    assert store.load("a", TimerFired, partition=0) == long


@pytest.mark.parametrize("value", [None, encode(Forgotten(up_to=Micros(1)))])
def test_what_is_put_or_removed_afterwards_takes_the_place_of_a_saved_record(value: bytes | None) -> None:
    store = StateStore()
    store.save("a", timer(1), partition=0)
    store.put("a", partition=0, value=value)
    assert store.load("a", Forgotten, partition=0) == (None if value is None else Forgotten(up_to=Micros(1)))
    store.save("a", None, partition=0)
    assert store.load("a", Forgotten, partition=0) is None


def timer(number: int) -> TimerFired:
    at = Micros(number)
    return TimerFired(payment_intent_id=PaymentIntentId(f"pi_{number}"), name="ladder", due_at=at, at=at)
