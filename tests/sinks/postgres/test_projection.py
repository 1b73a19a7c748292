"""What is written when: offsets, watermarks, and the partition that stands still at what cannot be stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psycopg
import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY

from schemas.payment import PaymentEvent
from schemas.settlement import MismatchResolved, Settlement
from schemas.times import Micros, later
from sinks.postgres import (
    EventRefused,
    OffsetsMoved,
    Placed,
    Position,
    Progress,
    Projection,
    ReadModelUnavailable,
    ReadModelWriter,
)
from sinks.postgres import projection as projection_module
from tests.sinks.postgres.payments import TOPIC, id_of, life, rows

NOW = Micros(1_790_000_000_000_000)
A_MINUTE_AGO = later(NOW, seconds=-60)


class Recorder(ReadModelWriter):
    """A writer without a database, which remembers the progress of each write."""

    def __init__(self) -> None:
        super().__init__("")
        self.writes: list[list[Progress]] = []
        self.fails_with: Exception | None = None

    def load_progress(self, topic: str, partitions: object) -> dict[int, Position]:
        return {0: Position(next_offset=10, watermark=A_MINUTE_AGO), 1: Position(next_offset=0, watermark=Micros(0))}

    def write(
        self,
        events: Sequence[PaymentEvent],
        *,
        progress: Sequence[Progress],
        settlements: Sequence[Settlement] = (),
        resolutions: Sequence[MismatchResolved] = (),
    ) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.writes.append(list(progress))


def placed(events: Sequence[PaymentEvent], *, start: int = 0, partition: int = 0) -> list[Placed]:
    """Events one after the other in the log."""
    return [
        Placed(topic=TOPIC, partition=partition, offset=offset, event=event)
        for offset, event in enumerate(events, start=start)
    ]


@dataclass
class Epochs:
    """Epochs of one partition, each given by what is known at its end."""

    writer: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        self.projection = Projection(self.writer)
        self.projection.load([(TOPIC, 0), (TOPIC, 1)])

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
            placed(events, start=10),
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


def test_a_refusal_without_an_event_is_nobodys_to_hold() -> None:
    epochs = Epochs()
    epochs.writer.fails_with = EventRefused("22008: out of range")
    with pytest.raises(EventRefused):
        epochs.close(end=(11, NOW))
    assert not epochs.projection.stopped


class Shelf:
    """A projection on a real database that holds no amount of 5000 or more, and two partitions of events."""

    def __init__(self, uri: str, database: psycopg.Connection) -> None:
        database.execute("ALTER TABLE payment_intents ADD CONSTRAINT small CHECK (amount_minor < 5000)")
        self.database = database
        self.projection = Projection(ReadModelWriter(uri))
        self.load()

    def load(self) -> None:
        self.at = {n: at.next_offset for (_, n), at in self.projection.load([(TOPIC, 0), (TOPIC, 1)]).items()}

    def write(self, *partitions: Sequence[PaymentEvent]) -> None:
        """An epoch with these events of partition 0, of partition 1; whatever has stopped is not handed out."""
        events: list[Placed] = []
        for partition, given in enumerate(partitions):
            if (TOPIC, partition) not in self.projection.stopped:
                events += placed(given, start=self.at[partition], partition=partition)
            self.at[partition] += len(given)
        positions = {(TOPIC, partition): at for partition, at in self.at.items()}
        times = {(TOPIC, partition): NOW for partition in self.at}
        self.projection.write(events, positions=positions, ends={}, record_times=times)

    def mend(self) -> None:
        self.database.execute("ALTER TABLE payment_intents DROP CONSTRAINT small")

    def progress(self) -> list[tuple[object, ...]]:
        return rows(
            self.database, "SELECT next_offset, watermark > 'epoch' FROM read_model_progress ORDER BY partition"
        )

    def history(self) -> list[tuple[object, ...]]:
        return rows(
            self.database, "SELECT payment_intent_id, sequence FROM audit_log ORDER BY payment_intent_id, sequence"
        )


@pytest.fixture
def shelf(uri: str, database: psycopg.Connection) -> Iterator[Shelf]:
    shelf = Shelf(uri, database)
    yield shelf
    shelf.projection.leave()
    shelf.projection.close()
    database.execute("ALTER TABLE payment_intents DROP CONSTRAINT IF EXISTS small")


def large(name: str) -> list[PaymentEvent]:
    """A life that the shelf has no room for."""
    return [replace(event, payment_intent=replace(event.payment_intent, amount_minor=5000)) for event in life(name)]


def whole(*names: str) -> list[tuple[object, ...]]:
    return sorted((id_of(name), sequence) for name in names for sequence in (1, 2, 3))


def alarm(partition: int) -> float | None:
    return REGISTRY.get_sample_value("paystream_read_model_stopped", {"topic": TOPIC, "partition": str(partition)})


@pytest.mark.parametrize("before", [0, 1, 2, 5])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_partition_stands_still_right_before_what_is_refused_and_the_others_go_on(
    shelf: Shelf, caplog: pytest.LogCaptureFixture, before: int, after: int
) -> None:
    good = [event for name in "abcd" for event in life(name)]
    poisoned = [*good[:before], large("large")[0], *good[before : before + after]]
    shelf.write(poisoned, life("other"))
    assert shelf.projection.stopped == {(TOPIC, 0)}
    assert shelf.progress() == [(before, False), (3, True)]
    assert (id_of("large"), 1) not in shelf.history()
    assert len(shelf.history()) == before + 3
    assert (alarm(0), alarm(1)) == (1.0, None)
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert f"{TOPIC}/0 stands still at offset {before} ({id_of('large')}, sequence 1)" in record.message
    assert "23514" in record.message
    shelf.write(life("late"), life("another"))
    assert shelf.progress() == [(before, False), (6, True)]


def test_a_partition_goes_on_by_itself_once_the_database_was_mended(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [*life("a"), *large("large"), *life("b")]
    shelf.write(events, [])
    shelf.mend()
    shelf.write([], [])
    assert shelf.progress()[0] == (3, False), "not yet tried again"
    monkeypatch.setattr(projection_module, "_TRY_AGAIN_SECONDS", 0.0)
    with pytest.raises(OffsetsMoved):
        shelf.write([], [])
    shelf.load()
    assert shelf.at[0] == 4
    assert alarm(0) is None
    shelf.write(events[4:], [])
    assert shelf.history() == whole("a", "large", "b")


def test_what_is_still_refused_stays_refused_and_is_told_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.write(large("large"), [])
    monkeypatch.setattr(projection_module, "_TRY_AGAIN_SECONDS", 0.0)
    shelf.write([], life("other"))
    assert shelf.progress() == [(0, False), (3, True)]
    assert len([record for record in caplog.records if record.levelname == "CRITICAL"]) == 2


def test_two_partitions_stand_still_each_at_its_own(shelf: Shelf) -> None:
    shelf.write([*life("a"), *large("x")], [*large("y"), *life("b")])
    assert shelf.projection.stopped == {(TOPIC, 0), (TOPIC, 1)}
    assert [offset for offset, _ in shelf.progress()] == [3, 0]
    assert shelf.history() == whole("a")


def test_who_takes_the_partition_over_finds_the_same(shelf: Shelf) -> None:
    shelf.write([*life("a"), *large("x")], [])
    shelf.load()
    assert not shelf.projection.stopped
    assert alarm(0) is None
    shelf.write([*large("x"), *life("b")], [])
    assert [offset for offset, _ in shelf.progress()] == [3, 0]


def test_a_month_that_was_detached_stops_nothing(shelf: Shelf) -> None:
    shelf.write(life("a"), [])
    for parent in ("payment_intents", "transactions"):
        month = f"{parent}_2026_11"
        shelf.database.execute(f"ALTER TABLE {parent} DETACH PARTITION {month}".encode())
        shelf.database.execute(f"ALTER TABLE {month} RENAME TO kept_{month}".encode())
    shelf.write(life("b"), [])
    for parent in ("payment_intents", "transactions"):
        shelf.database.execute(f"DROP TABLE kept_{parent}_2026_11".encode())
    assert not shelf.projection.stopped
    assert shelf.history() == whole("a", "b")
