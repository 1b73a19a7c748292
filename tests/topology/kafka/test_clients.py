"""The settings that exactly-once rests on, as the Kafka clients get them: of flows, of the brokers, of the topics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from sandbox.stack import Part
from sandbox.stack.composition import compose
from sandbox.stack.control import erase
from sandbox.stack.layout import Layout
from sandbox.stack.options import StackOptions
from schemas.topics import ALL
from topology.kafka import KafkaConfig, clients, commits, source
from topology.kafka.clients import changelog_consumer, high_watermark_consumer, member_consumer, transactional_producer

CONFIG = KafkaConfig(bootstrap="nowhere:1")
EPOCH_MS = 50
TAKEOVER_MS_MAX = 15_000


@pytest.fixture
def given() -> Iterator[dict[str, Any]]:
    """The settings of the client that was made last."""
    settings: dict[str, Any] = {}

    def make(given: dict[str, Any]) -> None:
        settings.clear()
        settings.update(given)

    with mock.patch.object(clients, "Consumer", make), mock.patch.object(clients, "Producer", make):
        yield settings


def test_a_process_is_one_static_member_of_its_flows_group(given: dict[str, Any]) -> None:
    member_consumer(CONFIG, group="payments", instance="payments-3")
    assert given["group.id"] == "payments"
    assert given["group.instance.id"] == "payments-payments-3"
    assert given["group.protocol"] == "classic"
    assert given["partition.assignment.strategy"] == "range", "a shard is the same number in every topic"


def test_a_member_commits_nothing_by_itself_and_sees_only_what_is_decided(given: dict[str, Any]) -> None:
    member_consumer(CONFIG, group="payments", instance="0")
    assert given["enable.auto.commit"] is False
    assert given["enable.auto.offset.store"] is False
    assert given["isolation.level"] == "read_committed"
    assert given["auto.offset.reset"] == "error"


def test_input_is_not_held_back_for_longer_than_an_epoch_and_an_epoch_is_no_longer_than_a_batch(
    given: dict[str, Any],
) -> None:
    member_consumer(CONFIG, group="payments", instance="0")
    assert given["fetch.wait.max.ms"] <= EPOCH_MS
    assert source._WAIT_SECONDS * 1000 < EPOCH_MS
    assert source._BATCH == 1_000


def test_a_consumer_does_not_wait_for_a_broker_that_stands_still(given: dict[str, Any]) -> None:
    member_consumer(CONFIG, group="payments", instance="0")
    assert given["socket.timeout.ms"] <= CONFIG.session_timeout_ms
    changelog_consumer(CONFIG, flow="payments")
    assert given["socket.timeout.ms"] <= CONFIG.session_timeout_ms


def test_a_member_that_assigned_too_early_hears_of_a_new_topic_soon(given: dict[str, Any]) -> None:
    member_consumer(CONFIG, group="payments", instance="0")
    assert given["topic.metadata.refresh.interval.ms"] <= 10_000


def test_a_changelog_is_read_committed_and_its_end_is_asked_for_uncommitted(given: dict[str, Any]) -> None:
    changelog_consumer(CONFIG, flow="payments")
    assert given["isolation.level"] == "read_committed"
    high_watermark_consumer(CONFIG, flow="payments")
    assert given["isolation.level"] == "read_uncommitted"


def test_every_write_is_acknowledged_by_all_and_under_the_name_of_the_process(given: dict[str, Any]) -> None:
    transactional_producer(CONFIG, flow="payments", instance="3")
    assert given["transactional.id"] == "payments-3"
    assert given["acks"] == "all"
    assert given["enable.idempotence"] is True


def test_a_transaction_outlasts_the_worst_commit_and_never_what_a_takeover_may_take(given: dict[str, Any]) -> None:
    transactional_producer(CONFIG, flow="payments", instance="0")
    timeout_ms = given["transaction.timeout.ms"]
    assert timeout_ms > EPOCH_MS + 1000 * max(commits._COMMIT_TIMEOUT_SECONDS, commits._COMMIT_LIMIT_SECONDS)
    # Whoever takes over has waited for the session first, and aborted transactions are looked for every second.
    assert timeout_ms > CONFIG.session_timeout_ms
    assert timeout_ms + 1_000 < TAKEOVER_MS_MAX


def test_a_member_is_missed_by_its_heartbeats_long_before_a_poll_may_take_too_long() -> None:
    assert 3 * CONFIG.heartbeat_interval_ms <= CONFIG.session_timeout_ms
    assert CONFIG.session_timeout_ms == 6_000
    assert CONFIG.max_poll_interval_ms == 60_000


@pytest.fixture(params=[1, 3])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings of a broker of the stack, of one and of three."""
    layout = Layout(tmp_path / "stack")
    layout.create()
    count = int(request.param)
    compose(StackOptions(directory=layout.directory, parts=frozenset({Part.KAFKA}), brokers=count), layout)
    name = "kafka.properties" if count == 1 else "kafka-3.properties"
    lines = (layout.directory / name).read_text().splitlines()
    yield {"brokers": str(count), **dict(line.split("=", 1) for line in lines)}
    assert erase(layout.directory) == 0


def test_offsets_are_remembered_for_as_long_as_any_topic_is_kept(broker: dict[str, str]) -> None:
    longest_ms = max(topic.retention_ms for topic in ALL if topic.retention_ms is not None)
    assert int(broker["offsets.retention.minutes"]) * 60_000 >= longest_ms


def test_a_dead_producers_transaction_is_ended_within_a_second_of_its_time_out(broker: dict[str, str]) -> None:
    assert int(broker["transaction.abort.timed.out.transaction.cleanup.interval.ms"]) <= 1_000
    assert int(broker["transaction.max.timeout.ms"]) >= CONFIG.transaction_timeout_ms


def test_what_a_group_and_a_transaction_rest_on_is_replicated_like_the_topics(broker: dict[str, str]) -> None:
    in_sync = "1" if broker["brokers"] == "1" else "2"
    for name in ("offsets.topic", "transaction.state.log"):
        assert broker[f"{name}.replication.factor"] == broker["brokers"]
    assert broker["min.insync.replicas"] == broker["transaction.state.log.min.isr"] == in_sync
