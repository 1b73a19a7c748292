"""Fence: the first step of every life of a flow's process, and of every rejoin.

`init_transactions` aborts what an earlier life under this name left open and shuts that life out. It is not enough
where a broker was killed in the middle of our commit: the restarted group coordinator was seen (Kafka 4.3.1) to keep
the offsets of a transaction as pending although the transaction was over, so that whoever reads the committed offsets
waits for ever. The markers of one more transaction of ours on the group's offsets clear that; so the fence ends with
one that is aborted. It names no generation, and nothing of it is ever applied.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer, TopicPartition

from topology.kafka.clients import KafkaConfig, outside_consumer, transactional_producer
from topology.kafka.flow import FlowSpec

__all__ = ["fence"]

_TIMEOUT_SECONDS = 30.0
# One call is short, so that a process that is asked to stop does.
_SLICE_SECONDS = 2.0
_SETTLE_TIMEOUT_SECONDS = 10.0


def fence(spec: FlowSpec, config: KafkaConfig, *, instance: str, stopping: Callable[[], bool]) -> Producer:
    """The producer of this life, with nothing of an earlier one left; raises KafkaException."""
    producer = transactional_producer(config, flow=spec.name, instance=instance)
    until = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        try:
            producer.init_transactions(_SLICE_SECONDS)
        except KafkaException as error:
            # A call that timed out is taken up again by the next one.
            if not error.args[0].retriable() or time.monotonic() > until or stopping():
                raise
        else:
            break
    _settle_pending_offsets(spec, config, producer)
    return producer


def _settle_pending_offsets(spec: FlowSpec, config: KafkaConfig, producer: Producer) -> None:
    outsider = outside_consumer(config, group=spec.name)
    try:
        producer.begin_transaction()
        producer.send_offsets_to_transaction(
            [TopicPartition(spec.inputs[0].name, 0, 0)], outsider.consumer_group_metadata(), _SETTLE_TIMEOUT_SECONDS
        )
        producer.abort_transaction(_SETTLE_TIMEOUT_SECONDS)
    finally:
        outsider.close()
