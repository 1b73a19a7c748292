"""The log of settlement files on a real broker: lines and record together, one import of a file at a time."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.codec import decode
from schemas.partitioner import partition
from schemas.settlement import SettlementFile, SettlementLine
from schemas.times import Micros
from schemas.topics import ALL, SETTLEMENT_LINES
from tests.topology.settlement_files.files import booking, csv_file
from topology.kafka import KafkaConfig
from topology.kafka.admin import create_topics
from topology.kafka.clients import high_watermark_consumer
from topology.settlement_files import KafkaFileLog, SequenceTaken, import_file, importing, kafka_log

PARTITIONS = 4
NOW = Micros(1_790_100_000_000_000)


@pytest.fixture
def new_log(kafka_bootstrap: str) -> Iterator[Callable[[], KafkaFileLog]]:
    """Logs on the broker, as one import after the other has them."""
    create_topics(AdminClient({"bootstrap.servers": kafka_bootstrap}), ALL, partitions=PARTITIONS, replication_factor=1)
    logs: list[KafkaFileLog] = []

    def new_log() -> KafkaFileLog:
        logs.append(KafkaFileLog(KafkaConfig(bootstrap=kafka_bootstrap), partitions=PARTITIONS))
        return logs[-1]

    yield new_log
    for log in logs:
        log.close()


@pytest.fixture
def processor() -> str:
    """A processor that no other test imports files of."""
    return f"net-{uuid.uuid4().hex[:12]}"


def written(bootstrap: str, processor: str) -> list[SettlementLine]:
    """All committed lines of a processor, each seen to lie on the partition of its key."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(SETTLEMENT_LINES.name, number, 0) for number in range(PARTITIONS)])
    lines: list[SettlementLine] = []
    ends = 0
    while ends < PARTITIONS:
        for message in consumer.consume(1_000, 1.0):
            if message.error() is not None:
                ends += 1
                continue
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert value is not None
            record = decode(value)
            assert isinstance(record, SettlementLine)
            assert message.partition() == partition(key.decode(), PARTITIONS)
            if record.processor == processor:
                lines.append(record)
    consumer.close()
    return sorted(lines, key=lambda line: line.line_number)


def report(processor: str, count: int) -> io.BytesIO:
    return io.BytesIO(csv_file([booking(number) for number in range(count)]).replace("cardnet", processor).encode())


def test_a_file_is_imported_once(
    kafka_bootstrap: str, new_log: Callable[[], KafkaFileLog], processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "LINES_PER_TRANSACTION", 7)
    assert import_file(report(processor, 20), new_log(), at=NOW).lines_before == 0
    assert import_file(report(processor, 20), new_log(), at=NOW).lines_before == 20
    with pytest.raises(SequenceTaken):
        import_file(report(processor, 21), new_log(), at=NOW)
    assert [line.line_number for line in written(kafka_bootstrap, processor)] == list(range(1, 21))


def test_a_second_import_shuts_the_first_out_and_goes_on_from_what_it_committed(
    kafka_bootstrap: str, new_log: Callable[[], KafkaFileLog], processor: str
) -> None:
    first, second = new_log(), new_log()
    file = SettlementFile(
        processor=processor,
        file_sequence=7,
        file_hash=b"\x07" * 32,
        settlement_date=20_717,
        lines=3,
        lines_written=1,
        began_at=NOW,
        at=NOW,
    )
    assert first.begin(processor, 7) is None
    first.write([], file)
    assert second.begin(processor, 7) == file
    with pytest.raises(KafkaException):
        first.write([], file)
    assert second.begin(processor, 8) is None, "another file is none of its business"


def test_a_broker_that_is_away_is_told_of(processor: str) -> None:
    log = KafkaFileLog(KafkaConfig(bootstrap="127.0.0.1:1"), partitions=PARTITIONS)
    with pytest.raises(KafkaException):
        log.begin(processor, 1)


@pytest.mark.parametrize("code", [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE])
def test_a_partition_that_changes_hands_is_asked_again(
    new_log: Callable[[], KafkaFileLog], processor: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    asked: list[Consumer] = []

    def consumer(config: KafkaConfig, *, flow: str) -> Consumer:
        asked.append(high_watermark_consumer(config, flow=flow))
        if len(asked) > 1:
            return asked[-1]
        failing = mock.Mock(wraps=asked[-1])
        failing.get_watermark_offsets.side_effect = KafkaException(KafkaError(code))
        return failing

    monkeypatch.setattr(kafka_log, "high_watermark_consumer", consumer)
    assert new_log().begin(processor, 1) is None
    assert len(asked) == 2
