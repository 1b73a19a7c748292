"""`paystream settlement import` as its user meets it: what it says, and how it exits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from paystream import settlement
from paystream.settings import Settings, load
from schemas.settlement import SettlementFile
from tests.paystream.test_cli import paystream
from tests.topology.settlement_files.files import booking, csv_file
from topology.kafka import WrongPartitions
from topology.settlement_files import spooling

REPORT = csv_file([booking(number) for number in range(3)])


class Log:
    """A log in memory, in place of Kafka's."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, int], SettlementFile] = {}
        self.lines = 0
        self.closed = False
        self.failure: Exception | None = None

    def begin(self, processor: str, file_sequence: int) -> SettlementFile | None:
        if self.failure is not None:
            raise self.failure
        return self.files.get((processor, file_sequence))

    def write(self, lines: Sequence[tuple[str, bytes]], file: SettlementFile) -> None:
        self.lines += len(lines)
        self.files[file.processor, file.file_sequence] = file

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(settlement, "KafkaFileLog", lambda *_given, **_more: log)
    return log


@pytest.fixture
def settings() -> Settings:
    return load({"PAYSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, required=())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "report.csv"
    path.write_text(REPORT)
    return path


def test_what_was_imported_is_told(
    log: Log, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settlement.import_settlement_file(settings, str(file), None) == 0
    said = capsys.readouterr().out
    assert "file 2456 of cardnet, sha256 " in said
    assert "3 lines (3 capture); 3 imported now, 0 before" in said
    assert (log.lines, log.closed) == (3, True)
    assert settlement.import_settlement_file(settings, str(file), "csv") == 0
    assert "0 imported now, 3 before" in capsys.readouterr().out
    assert log.lines == 3


def test_a_refused_file_is_told_of_line_by_line(
    log: Log, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(REPORT.replace("capture,1000,usd", "capture,1000,usx"))
    assert settlement.import_settlement_file(settings, str(file), None) == 1
    said = capsys.readouterr().err
    assert f"{file}: line 3 has no currency" in said
    assert f"{file}: line 5 has no currency" in said
    assert "is refused: 3 problems. Nothing of it was imported." in said
    assert (log.lines, log.closed) == (0, True)


def test_another_content_is_told_of(
    log: Log, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settlement.import_settlement_file(settings, str(file), None)
    file.write_text(csv_file([booking(1)]))
    assert settlement.import_settlement_file(settings, str(file), None) == 1
    assert "file 2456 of cardnet was imported with another content" in capsys.readouterr().err


def test_lines_that_capture_the_same_are_noted(
    log: Log, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(csv_file([booking(1), booking(1)]))
    assert settlement.import_settlement_file(settings, str(file), None) == 0
    assert "1 lines capture what another line of it captures" in capsys.readouterr().err


def test_kafka_that_is_away_is_told_of(
    log: Log, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.failure = KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert settlement.import_settlement_file(settings, str(file), None) == 1
    assert "Kafka at 127.0.0.1:1" in capsys.readouterr().err
    assert log.closed


def test_settings_that_do_not_fit_the_topics_are_told_of(
    log: Log, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.failure = WrongPartitions("the topics have 64 partitions, PAYSTREAM_PARTITIONS is 4")
    assert settlement.import_settlement_file(settings, str(file), None) == 1
    assert capsys.readouterr().err == "the topics have 64 partitions, PAYSTREAM_PARTITIONS is 4\n"


def test_a_file_that_is_too_long_is_refused(
    log: Log, settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spooling, "FILE_BYTES_MAX", len(REPORT) - 1)
    assert settlement.import_settlement_file(settings, str(file), None) == 1
    said = capsys.readouterr().err
    assert f"{file}: the file is longer than {len(REPORT) - 1} bytes, which is the most." in said
    assert "Nothing of it was imported." in said
    assert log.lines == 0


def test_a_file_that_cannot_be_read_is_told_of(
    log: Log, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is mapped at the beginning of a process's memory."""
    assert settlement.import_settlement_file(settings, "/proc/self/mem", "csv") == 1
    assert capsys.readouterr().err == "/proc/self/mem: Input/output error\n"
    assert log.closed


def test_a_disk_that_does_not_hold_the_file_is_told_of(
    log: Log, settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(file.parent / "absent"))
    assert settlement.import_settlement_file(settings, str(file), None) == 1
    said = f"{file}: it cannot be kept on disk while it is checked: No such file or directory. Import the file again"
    assert capsys.readouterr().err.startswith(said)
    assert log.lines == 0


def test_the_wrong_format_is_refused(
    log: Log, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settlement.import_settlement_file(settings, str(file), "xml") == 2
    assert "the formats are csv, nested-json" in capsys.readouterr().err
    assert settlement.import_settlement_file(settings, str(file), "nested-json") == 1


def test_the_command_tells_what_it_lacks(file: Path) -> None:
    assert paystream("settlement", "import", str(file)).returncode == 2
    absent = paystream("settlement", "import", "absent.csv", PAYSTREAM_KAFKA_BOOTSTRAP="127.0.0.1:1")
    assert (absent.returncode, absent.stderr.strip()) == (1, "absent.csv: No such file or directory")
    assert absent.stdout == ""
