"""The postgres flow: what it writes when, without a broker; rows and offsets in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.testing import run_main
from confluent_kafka import Consumer, TopicPartition
from msgspec.structs import replace
from prometheus_client import REGISTRY

from schemas.codec import decode, encode
from schemas.identifiers import TransactionId
from schemas.operations import DeadLetter
from schemas.payment import PaymentEvent
from schemas.processing import TimerFired
from schemas.settlement import MismatchResolved, Settlement
from schemas.times import Micros
from schemas.topics import DEAD_LETTERS, EVENTS, SETTLEMENTS
from sinks.postgres import OffsetsMoved, Progress, ReadModelUnavailable, ReadModelWriter
from tests.harness.driver import FakeClock
from tests.sinks.postgres.databases import empty_read_model
from tests.sinks.postgres.payments import id_of, life, rows
from topology.kafka import FlowContext, NoSide, Produce, Received, RunEnded, StateStore
from topology.kafka.items import EpochMark
from topology.postgres import EventSource, Projection, ReadModelOffsets, build

TOPIC = EVENTS.name
NOW = Micros(1_790_000_000_000_000)


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    """What a run would ask Kafka with; here it is not asked."""
    consumer = Consumer({"group.id": "unused"})
    yield consumer
    consumer.close()


def test_a_run_starts_where_the_read_model_stands(uri: str, consumer: Consumer) -> None:
    writer = ReadModelWriter(uri)
    projection = Projection(writer)
    projection.load([(TOPIC, 0)])
    writer.write([], progress=[Progress(topic=TOPIC, partition=0, start_offset=0, end_offset=10, watermark=NOW)])
    asked = [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)]
    assert ReadModelOffsets(projection).load(consumer, asked) == {(TOPIC, 0): 10}
    projection.close()


def test_a_read_model_that_is_away_delays_the_start_and_no_more(consumer: Consumer) -> None:
    away = Projection(ReadModelWriter("postgresql://nobody@127.0.0.1:1/nothing"))
    with pytest.raises(RunEnded, match=r"127\.0\.0\.1"):
        ReadModelOffsets(away).load(consumer, [TopicPartition(TOPIC, 0)])


class Log(FixedPartitionedSink[object, None]):
    """The runtime's sink: remembers what was committed once that is decided, or fails as a broker does."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.begun: list[object] = []
        self.committed: list[object] = []
        self.fails = False

    def settle(self) -> None:
        """What was begun is decided."""
        if self.fails:
            self.source.ended = RuntimeError("no broker")
        else:
            self.committed += self.begun
        self.begun = []

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
        self._log.begun += self._written
        self._written = []


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


def received(*events: PaymentEvent, start: int = 0) -> list[tuple[str, object]]:
    """Events as the source hands them out, from that offset on."""
    return [
        (event.payment_intent.id, Received(event.payment_intent.id, TOPIC, 0, offset, event, encode(event)))
        for offset, event in enumerate(events, start)
    ]


def unreadable() -> Produce:
    """The dead letter of a record of partition 0 that the source could not decode."""
    letter = DeadLetter(
        topic=TOPIC, partition=0, offset=5, value=b"?", cause="not_framed", detail="", flow="postgres", at=NOW
    )
    return Produce(DEAD_LETTERS.name, 0, "k", encode(letter))


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
        source.position = projection.load([(TOPIC, 0)])[TOPIC, 0].next_offset
        if offsets_move:
            with psycopg.connect(uri) as other:
                other.execute("UPDATE read_model_progress SET next_offset = 77")
        log = Log(source)
        log.fails = log_fails
        context = FlowContext(
            source=source,
            sink=log,
            settle=log.settle,
            store=StateStore(),
            side=NoSide(),
            partitions=1,
            clock=FakeClock(NOW),
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
    poison = unreadable()
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
    poison = unreadable()
    source = Source([("", poison), *received(*life("a"))])
    run(source, log_fails=True)
    assert rows(database, PROGRESS) == [(0,)]
    assert rows(database, PAYMENTS) == []


def test_a_contradiction_stops_the_partition_and_not_the_run(
    run: Callable[..., Log], database: psycopg.Connection
) -> None:
    created, opened, completed = life("a")
    run(Source(received(created)))
    contradicted = replace(created, cause="cmd_other")
    source = Source(received(*life("b"), contradicted, opened, start=1), received(completed, start=6))
    run(source)
    assert source.ended is None
    assert not source.epochs
    assert REGISTRY.get_sample_value("paystream_read_model_stopped", {"topic": TOPIC, "partition": "0"}) is None, (
        "the run has ended"
    )
    assert rows(database, PROGRESS) == [(4,)]
    assert rows(database, PAYMENTS) == [(id_of("a"), 1), (id_of("b"), 3)]


def test_what_comes_after_the_refused_is_read_again_and_not_set_aside_meanwhile(
    run: Callable[..., Log], database: psycopg.Connection
) -> None:
    created, opened, _ = life("a")
    poison = unreadable()
    source = Source(received(replace(created, sequence=9)), [("", poison), *received(opened)])
    assert run(source).committed == []
    assert rows(database, PROGRESS) == [(0,)]
    assert run(Source(received(created), [("", poison)])).committed == [poison]
    assert rows(database, PROGRESS) == [(2,)]


def settlement(key: str, *, offset: int) -> tuple[str, object]:
    """A settlement of payment `a`, as the source hands it out under a key."""
    record = Settlement(
        payment_intent_id=id_of("a"),
        transaction_id=TransactionId("tx_capture"),
        processor="cardnet",
        processor_reference="cn_1",
        outcome="missing_at_processor",
        at=NOW,
        reference="tx_capture",
    )
    return key, Received(key, SETTLEMENTS.name, 0, offset, record, encode(record))


def test_settlements_become_rows_beside_events(run: Callable[..., Log], database: psycopg.Connection) -> None:
    log = run(Source([*received(*life("a")), settlement(id_of("a"), offset=0), settlement("unmatched:x", offset=1)]))
    assert rows(database, "SELECT payment_intent_id, outcome FROM settlements") == [
        (id_of("a"), "missing_at_processor")
    ]
    assert rows(database, PAYMENTS) == [(id_of("a"), 3)]
    (letter,) = [decode(item.value) for item in log.committed if isinstance(item, Produce) and item.value]
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.offset, letter.cause) == (SETTLEMENTS.name, 1, "key_mismatch")


def test_a_persons_word_becomes_a_row_and_one_that_nobody_can_have_said_a_dead_letter(
    run: Callable[..., Log], database: psycopg.Connection
) -> None:
    said = MismatchResolved(
        settlement_id=TransactionId("tx_" + "5" * 32),
        payment_intent_id=id_of("a"),
        processor="cardnet",
        outcome="amount",
        evidence="their books, by mail",
        actor_id="ada",
        at=NOW,
    )
    words = [said, replace(said, evidence="x" * 2_049), replace(said, payment_intent_id=None, reference="r")]
    given = [
        (id_of("a"), Received(id_of("a"), SETTLEMENTS.name, 0, offset, word, encode(word)))
        for offset, word in enumerate(words)
    ]
    log = run(Source([*given]))
    assert rows(database, "SELECT settlement_id, actor_id, evidence FROM mismatch_resolutions") == [
        (said.settlement_id, "ada", "their books, by mail")
    ]
    letters = [decode(item.value) for item in log.committed if isinstance(item, Produce) and item.value]
    assert [(one.offset, one.cause, one.detail) for one in letters if isinstance(one, DeadLetter)] == [
        (1, "invalid_resolution", "evidence"),
        (2, "key_mismatch", "MismatchResolved"),
    ]
