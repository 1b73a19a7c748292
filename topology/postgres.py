"""The postgres flow: events, settlements and what persons say of them into the read model.

Reads `payments.events` and `payments.settlements`; writes to PostgreSQL through `sinks.postgres`, rows and
offsets in one transaction per epoch. The offsets there are the only ones that count: each run starts from them, and
moves them by compare-and-set. Driven by `topology.kafka`, of which it needs an `EventSource`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import Consumer, TopicPartition

from schemas.bounds import field_out_of_bounds
from schemas.codec import decode
from schemas.operations import DeadLetter
from schemas.payment import PaymentEvent
from schemas.settlement import MismatchResolved, Settlement
from schemas.times import Micros
from schemas.topics import EVENTS, SETTLEMENTS
from sinks.postgres import Place, Placed, Projection, ReadModelError
from topology.kafka import Clock, FlowContext, FlowSpec, Produce, Received, RunEnded, StartOffsets
from topology.kafka.dead_letters import dead_letter
from topology.settling.references import key_of_settlement

__all__ = ["FLOW", "EventSource", "Projection", "ReadModelOffsets", "build"]

FLOW = FlowSpec(name="postgres", inputs=(EVENTS, SETTLEMENTS), changelog=None, follows_ends=True)


@runtime_checkable
class EventSource(Protocol):
    """What this flow's sink asks of the source, by (topic, partition), when an epoch closes."""

    def positions(self) -> Mapping[Place, int]:
        """The next offset of each partition that this run holds, after all that was handed out."""

    def reached_end(self) -> Mapping[Place, tuple[int, Micros]]:
        """The offset at which the end was last seen, and when; renewed while the partition rests there."""

    def record_times(self) -> Mapping[Place, Micros]:
        """When the last record that was handed out had been appended, by Kafka's timestamp."""

    def may_commit(self) -> bool:
        """Whether this run still holds its partitions and nothing has failed."""

    def restart(self, reason: Exception) -> None:
        """End this run; the next one asks for the start offsets again."""


class ReadModelOffsets(StartOffsets):
    """Where a shard starts: where the read model stands, whatever the group has committed."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection

    def load(self, consumer: Consumer, partitions: list[TopicPartition]) -> dict[Place, int]:
        """The offsets to go on from; absent where nothing was read yet. Raises RunEnded where it cannot be asked."""
        try:
            found = self._projection.load([(partition.topic, partition.partition) for partition in partitions])
        except ReadModelError as error:
            raise RunEnded(error) from error
        return {place: at.next_offset for place, at in found.items() if at.next_offset}


def build(context: FlowContext, *, projection: Projection) -> Dataflow:
    """The flow as a diagram: inputs → read_model."""
    source = context.source
    assert isinstance(source, EventSource)
    flow = Dataflow("postgres")
    inputs = op.input("inputs", flow, source)
    op.output("read_model", inputs, ReadModelSink(context, source=source, projection=projection))
    return flow


class ReadModelSink(FixedPartitionedSink[object, None]):
    """Writes epoch by epoch; one part, because there is one transaction per process."""

    def __init__(self, context: FlowContext, *, source: EventSource, projection: Projection) -> None:
        self._context = context
        self._source = source
        self._projection = projection

    def list_parts(self) -> list[str]:
        """One part."""
        return ["read_model"]

    def part_fn(self, _item_key: str) -> int:
        """Always that part."""
        return 0

    def build_part(self, step_id: str, _for_part: str, _resume_state: None) -> StatefulSinkPartition[object, None]:
        """The part, with the runtime's own sink inside, for dead letters."""
        (log_part,) = self._context.sink.list_parts()
        letters = self._context.sink.build_part(step_id, log_part, None)
        return _ReadModelPart(
            letters,
            settle=self._context.settle,
            source=self._source,
            projection=self._projection,
            clock=self._context.clock,
        )


class _ReadModelPart(StatefulSinkPartition[object, None]):
    """Collects an epoch and writes it when it closes."""

    def __init__(
        self,
        letters: StatefulSinkPartition[object, None],
        *,
        settle: Callable[[], object],
        source: EventSource,
        projection: Projection,
        clock: Clock,
    ) -> None:
        self._letters = letters
        self._settle = settle
        self._source = source
        self._projection = projection
        self._clock = clock
        self._events: list[Placed] = []
        self._dead_letters: list[object] = []

    def write_batch(self, values: list[object]) -> None:
        """Keep what is to be written; the mark of an epoch without input is only there to wake `snapshot`.

        What comes from a partition that stands still is read again once it goes on, dead letters too.
        """
        for value in values:
            if isinstance(value, Produce):
                if _place_of_dead(value) not in self._projection.stopped:
                    self._dead_letters.append(value)
            elif isinstance(value, Received) and (value.topic, value.partition) not in self._projection.stopped:
                self._take(value)

    def snapshot(self) -> None:
        """Close the epoch. Dead letters go first: once the offsets have moved, nobody reads those records again."""
        events, dead_letters = self._events, self._dead_letters
        self._events, self._dead_letters = [], []
        if dead_letters and self._source.may_commit():
            self._letters.write_batch(dead_letters)
            self._letters.snapshot()
            self._settle()
        if not self._source.may_commit():
            return
        try:
            self._projection.write(
                events,
                positions=self._source.positions(),
                ends=self._source.reached_end(),
                record_times=self._source.record_times(),
            )
        except ReadModelError as error:
            # Not out of Bytewax, which would panic.
            self._source.restart(error)

    def close(self) -> None:
        """The run has ended."""
        self._projection.leave()

    def _take(self, given: Received) -> None:
        event = given.value
        if not isinstance(event, PaymentEvent | Settlement | MismatchResolved):
            self._set_aside(given, "wrong_record", type(event).__name__)
        elif _key_of(event) != given.key:
            self._set_aside(given, "key_mismatch", type(event).__name__)
        elif isinstance(event, MismatchResolved) and (field := field_out_of_bounds(event)) is not None:
            # No flow has written it: it must not be what a partition stands still at.
            self._set_aside(given, "invalid_resolution", field)
        else:
            self._events.append(Placed(topic=given.topic, partition=given.partition, offset=given.offset, event=event))

    def _set_aside(self, given: Received, cause: str, detail: str) -> None:
        self._dead_letters.append(dead_letter(given, cause, detail=detail, flow=FLOW.name, at=self._clock.now()))


def _key_of(record: PaymentEvent | Settlement | MismatchResolved) -> str:
    return record.payment_intent.id if isinstance(record, PaymentEvent) else key_of_settlement(record)


def _place_of_dead(produce: Produce) -> Place:
    """Where the record lay that became a dead letter: it went by with those of its partition."""
    assert produce.value is not None
    letter = decode(produce.value)
    assert isinstance(letter, DeadLetter)
    return letter.topic, letter.partition
