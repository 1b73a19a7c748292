"""The postgres flow: events into the read model.

Reads `payments.events`; writes to PostgreSQL through `sinks.postgres`, rows and offsets in one transaction per epoch.
The offsets there are the only ones that count: each run starts from them, and moves them by compare-and-set. Driven by
`topology.kafka`, of which it needs an `EventSource`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import Counter, Gauge, Histogram

from schemas.codec import encode
from schemas.operations import DeadLetter
from schemas.payment import PaymentEvent
from schemas.times import Micros, later
from schemas.topics import DEAD_LETTERS, EVENTS
from sinks.postgres import (
    EventContradicted,
    Position,
    Progress,
    ReadModelError,
    ReadModelUnavailable,
    ReadModelWriter,
)
from topology.kafka import Clock, FlowContext, FlowSpec, Produce, Received, RunEnded, StartOffsets

__all__ = ["FLOW", "EventSource", "Projection", "ReadModelOffsets", "build"]

log = logging.getLogger("paystream.postgres")

FLOW = FlowSpec(name="postgres", inputs=(EVENTS,), changelog=None, follows_ends=True)

# At the end of a partition everything older is in, except what a transaction wrote that is still open; none is open
# for nearly this long.
_OPEN_TRANSACTION_SECONDS = 60.0
# Kafka's times are milliseconds: the next record may bear the same one.
_SAME_MILLISECOND_SECONDS = 0.001
_WATERMARK_INTERVAL_SECONDS = 1.0

WRITTEN = Counter("paystream_read_model_events_total", "Events written to the read model.")
WRITE_SECONDS = Histogram(
    "paystream_read_model_write_seconds",
    "Duration of one write to the read model.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
WATERMARK = Gauge(
    "paystream_read_model_watermark_seconds", "Unix time up to which all events are in the read model.", ["partition"]
)
CONTRADICTED = Counter(
    "paystream_read_model_contradictions_total", "Events that contradict the audit log; the flow stands still: alert."
)

Place = tuple[str, int]


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


class Projection:
    """How far the read model has come, as this process knows it, and what the next write is to be. No Kafka in here."""

    def __init__(self, writer: ReadModelWriter) -> None:
        self._writer = writer
        self._known: dict[Place, Position] = {}

    def load(self, topic: str, partitions: Sequence[int]) -> dict[int, Position]:
        """Ask the read model where it stands, and go on from there. Raises ReadModelUnavailable."""
        found = self._writer.load_progress(topic, partitions)
        self._known = {(topic, partition): position for partition, position in found.items()}
        return found

    def write(
        self,
        events: Sequence[PaymentEvent],
        *,
        positions: Mapping[Place, int],
        ends: Mapping[Place, tuple[int, Micros]],
        record_times: Mapping[Place, Micros],
    ) -> None:
        """Write an epoch, if there is anything to write: events, offsets that moved, or watermarks a second behind.

        Markers of transactions occupy offsets and are never handed out, so a partition may move without an event; who
        waits for its end has to see that. Raises what `ReadModelWriter.write` raises.
        """
        reached = {
            place: self._reached(place, position, end=ends.get(place), record_time=record_times.get(place))
            for place, position in positions.items()
        }
        moved = {place: position for place, position in reached.items() if self._is_news(place, position)}
        if not events and not moved:
            return
        started = time.perf_counter()
        self._writer.write(events, progress=[self._step(place, position) for place, position in moved.items()])
        self._known |= moved
        WRITE_SECONDS.observe(time.perf_counter() - started)
        WRITTEN.inc(len(events))
        for (_topic, partition), position in moved.items():
            WATERMARK.labels(str(partition)).set(position.watermark / 1_000_000)

    def close(self) -> None:
        """Let the connection go."""
        self._writer.close()

    def _reached(
        self, place: Place, position: int, *, end: tuple[int, Micros] | None, record_time: Micros | None
    ) -> Position:
        """How far a partition has come once this epoch is written. A watermark never falls."""
        watermarks = [self._known[place].watermark]
        if record_time is not None:
            watermarks.append(later(record_time, seconds=-_SAME_MILLISECOND_SECONDS))
        if end is not None:
            position = max(position, end[0])
            watermarks.append(later(end[1], seconds=-_OPEN_TRANSACTION_SECONDS))
        return Position(next_offset=position, watermark=max(watermarks))

    def _is_news(self, place: Place, position: Position) -> bool:
        known = self._known[place]
        due = later(known.watermark, seconds=_WATERMARK_INTERVAL_SECONDS)
        return position.next_offset != known.next_offset or position.watermark >= due

    def _step(self, place: Place, position: Position) -> Progress:
        topic, partition = place
        return Progress(
            topic=topic,
            partition=partition,
            start_offset=self._known[place].next_offset,
            end_offset=position.next_offset,
            watermark=position.watermark,
        )


class ReadModelOffsets(StartOffsets):
    """Where a shard starts: where the read model stands, whatever the group has committed."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection

    def load(self, consumer: Consumer, partitions: list[TopicPartition]) -> dict[Place, int]:
        """The offsets to go on from; absent where nothing was read yet. Raises RunEnded where it cannot be asked."""
        (topic,) = {partition.topic for partition in partitions}
        try:
            found = self._projection.load(topic, [partition.partition for partition in partitions])
        except ReadModelUnavailable as error:
            raise RunEnded(error) from error
        return {(topic, number): at.next_offset for number, at in found.items() if at.next_offset}


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
        return _ReadModelPart(letters, source=self._source, projection=self._projection, clock=self._context.clock)


class _ReadModelPart(StatefulSinkPartition[object, None]):
    """Collects an epoch and writes it when it closes."""

    def __init__(
        self,
        letters: StatefulSinkPartition[object, None],
        *,
        source: EventSource,
        projection: Projection,
        clock: Clock,
    ) -> None:
        self._letters = letters
        self._source = source
        self._projection = projection
        self._clock = clock
        self._events: list[PaymentEvent] = []
        self._dead_letters: list[object] = []

    def write_batch(self, values: list[object]) -> None:
        """Keep what is to be written; the mark of an epoch without input is only there to wake `snapshot`."""
        for value in values:
            if isinstance(value, Produce):
                self._dead_letters.append(value)
            elif isinstance(value, Received):
                self._take(value)

    def snapshot(self) -> None:
        """Close the epoch. Dead letters go first: once the offsets have moved, nobody reads those records again."""
        events, dead_letters = self._events, self._dead_letters
        self._events, self._dead_letters = [], []
        if dead_letters and self._source.may_commit():
            self._letters.write_batch(dead_letters)
            self._letters.snapshot()
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
            # Not out of Bytewax, which would panic. A contradiction comes again until a person has looked at it.
            if isinstance(error, EventContradicted):
                CONTRADICTED.inc()
                log.critical("%s: nothing more is written to the read model", error)
            self._source.restart(error)

    def _take(self, given: Received) -> None:
        value = given.value
        if not isinstance(value, PaymentEvent):
            self._dead_letters.append(self._dead_letter(given, "wrong_record"))
        elif value.payment_intent.id != given.key:
            self._dead_letters.append(self._dead_letter(given, "key_mismatch"))
        else:
            self._events.append(value)

    def _dead_letter(self, given: Received, cause: str) -> Produce:
        letter = DeadLetter(
            topic=given.topic,
            partition=given.partition,
            offset=given.offset,
            key=given.key.encode(),
            value=given.raw,
            cause=cause,
            detail=type(given.value).__name__,
            flow=FLOW.name,
            at=self._clock.now(),
        )
        return Produce(DEAD_LETTERS.name, given.partition, given.key, encode(letter))
