"""The copy on disk: how long a file may be, and what is said where it cannot be read or does not fit."""

from __future__ import annotations

import io
import resource
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.topology.settlement_files.files import AT, booking, csv_file, nested, nested_file
from tests.topology.settlement_files.test_importing import Log
from topology.settlement_files import (
    FileRefused,
    S3Access,
    SourceUnavailable,
    SpoolUnavailable,
    import_file,
    opened,
    spooling,
)
from topology.settlement_files.spooling import FILE_BYTES_MAX

REPORT = csv_file([booking(number) for number in range(2_000)]).encode()
A_DAY = 1_000_000


class Endless:
    """A source without an end."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def read(self, size: int, /) -> bytes:
        self.read_bytes += size
        return b"x" * size


@pytest.mark.parametrize("form", ["csv", "nested-json"])
def test_a_file_of_some_days_may_be_imported(form: str) -> None:
    captures = [booking(number, amount_minor=999_999_999_999) for number in range(1_000)]
    # Indented, as some write them, a document is at its longest.
    text = (
        csv_file(captures) if form == "csv" else nested_file(nested(captures)).replace(", ", ",\n                    ")
    )
    assert len(text) / 1_000 * A_DAY * 3 < FILE_BYTES_MAX


def test_a_source_without_an_end_is_read_no_further_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "FILE_BYTES_MAX", 5_000_000)
    source, log = Endless(), Log()
    with pytest.raises(FileRefused, match=r"^the file is longer than 5,000,000 bytes"):
        import_file(source, log, at=AT)
    assert source.read_bytes < 7_000_000
    assert (log.writes, log.files) == ([], {})


@pytest.mark.parametrize(("allowed_bytes", "imported"), [(len(REPORT), 2_000), (len(REPORT) - 1, 0)])
def test_of_that_length_it_is_imported(monkeypatch: pytest.MonkeyPatch, allowed_bytes: int, imported: int) -> None:
    monkeypatch.setattr(spooling, "FILE_BYTES_MAX", allowed_bytes)
    log = Log()
    try:
        import_file(io.BytesIO(REPORT), log, at=AT)
    except FileRefused:
        assert imported == 0
    assert len(log.lines) == imported


@pytest.fixture(params=["the file", "its lines"])
def full_disk(request: pytest.FixtureRequest) -> Iterator[None]:
    """No file of this process grows beyond a size that the copy, or its encoded lines, need."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = len(REPORT) // 2 if request.param == "the file" else len(REPORT) + 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
def test_a_disk_that_is_full_is_told_of() -> None:
    log = Log()
    with pytest.raises(SpoolUnavailable, match="cannot be kept on disk while it is checked: File too large"):
        import_file(io.BytesIO(REPORT), log, at=AT)
    assert (log.writes, log.files) == ([], {})


def test_what_cannot_be_read_here_is_told_of() -> None:
    """Nothing is mapped at the beginning of a process's memory."""
    with (
        pytest.raises(SourceUnavailable, match=r"^/proc/self/mem: Input/output error$"),
        opened("/proc/self/mem", S3Access()) as source,
    ):
        import_file(source, Log(), at=AT)


def test_errors_of_others_are_not_the_sources() -> None:
    with pytest.raises(TimeoutError), opened("/dev/null", S3Access()):
        raise TimeoutError


class BreaksOff(BaseHTTPRequestHandler):
    """An S3 that promises more of an object than it has."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(REPORT)))
        self.end_headers()
        self.wfile.write(REPORT[:100])

    def log_message(self, *_given: object) -> None:
        """Say nothing."""


@pytest.fixture
def s3_that_breaks_off() -> Iterator[S3Access]:
    with HTTPServer(("127.0.0.1", 0), BreaksOff) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield S3Access(endpoint_url=f"http://127.0.0.1:{server.server_port}", access_key_id="a", secret_access_key="b")
        server.shutdown()
        thread.join()


def test_an_object_that_breaks_off_is_told_of(s3_that_breaks_off: S3Access) -> None:
    log = Log()
    with (
        pytest.raises(SourceUnavailable, match=r"^s3://bucket/key: "),
        opened("s3://bucket/key", s3_that_breaks_off) as source,
    ):
        import_file(source, log, at=AT)
    assert log.files == {}
