"""How far the read model has come, and what the next write is to be; a partition stops at what cannot be stored.

Driven by `topology.postgres`, one call per epoch; writes through `ReadModelWriter`. No Kafka in here.

An event that PostgreSQL refuses is neither skipped nor set aside as a dead letter: past it the watermark would say that
all events are in the read model, upon which the fold forgets payments and ingress takes an Idempotency-Key for a new
one, and a read of status would answer with the older row. So its partition stands still right before it, whatever came
before is in, and the other partitions go on. The event is tried again from time to time: a database that was mended
needs no restart. `paystream_read_model_stopped` is the alert, the log says which event and why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from schemas.payment import PaymentEvent
from schemas.settlement import MismatchResolved, Settlement
from schemas.times import Micros, later
from sinks.postgres.errors import EventRefused, OffsetsMoved
from sinks.postgres.writer import Position, Progress, ReadModelWriter

__all__ = ["Place", "Placed", "Projection"]

log = logging.getLogger("paystream.postgres")

# Kafka's times are milliseconds: the next record may bear the same one.
_SAME_MILLISECOND_SECONDS = 0.001
_WATERMARK_INTERVAL_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 30.0

WRITTEN = Counter("paystream_read_model_events_total", "Events and settlements written to the read model.")
RESOLVED = Counter(
    "paystream_mismatches_resolved_total",
    "Mismatches that persons have resolved, by their names; each word counts, a second one about the same one too.",
    ["processor", "outcome"],
)
WRITE_SECONDS = Histogram(
    "paystream_read_model_write_seconds",
    "Duration of one write to the read model.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
WATERMARK = Gauge(
    "paystream_read_model_watermark_seconds",
    "Unix time up to which all records are in the read model.",
    ["topic", "partition"],
)
STOPPED = Gauge(
    "paystream_read_model_stopped",
    "1: the partition stands still at a record that is refused: alert.",
    ["topic", "partition"],
)

Place = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An event, a settlement or a person's word about one, and where it lies in the log."""

    topic: str
    partition: int
    offset: int
    event: PaymentEvent | Settlement | MismatchResolved

    @property
    def place(self) -> Place:
        """Topic and partition."""
        return self.topic, self.partition

    @property
    def name(self) -> str:
        """Which one it is, for a person."""
        if isinstance(self.event, Settlement):
            return f"settlement of {self.event.processor}:{self.event.reference}"
        if isinstance(self.event, MismatchResolved):
            return f"resolution of {self.event.settlement_id}"
        return f"{self.event.payment_intent.id}, sequence {self.event.sequence}"


@dataclass(slots=True)
class _Stop:
    """Where a partition stands still, and when (by a steady clock) that was tried last."""

    refused: Placed
    tried_at: float


