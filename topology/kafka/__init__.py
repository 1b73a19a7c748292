"""Exactly-once on Kafka for every flow: fence, join, restore, fold, commit, leave.

Kafka Streams' `exactly_once_v2` (KIP-447) on Bytewax, as DESIGN section 4 has it. A flow describes itself with
`FlowSpec`, `inputs` and `output`; `run_flow` executes it.
"""

from topology.kafka.clients import KafkaConfig, plain_producer
from topology.kafka.epoch import RunEnded
from topology.kafka.failures import OffsetsExpired
from topology.kafka.flow import (
    Clock,
    FlowContext,
    FlowSpec,
    NoSide,
    Side,
    WallClock,
    WrongPartitions,
    check_partitions,
    inputs,
    output,
)
from topology.kafka.items import AfterCommit, Injected, Input, Output, Produce, Received
from topology.kafka.membership import StartOffsets
from topology.kafka.runner import FlowStatus, run_flow
from topology.kafka.stateful import stateful
from topology.kafka.store import StateStore

__all__ = [
    "AfterCommit",
    "Clock",
    "FlowContext",
    "FlowSpec",
    "FlowStatus",
    "Injected",
    "Input",
    "KafkaConfig",
    "NoSide",
    "OffsetsExpired",
    "Output",
    "Produce",
    "Received",
    "RunEnded",
    "Side",
    "StartOffsets",
    "StateStore",
    "WallClock",
    "WrongPartitions",
    "check_partitions",
    "inputs",
    "output",
    "plain_producer",
    "run_flow",
    "stateful",
]
