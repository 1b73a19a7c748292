"""The postgres flow: what it writes when, without a broker; rows and offsets in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import psycopg
import pytest
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.testing import run_main
from confluent_kafka import Consumer, TopicPartition

from schemas.codec import decode, encode
from schemas.operations import DeadLetter
from schemas.payment import PaymentEvent
from schemas.processing import TimerFired
from schemas.times import Micros, later
from schemas.topics import DEAD_LETTERS, EVENTS
from sinks.postgres import (
    EventContradicted,
    OffsetsMoved,
    Position,
    Progress,
    ReadModelUnavailable,
    ReadModelWriter,
)
from tests.harness.driver import FakeClock
from tests.sinks.postgres.databases import empty_read_model
from tests.sinks.postgres.payments import id_of, life, rows
from topology.kafka import FlowContext, NoSide, Produce, Received, RunEnded, StateStore
from topology.kafka.items import EpochMark
from topology.postgres import EventSource, Projection, ReadModelOffsets, build

TOPIC = EVENTS.name
NOW = Micros(1_790_000_000_000_000)
A_MINUTE_AGO = later(NOW, seconds=-60)


class Recorder(ReadModelWriter):
    """A writer without a database, which remembers the progress of each write."""

    def __init__(self) -> None:
        super().__init__("")
        self.writes: list[list[Progress]] = []
        self.fails_with: Exception | None = None

    def load_progress(self, topic: str, partitions: object) -> dict[int, Position]:
        if self.fails_with is not None:
            raise self.fails_with
        return {0: Position(next_offset=10, watermark=A_MINUTE_AGO), 1: Position(next_offset=0, watermark=Micros(0))}

    def write(self, events: Sequence[PaymentEvent], *, progress: Sequence[Progress]) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.writes.append(list(progress))


@dataclass
class Epochs:
    """Epochs of one partition, each given by what is known at its end."""

    writer: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        self.projection = Projection(self.writer)
        self.projection.load(TOPIC, [0, 1])

    def close(
        self,
        *events: PaymentEvent,
        position: int = 10,
        end: tuple[int, Micros] | None = None,
        record_time: Micros | None = None,
    ) -> list[Progress] | None:
        """Close an epoch; the progress that was written, or None."""
        before = len(self.writer.writes)
        self.projection.write(
            events,
            positions={(TOPIC, 0): position},
            ends={(TOPIC, 0): end} if end else {},
            record_times={(TOPIC, 0): record_time} if record_time else {},
        )
        assert len(self.writer.writes) <= before + 1
        return self.writer.writes[-1] if len(self.writer.writes) > before else None


def step(start: int, end: int, watermark: Micros) -> list[Progress]:
    """The progress of partition 0."""
    return [Progress(topic=TOPIC, partition=0, start_offset=start, end_offset=end, watermark=watermark)]


def test_an_epoch_without_news_writes_nothing() -> None:
    assert Epochs().close() is None


def test_events_move_offset_and_watermark() -> None:
    assert Epochs().close(*life("a"), position=13, record_time=NOW) == step(10, 13, Micros(NOW - 1_000))


def test_the_next_epoch_starts_where_the_last_one_ended() -> None:
    epochs = Epochs()
    epochs.close(*life("a"), position=13)
    assert epochs.close(*life("b"), position=16) == step(13, 16, A_MINUTE_AGO)


def test_markers_at_the_end_move_the_offset_without_events() -> None:
    assert Epochs().close(position=10, end=(11, NOW)) == step(10, 11, A_MINUTE_AGO)


def test_an_end_that_has_been_passed_says_nothing_about_the_offset() -> None:
    assert Epochs().close(*life("a"), position=13, end=(11, NOW)) == step(10, 13, A_MINUTE_AGO)


def test_an_idle_partitions_watermark_rises_once_a_second_and_not_more_often() -> None:
    epochs = Epochs()
    assert epochs.close(end=(10, later(NOW, seconds=0.999))) is None
    assert epochs.close(end=(10, later(NOW, seconds=1.0))) == step(10, 10, later(A_MINUTE_AGO, seconds=1.0))
    assert epochs.close(end=(10, later(NOW, seconds=1.9))) is None
    assert epochs.close(end=(10, later(NOW, seconds=2.1))) == step(10, 10, later(A_MINUTE_AGO, seconds=2.1))


def test_a_watermark_does_not_fall_with_the_clock() -> None:
    epochs = Epochs()
    earlier = later(NOW, seconds=-600)
    assert epochs.close(*life("a"), position=13, end=(11, earlier), record_time=earlier) == step(10, 13, A_MINUTE_AGO)


def test_a_failed_write_is_no_progress() -> None:
    epochs = Epochs()
    epochs.writer.fails_with = ReadModelUnavailable("away")
    with pytest.raises(ReadModelUnavailable):
        epochs.close(*life("a"), position=13)
    epochs.writer.fails_with = None
    assert epochs.close(*life("a"), position=13) == step(10, 13, A_MINUTE_AGO)


def test_a_run_starts_where_the_read_model_stands() -> None:
    projection = Projection(Recorder())
    asked = [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)]
    consumer = Consumer({"group.id": "unused"})
    assert ReadModelOffsets(projection).load(consumer, asked) == {(TOPIC, 0): 10}
    consumer.close()


def test_a_read_model_that_is_away_delays_the_start_and_no_more() -> None:
    writer = Recorder()
    writer.fails_with = ReadModelUnavailable("away")
    consumer = Consumer({"group.id": "unused"})
    with pytest.raises(RunEnded, match="away"):
        ReadModelOffsets(Projection(writer)).load(consumer, [TopicPartition(TOPIC, 0)])
    consumer.close()


class Log(FixedPartitionedSink[object, None]):
    """The runtime's sink: remembers what was committed, or fails as a broker does."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.committed: list[object] = []
        self.fails = False

    def list_parts(self) -> list[str]:
        return ["log"]

    def build_part(self, _step_id: str, _for_part: str, _resume: None) -> StatefulSinkPartition[object, None]:
        return _LogPart(self)


