"""An import: every line once, whatever happens in between; nothing of a file that is refused."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from schemas.codec import decode
from schemas.settlement import SettlementFile, SettlementLine
from schemas.times import Micros
from tests.topology.settlement_files.files import booking, csv_file, nested, nested_file, reference
from topology.settlement_files import (
    FileRefused,
    S3Access,
    SequenceTaken,
    SourceUnavailable,
    import_file,
    importing,
    opened,
)
from topology.settlement_files.importing import Imported

NOW, LATER = Micros(1_790_100_000_000_000), Micros(1_790_200_000_000_000)


class Crash(Exception):
    """The process dies."""


class Log:
    """Keeps what was committed; dies before or after its commits as told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, SettlementLine]] = []
        self.files: dict[tuple[str, int], SettlementFile] = {}
        self.writes: list[int] = []
        self.dies_before: int | None = None
        self.dies_after: int | None = None

    def begin(self, processor: str, file_sequence: int) -> SettlementFile | None:
        return self.files.get((processor, file_sequence))

    def write(self, lines: Sequence[tuple[str, bytes]], file: SettlementFile) -> None:
        if self.dies_before == len(self.writes):
            raise Crash
        for key, value in lines:
            line = decode(value)
            assert isinstance(line, SettlementLine)
            self.lines.append((key, line))
        self.files[file.processor, file.file_sequence] = file
        self.writes.append(len(lines))
        if self.dies_after == len(self.writes):
            raise Crash

    def close(self) -> None:
        """Nothing to let go."""


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture(autouse=True)
def small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "LINES_PER_TRANSACTION", 3)


def imported(log: Log, content: str, *, at: Micros = NOW) -> Imported:
    return import_file(io.BytesIO(content.encode()), log, at=at)


EIGHT = csv_file([booking(number) for number in range(8)])


def test_each_line_is_written_once_under_our_reference(log: Log) -> None:
    done = imported(log, EIGHT)
    assert [key for key, _line in log.lines] == [f"cardnet:{reference(number)}" for number in range(8)]
    assert [line.line_number for _key, line in log.lines] == list(range(1, 9))
    assert log.writes == [3, 3, 2]
    line = log.lines[0][1]
    assert (line.file_hash, line.at, line.settlement_date, line.file_sequence) == (done.sha256, NOW, 20_717, 2456)
    assert (done.lines_before, done.file.lines) == (0, 8)
    file = log.files["cardnet", 2456]
    assert (file.lines, file.lines_written, file.file_hash, file.began_at) == (8, 8, done.sha256, NOW)


def test_a_line_that_does_not_name_our_reference_goes_by_the_processors(log: Log) -> None:
    imported(log, EIGHT.replace(f",{reference(0)},", ",,"))
    key, line = log.lines[0]
    assert (key, line.reference) == (f"cardnet:{booking(0).processor_reference}", None)


def test_the_same_file_again_writes_nothing(log: Log) -> None:
    imported(log, EIGHT)
    before = (list(log.lines), dict(log.files))
    assert imported(log, EIGHT, at=LATER).lines_before == 8
    assert (log.lines, log.files) == before


def test_another_content_under_the_same_sequence_is_refused(log: Log) -> None:
    imported(log, EIGHT)
    with pytest.raises(SequenceTaken, match="file 2456 of cardnet was imported with another content"):
        imported(log, csv_file([booking(number) for number in range(7)]))
    assert len(log.lines) == 8


def test_the_next_file_is_another(log: Log) -> None:
    imported(log, EIGHT)
    imported(log, EIGHT.replace("2456", "2457"))
    assert len(log.lines) == 16
    assert len(log.files) == 2


def test_a_file_without_lines_is_on_record(log: Log) -> None:
    imported(log, csv_file([]))
    assert (log.lines, log.files["cardnet", 2456].lines) == ([], 0)
    assert imported(log, csv_file([])).lines_before == 0
    with pytest.raises(SequenceTaken):
        imported(log, EIGHT)


@pytest.mark.parametrize("dies", ["before", "after"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_import_that_was_cut_short_goes_on_where_it_was(log: Log, dies: str, number: int) -> None:
    if dies == "before":
        log.dies_before = number
    else:
        log.dies_after = number + 1
    with pytest.raises(Crash):
        imported(log, EIGHT)
    log.dies_before = log.dies_after = None
    imported(log, EIGHT, at=LATER)
    assert [line.line_number for _key, line in log.lines] == list(range(1, 9))
    assert log.files["cardnet", 2456].lines_written == 8


def test_while_a_file_is_half_in_another_content_is_refused(log: Log) -> None:
    log.dies_after = 1
    with pytest.raises(Crash):
        imported(log, EIGHT)
    with pytest.raises(SequenceTaken):
        imported(log, csv_file([booking(1)]))


def test_of_a_file_that_is_wrong_at_its_end_nothing_is_written(log: Log) -> None:
    with pytest.raises(FileRefused, match="line 12 is a trailer that does not count 8 lines"):
        imported(log, EIGHT.replace("trailer,2456,8", "trailer,2456,9"))
    assert (log.lines, log.files) == ([], {})


@pytest.mark.parametrize(("content", "said"), [("", "line 1 is empty"), ("%PDF-1.7", "line 1 is of no known format")])
def test_what_is_of_no_format_is_refused(log: Log, content: str, said: str) -> None:
    with pytest.raises(FileRefused, match=said):
        imported(log, content)


def test_the_format_is_told_by_the_content(log: Log) -> None:
    captures = [booking(number) for number in range(4)]
    imported(log, nested_file(nested(captures)))
    other = Log()
    imported(other, csv_file(captures))
    assert [key for key, _line in log.lines] == [key for key, _line in other.lines]


class TestSources:
    def test_a_path(self, tmp_path: Path) -> None:
        (tmp_path / "file.csv").write_text(EIGHT)
        with opened(str(tmp_path / "file.csv"), S3Access()) as source:
            assert source.read(6) == b"header"

    @pytest.mark.parametrize("name", ["absent.csv", "."])
    def test_what_cannot_be_opened(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(SourceUnavailable, match=str(tmp_path)), opened(str(tmp_path / name), S3Access()):
            pass

    @pytest.mark.parametrize("location", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key"])
    def test_what_is_no_place_in_s3(self, location: str) -> None:
        with pytest.raises(SourceUnavailable, match="is not of the form"), opened(location, S3Access()):
            pass

    def test_an_s3_that_is_away(self) -> None:
        access = S3Access(endpoint_url="http://127.0.0.1:1", access_key_id="a", secret_access_key="hidden-key")
        with pytest.raises(SourceUnavailable) as away, opened("s3://bucket/key", access):
            pass
        assert "hidden-key" not in str(away.value)
        assert "hidden-key" not in repr(access)
