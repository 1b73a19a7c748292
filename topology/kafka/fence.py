"""Fence: the first step of every life of a flow's process, and of every rejoin.

`init_transactions` ends what an earlier life under this name left open (a commit that had been decided is completed,
anything else aborted) and shuts that life out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from topology.kafka.clients import KafkaConfig, transactional_producer
from topology.kafka.flow import FlowSpec

__all__ = ["fence"]

_TIMEOUT_SECONDS = 30.0
# One call is short, so that a process that is asked to stop does.
_SLICE_SECONDS = 2.0


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
            return producer