class _LogPart(StatefulSinkPartition[object, None]):
    def __init__(self, log: Log) -> None:
        self._log = log
        self._written: list[object] = []

    def write_batch(self, values: list[object]) -> None:
        self._written += values

    def snapshot(self) -> None:
        if self._log.fails:
            self._log.source.ended = RuntimeError("no broker")
        else:
            self._log.committed += self._written


class Source(DynamicSource[tuple[str, object]]):
    """Hands out one batch per epoch, with the offsets that go with it."""

    def __init__(self, *epochs: list[tuple[str, object]]) -> None:
        self.epochs = list(epochs)
        self.position = 0
        self.end: Micros | None = None
        self.ended: Exception | None = None
        self.leaves_group = False

    def positions(self) -> dict[tuple[str, int], int]:
        return {(TOPIC, 0): self.position}

    def reached_end(self) -> dict[tuple[str, int], tuple[int, Micros]]:
        return {} if self.end is None else {(TOPIC, 0): (self.position, self.end)}

    def record_times(self) -> dict[tuple[str, int], Micros]:
        return {(TOPIC, 0): NOW} if self.position else {}

    def may_commit(self) -> bool:
        return self.ended is None

    def restart(self, reason: Exception) -> None:
        self.ended = reason

    def build(self, _step_id: str, _index: int, _count: int) -> StatelessSourcePartition[tuple[str, object]]:
        return _SourcePart(self)


class _SourcePart(StatelessSourcePartition[tuple[str, object]]):
    def __init__(self, source: Source) -> None:
        self._source = source

    def next_batch(self) -> list[tuple[str, object]]:
        if self._source.ended is not None or not self._source.epochs:
            raise StopIteration
        batch = self._source.epochs.pop(0)
        self._source.position += len(batch)
        if self._source.leaves_group:
            self._source.ended = RuntimeError("the shards are another's")
        return [*batch, ("", EpochMark())]


def received(*events: PaymentEvent) -> list[tuple[str, object]]:
    """Events as the source hands them out."""
    return [
        (key, Received(key, TOPIC, 0, 0, event, encode(event))) for event in events for key in [event.payment_intent.id]
    ]


@pytest.fixture
def uri(postgres_uri: str) -> str:
    """An empty read model."""
    return empty_read_model(postgres_uri)


@pytest.fixture
def run(uri: str) -> Iterator[Callable[[Source], Log]]:
    """Runs the flow on a source until it ends, as one process would; gives back what it wrote to the log."""
    projection = Projection(ReadModelWriter(uri))

    def run(source: Source, *, log_fails: bool = False, offsets_move: bool = False) -> Log:
        assert isinstance(source, EventSource)
        source.position = projection.load(TOPIC, [0])[0].next_offset
        if offsets_move:
            with psycopg.connect(uri) as other:
                other.execute("UPDATE read_model_progress SET next_offset = 77")
        log = Log(source)
        log.fails = log_fails
        context = FlowContext(
            source=source, sink=log, store=StateStore(), side=NoSide(), partitions=1, clock=FakeClock(NOW)
        )
        run_main(build(context, projection=projection), epoch_interval=timedelta(days=-1))
        return log

    yield run
    projection.close()


