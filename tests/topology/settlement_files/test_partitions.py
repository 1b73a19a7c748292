"""An import that places lines by another number of partitions than the topics have would lose them: it is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaException

from schemas.topics import SETTLEMENT_FILES, SETTLEMENT_LINES
from topology.kafka import KafkaConfig, WrongPartitions
from topology.settlement_files import kafka_log
from topology.settlement_files.kafka_log import KafkaFileLog


class _Producer:
    """Knows of topics, by how many partitions they have."""

    def __init__(self, **topics: int) -> None:
        self._topics = topics

    def list_topics(self, *, timeout: float) -> SimpleNamespace:
        assert timeout > 0
        return SimpleNamespace(
            topics={
                name: SimpleNamespace(partitions=dict.fromkeys(range(partitions)))
                for name, partitions in self._topics.items()
            }
        )

    def purge(self) -> None:
        """Nothing is on its way."""


def begin(monkeypatch: pytest.MonkeyPatch, **topics: int) -> None:
    """Begin to import a file into a log of four partitions, by the settings."""
    monkeypatch.setattr(kafka_log, "fence", lambda *_given, **_more: _Producer(**topics))
    monkeypatch.setattr(KafkaFileLog, "_read", lambda *_given: None)
    log = KafkaFileLog(KafkaConfig(bootstrap="127.0.0.1:1"), partitions=4)
    try:
        assert log.begin("cardnet", 7) is None
    finally:
        log.close()


def test_the_number_that_the_topics_have(monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch, **{SETTLEMENT_LINES.name: 4, SETTLEMENT_FILES.name: 4})


@pytest.mark.parametrize(("lines", "files"), [(64, 64), (4, 64), (64, 4)])
def test_another_number(monkeypatch: pytest.MonkeyPatch, lines: int, files: int) -> None:
    with pytest.raises(WrongPartitions, match="has 64 partitions, PAYSTREAM_PARTITIONS is 4"):
        begin(monkeypatch, **{SETTLEMENT_LINES.name: lines, SETTLEMENT_FILES.name: files})


def test_no_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KafkaException, match=r"payments\.settlement-lines"):
        begin(monkeypatch)
