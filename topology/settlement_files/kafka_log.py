"""The log that settlement files are written to: `payments.settlement-lines` and `payments.settlement-files`, in Kafka.

Every import of a file has the same transactional id, so a second one shuts out the first, whatever that was about to
do, and sees all that it had committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.codec import decode, encode
from schemas.partitioner import partition as partition_of
from schemas.settlement import SettlementFile
from schemas.topics import SETTLEMENT_FILES, SETTLEMENT_LINES
from topology.kafka import FlowSpec, KafkaConfig, WrongPartitions
from topology.kafka.clients import changelog_consumer, high_watermark_consumer
from topology.kafka.fence import fence

__all__ = ["NAME", "KafkaFileLog"]

NAME = "settlement-import"

_SPEC = FlowSpec(name=NAME, inputs=(), changelog=None)
_TIMEOUT_SECONDS = 30.0
_WAIT_SECONDS = 0.2
_CHANGING_HANDS = (
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
)


class KafkaFileLog:
    """A `topology.settlement_files.importing.FileLog`. Raises KafkaException where Kafka does not do as it is told."""

    def __init__(self, config: KafkaConfig, *, partitions: int) -> None:
        self._config = config
        self._partitions = partitions
        self._producer: Producer | None = None

    def begin(self, processor: str, file_sequence: int) -> SettlementFile | None:
        """Shut out every other import of this file, and read its record. Raises WrongPartitions too."""
        instance = f"{processor}-{file_sequence}"
        self._producer = fence(_SPEC, self._config, instance=instance, stopping=lambda: False)
        _check_partitions(self._producer, self._partitions)
        return self._read(_key(processor, file_sequence))

    def write(self, lines: Sequence[tuple[str, bytes]], file: SettlementFile) -> None:
        """One transaction."""
        producer = self._producer
        assert producer is not None, "not begun"
        producer.begin_transaction()
        for key, value in lines:
            producer.produce(SETTLEMENT_LINES.name, value, key, partition_of(key, self._partitions))
        key = _key(file.processor, file.file_sequence)
        producer.produce(SETTLEMENT_FILES.name, encode(file), key, partition_of(key, self._partitions))
        _until_done(producer.commit_transaction)

    def close(self) -> None:
        """Let the producer go; what it had not committed is aborted by the next import of this file, or by time."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def _read(self, key: str) -> SettlementFile | None:
        """The last record of a key, past everything that the partition held when it was asked."""
        partition = partition_of(key, self._partitions)
        place = TopicPartition(SETTLEMENT_FILES.name, partition)
        low, high = self._watermarks(place)
        found, reached = None, low
        consumer = changelog_consumer(self._config, flow=NAME)
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        try:
            consumer.assign([TopicPartition(SETTLEMENT_FILES.name, partition, low)])
            while reached < high:
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{SETTLEMENT_FILES.name} was not read"))
                for message in consumer.consume(1_000, _WAIT_SECONDS):
                    reached = _reached(message)
                    if message.error() is None and message.key() == key.encode():
                        found = message.value()
        finally:
            consumer.close()
        record = None if found is None else decode(found)
        assert record is None or isinstance(record, SettlementFile)
        return record

    def _watermarks(self, place: TopicPartition) -> tuple[int, int]:
        """The ends of a partition, by whoever leads it; one that is just changing hands is asked again."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while True:
            # Made anew each time, for it would go on asking the one that it knows.
            consumer = high_watermark_consumer(self._config, flow=NAME)
            try:
                return consumer.get_watermark_offsets(place, timeout=_TIMEOUT_SECONDS, cached=False)
            except KafkaException as error:
                if error.args[0].code() not in _CHANGING_HANDS or time.monotonic() > deadline:
                    raise
            finally:
                consumer.close()
            time.sleep(_WAIT_SECONDS)


def _check_partitions(producer: Producer, configured: int) -> None:
    """By another number lines would lie where no shard takes them, and the record of their file where nobody looks."""
    topics = producer.list_topics(timeout=_TIMEOUT_SECONDS).topics
    for name in (SETTLEMENT_LINES.name, SETTLEMENT_FILES.name):
        if name not in topics:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"there is no topic {name}"))
        found = len(topics[name].partitions)
        if found != configured:
            raise WrongPartitions(f"{name} has {found} partitions, PAYSTREAM_PARTITIONS is {configured}")


def _key(processor: str, file_sequence: int) -> str:
    return f"{processor}:{file_sequence}"


def _reached(message: Message) -> int:
    """How far the partition has been read with this message; raises KafkaException."""
    error, offset = message.error(), message.offset()
    assert offset is not None
    if error is None:
        return offset + 1
    if error.code() == KafkaError._PARTITION_EOF:
        return offset
    raise KafkaException(error)


def _until_done(commit: Callable[[float], object]) -> None:
    """A commit that timed out is taken up again by the next call; any other failure ends the import."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        try:
            commit(_TIMEOUT_SECONDS)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise
        else:
            return
