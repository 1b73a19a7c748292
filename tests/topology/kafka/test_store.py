"""The state of a flow's shards in memory: what is read is what was last put; what changed is told once."""

from __future__ import annotations

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
