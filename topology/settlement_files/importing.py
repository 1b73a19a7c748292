"""Imports a settlement file: checked whole, then written to `payments.settlement-lines`, each of its lines once.

A file is known by its processor and sequence. Its record in `payments.settlement-files` says which content was imported
under them, and how many of its lines have been: it is written in the same transaction as the lines that it counts. So
the same file again, or after a crash, goes on after the last line that is there; and another content is refused. The
lines of a file become visible piece by piece, but of a file in which anything is wrong none ever does.

Driven by the command line. What it needs of Kafka is the `FileLog`; `kafka_log` has the real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from msgspec.structs import replace

from schemas.codec import encode
from schemas.settlement import SettlementFile, SettlementLine
from schemas.times import Micros
from topology.settlement_files.checking import CheckedFile, Checking, FileRefused, Line
from topology.settlement_files.formats import BEGINNING_BYTES, format_of
from topology.settlement_files.port import SettlementFormat
from topology.settlement_files.sources import SourceUnavailable
from topology.settlement_files.spooling import LineSpool, Readable, Spooled, SpoolUnavailable, line_spool, spooled
from topology.settling.references import key_of

__all__ = ["LINES_PER_TRANSACTION", "FileLog", "Imported", "SequenceTaken", "import_file"]

LINES_PER_TRANSACTION: Final = 10_000
"""A second's work or less: readers of the topic wait for the end of a transaction, and a crash repeats one at most."""


class SequenceTaken(ValueError):
    """Another content was imported under this processor and file sequence."""

    def __init__(self, known: SettlementFile) -> None:
        super().__init__(
            f"file {known.file_sequence} of {known.processor} was imported with another content"
            f" (sha256 {known.file_hash.hex()}, {known.lines} lines)"
        )
        self.known = known


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of an import. `lines_before`: how many of the file's lines had been imported already."""

    file: CheckedFile
    sha256: bytes
    lines_before: int


class FileLog(Protocol):
    """Where lines and the records of files are written, and read back. It raises no OSError: those are of the disk."""

    def begin(self, processor: str, file_sequence: int) -> SettlementFile | None:
        """Shut out every other import of this file, and say what is on record of it."""

    def write(self, lines: Sequence[tuple[str, bytes]], file: SettlementFile) -> None:
        """Write lines (key, encoded) and the record of their file, all of it or nothing."""

    def close(self) -> None:
        """Let the clients go."""


def import_file(source: Readable, log: FileLog, *, at: Micros, form: SettlementFormat | None = None) -> Imported:
    """Import a file; `form` None: of the format that it begins as. `at` is this moment.

    Raises FileRefused where anything is wrong with it, and SequenceTaken; then nothing has been written. Raises
    SpoolUnavailable where the disk fails, and what source and log raise: the same file again goes on from there.
    """
    try:
        return _import(source, log, at, form)
    except SourceUnavailable:
        raise
    except OSError as error:
        # Closing the spools may fail as well, so all of it is in here.
        raise SpoolUnavailable(f"it cannot be kept on disk while it is checked: {error.strerror or error}") from error


def _import(source: Readable, log: FileLog, at: Micros, form: SettlementFormat | None) -> Imported:
    with spooled(source) as raw, line_spool() as lines:
        file = _check(raw, form, lines, at)
        known = log.begin(file.processor, file.file_sequence)
        if known is not None and known.file_hash != raw.sha256:
            raise SequenceTaken(known)
        began_at = at if known is None else known.began_at
        before = 0 if known is None else known.lines_written
        if known is None or before < file.lines:
            _write(lines, log, _record(file, raw.sha256, began_at=began_at, at=at), before)
        return Imported(file=file, sha256=raw.sha256, lines_before=before)


def _check(raw: Spooled, form: SettlementFormat | None, lines: LineSpool, at: Micros) -> CheckedFile:
    """Check the file, and encode its lines on the way; raises FileRefused."""
    beginning = raw.file.read(BEGINNING_BYTES)
    raw.file.seek(0)
    form = form or format_of(beginning)
    if form is None:
        reason = "is of no known format" if beginning else "is empty: there is nothing in the file"
        raise FileRefused([f"line 1 {reason}."], count=1)
    checking = Checking(form)
    for line in checking.lines(raw.file):
        if not checking.is_refused:
            record = _line(checking, raw.sha256, line, at)
            lines.add(key_of(record), encode(record))
    return checking.checked()


def _line(checking: Checking, sha256: bytes, line: Line, at: Micros) -> SettlementLine:
    return SettlementLine(
        processor=checking.processor,
        processor_reference=line.processor_reference,
        kind=line.kind,
        settlement_date=checking.settlement_date,
        file_sequence=checking.file_sequence,
        file_hash=sha256,
        line_number=line.number,
        gross_minor=line.amount_minor,
        currency=line.currency,
        fee_minor=line.fee_minor,
        net_minor=line.net_minor,
        payout_currency=line.payout_currency,
        at=at,
        reference=line.reference,
        booked_at=line.booked_at,
    )


def _record(file: CheckedFile, sha256: bytes, *, began_at: Micros, at: Micros) -> SettlementFile:
    return SettlementFile(
        processor=file.processor,
        file_sequence=file.file_sequence,
        file_hash=sha256,
        settlement_date=file.settlement_date,
        lines=file.lines,
        lines_written=0,
        began_at=began_at,
        at=at,
    )


def _write(lines: LineSpool, log: FileLog, record: SettlementFile, before: int) -> None:
    """Write all lines after the first `before`; of a file without lines its record alone."""
    rest = islice(lines.read(), before, None)
    written = before
    for batch in _batches(rest):
        written += len(batch)
        log.write(batch, replace(record, lines_written=written))


def _batches(lines: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """At least one, and an empty one only where there is nothing at all."""
    batch = list(islice(lines, LINES_PER_TRANSACTION))
    yield batch
    while batch := list(islice(lines, LINES_PER_TRANSACTION)):
        yield batch