@pytest.fixture
def database(uri: str) -> Iterator[psycopg.Connection]:
    """A connection to look with."""
    with psycopg.connect(uri, autocommit=True) as connection:
        yield connection


PROGRESS = "SELECT next_offset FROM read_model_progress"
PAYMENTS = "SELECT id, sequence FROM payment_intents ORDER BY created_at, sequence"


def test_events_become_rows_epoch_by_epoch(run: Callable[..., Log], database: psycopg.Connection) -> None:
    created, opened, completed = life("a")
    run(Source(received(created, opened), [], received(completed)))
    assert rows(database, PAYMENTS) == [(id_of("a"), 3)]
    assert rows(database, PROGRESS) == [(3,)]
    assert rows(database, "SELECT count(*) FROM audit_log") == [(3,)]


def test_an_epoch_with_only_the_end_moves_the_watermark(run: Callable[..., Log], database: psycopg.Connection) -> None:
    source = Source([])
    source.end = NOW
    run(source)
    assert rows(database, "SELECT watermark = to_timestamp(1790000000 - 60) FROM read_model_progress") == [(True,)]


def test_offsets_that_moved_end_the_run_and_the_next_goes_on_from_them(
    run: Callable[..., Log], database: psycopg.Connection
) -> None:
    source = Source(received(*life("a")), received(*life("b")))
    run(source, offsets_move=True)
    assert isinstance(source.ended, OffsetsMoved)
    assert len(source.epochs) == 1
    assert rows(database, PAYMENTS) == []
    run(Source(received(*life("b"))))
    assert rows(database, PAYMENTS) == [(id_of("b"), 3)]
    assert rows(database, PROGRESS) == [(80,)]


def test_a_read_model_that_goes_away_ends_the_run(
    run: Callable[..., Log], database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_given: object, **_also: object) -> None:
        raise ReadModelUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(ReadModelWriter, "write", away)
        source = Source(received(*life("a")), received(*life("b")))
        run(source)
    assert isinstance(source.ended, ReadModelUnavailable)
    assert len(source.epochs) == 1
    run(Source(received(*life("a"))))
    assert rows(database, PAYMENTS) == [(id_of("a"), 3)]


def test_a_run_that_has_ended_writes_nothing(run: Callable[..., Log], database: psycopg.Connection) -> None:
    source = Source(received(*life("a")))
    source.leaves_group = True
    run(source)
    assert rows(database, PAYMENTS) == []


def test_what_is_no_event_becomes_a_dead_letter_and_the_shard_goes_on(
    run: Callable[..., Log], database: psycopg.Connection
) -> None:
    timer = TimerFired(payment_intent_id=id_of("t"), name="abandonment", due_at=NOW, at=NOW)
    poison = Produce(DEAD_LETTERS.name, 0, "k", b"what the source could not decode")
    strange = ("pi_other", Received("pi_other", TOPIC, 0, 8, life("b")[0], b"raw"))
    log = run(
        Source(
            [
                ("", poison),
                (id_of("t"), Received(id_of("t"), TOPIC, 0, 7, timer, encode(timer))),
                strange,
                *received(*life("a")),
            ]
        )
    )
    assert log.committed[0] == poison
    letters = [decode(item.value) for item in log.committed[1:] if isinstance(item, Produce) and item.value]
    assert [(letter.cause, letter.offset, letter.flow) for letter in letters if isinstance(letter, DeadLetter)] == [
        ("wrong_record", 7, "postgres"),
        ("key_mismatch", 8, "postgres"),
    ]
    assert rows(database, PAYMENTS) == [(id_of("a"), 3)]
    assert rows(database, PROGRESS) == [(6,)]


def test_the_offsets_wait_for_the_dead_letter(run: Callable[..., Log], database: psycopg.Connection) -> None:
    poison = Produce(DEAD_LETTERS.name, 0, "k", b"what the source could not decode")
    source = Source([("", poison), *received(*life("a"))])
    run(source, log_fails=True)
    assert rows(database, PROGRESS) == [(0,)]
    assert rows(database, PAYMENTS) == []


def test_a_contradiction_holds_the_flow(run: Callable[..., Log], database: psycopg.Connection) -> None:
    created, opened, _ = life("a")
    run(Source(received(created)))
    source = Source(received(replace(created, cause="cmd_other"), opened))
    run(source)
    assert isinstance(source.ended, EventContradicted)
    assert rows(database, PROGRESS) == [(1,)]
    assert rows(database, PAYMENTS) == [(id_of("a"), 1)]