class Projection:
    """What this process knows of the read model; positions are by (topic, partition).

    At the end of a partition everything older is in, except what a transaction wrote that is still open: the watermark
    trails the end by `slack_seconds`, for which none is open.
    """

    def __init__(self, writer: ReadModelWriter, *, slack_seconds: float = 60.0) -> None:
        self._writer = writer
        self._slack_seconds = slack_seconds
        self._known: dict[Place, Position] = {}
        self._stops: dict[Place, _Stop] = {}

    @property
    def stopped(self) -> Collection[Place]:
        """The partitions that stand still: what comes from them is read again once they go on."""
        return self._stops.keys()

    def load(self, places: Collection[Place]) -> dict[Place, Position]:
        """Ask the read model where it stands, and go on from there. Raises ReadModelUnavailable."""
        self.leave()
        self._known = {
            (topic, partition): position
            for topic in sorted({topic for topic, _partition in places})
            for partition, position in self._writer.load_progress(
                topic, [partition for of, partition in places if of == topic]
            ).items()
        }
        return dict(self._known)

    def write(
        self,
        events: Sequence[Placed],
        *,
        positions: Mapping[Place, int],
        ends: Mapping[Place, tuple[int, Micros]],
        record_times: Mapping[Place, Micros],
    ) -> None:
        """Write an epoch, if there is anything to write: events, offsets that moved, or watermarks a second behind.

        `events` are none of a partition that has stopped. Markers of transactions occupy offsets and are never handed
        out, so a partition may move without an event; who waits for its end has to see that.

        Raises OffsetsMoved, also when a partition that stood still can go on, ReadModelUnavailable, and EventRefused
        only where no event is to blame.
        """
        self._try_stopped_again()
        reached = {
            place: self._reached(place, position, end=ends.get(place), record_time=record_times.get(place))
            for place, position in positions.items()
            if place not in self._stops
        }
        moved = {place: position for place, position in reached.items() if self._is_news(place, position)}
        if not events and not moved:
            return
        try:
            self._write(events, moved)
        except EventRefused:
            self._write_apart(events, moved)

    def leave(self) -> None:
        """Give the partitions up: whoever holds them next finds out anew what stops them."""
        self._stops.clear()
        STOPPED.clear()

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
            watermarks.append(later(end[1], seconds=-self._slack_seconds))
        return Position(next_offset=position, watermark=max(watermarks))

    def _is_news(self, place: Place, position: Position) -> bool:
        known = self._known[place]
        due = later(known.watermark, seconds=_WATERMARK_INTERVAL_SECONDS)
        return position.next_offset != known.next_offset or position.watermark >= due

    def _write(self, events: Sequence[Placed], moved: Mapping[Place, Position]) -> None:
        started = time.perf_counter()
        steps = [self._step(place, position) for place, position in moved.items()]
        resolutions = [event.event for event in events if isinstance(event.event, MismatchResolved)]
        self._writer.write(
            [event.event for event in events if isinstance(event.event, PaymentEvent)],
            progress=steps,
            settlements=[event.event for event in events if isinstance(event.event, Settlement)],
            resolutions=resolutions,
        )
        self._known |= moved
        WRITE_SECONDS.observe(time.perf_counter() - started)
        WRITTEN.inc(len(events))
        for resolved in resolutions:
            RESOLVED.labels(resolved.processor, resolved.outcome).inc()
        for (topic, partition), position in moved.items():
            WATERMARK.labels(topic, str(partition)).set(position.watermark / 1_000_000)

    def _step(self, place: Place, position: Position) -> Progress:
        topic, partition = place
        return Progress(
            topic=topic,
            partition=partition,
            start_offset=self._known[place].next_offset,
            end_offset=position.next_offset,
            watermark=position.watermark,
        )

    def _write_apart(self, events: Sequence[Placed], moved: Mapping[Place, Position]) -> None:
        """Write each partition by itself, since together they were refused."""
        for place, position in moved.items():
            own = [event for event in events if event.place == place]
            try:
                self._write(own, {place: position})
            except EventRefused:
                if not own:
                    raise
                self._write_up_to_the_refused(sorted(own, key=lambda event: event.offset))

    def _write_up_to_the_refused(self, events: Sequence[Placed]) -> None:
        """Write what comes before the first event that is refused, found by halves, and stop there."""
        while events:
            half, rest = events[: (len(events) + 1) // 2], events[(len(events) + 1) // 2 :]
            try:
                self._write(half, {half[-1].place: self._right_after(half[-1])})
            except EventRefused as error:
                if len(half) == 1:
                    self._stop(half[0], error)
                    return
                events = half
            else:
                events = rest

    def _right_after(self, event: Placed) -> Position:
        return Position(next_offset=event.offset + 1, watermark=self._known[event.place].watermark)

    def _stop(self, refused: Placed, error: EventRefused) -> None:
        self._stops[refused.place] = _Stop(refused, time.monotonic())
        STOPPED.labels(refused.topic, str(refused.partition)).set(1)
        log.critical(
            "%s/%d stands still at offset %d (%s), nothing more of it is written to the read model: %s",
            refused.topic,
            refused.partition,
            refused.offset,
            refused.name,
            error,
        )

    def _try_stopped_again(self) -> None:
        """Raises OffsetsMoved when a partition can go on: what came from it meanwhile has to be read again."""
        for stop in list(self._stops.values()):
            if time.monotonic() < stop.tried_at + _TRY_AGAIN_SECONDS:
                continue
            try:
                self._write([stop.refused], {stop.refused.place: self._right_after(stop.refused)})
            except EventRefused as error:
                self._stop(stop.refused, error)
            else:
                raise OffsetsMoved([stop.refused.place])
