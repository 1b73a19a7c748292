"""A file on disk while it is imported: as it came, so that what is checked is what is written; and its lines, encoded.

The lines are encoded while the file is checked and lie there until all of it is known to be right, so it is parsed once
and takes no memory. Both are temporary files without a name: they are gone with the process. A source may have no end,
so a file has a size that it may not pass.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, Final, Protocol

from topology.settlement_files.checking import FileRefused

__all__ = ["FILE_BYTES_MAX", "LineSpool", "Readable", "SpoolUnavailable", "Spooled", "line_spool", "spooled"]

FILE_BYTES_MAX: Final = 2 * 1024**3
"""The size of a file that is imported at most: some fifteen million lines in CSV, some six million nested."""

_CHUNK_BYTES = 1024 * 1024
_FRAME = struct.Struct("<HI")


class Readable(Protocol):
    """Whatever bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class SpoolUnavailable(OSError):
    """The disk of this machine does not hold the file while it is checked: it is full, say."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A whole file, and the SHA-256 of its content."""

    file: BinaryIO
    sha256: bytes


@contextmanager
def spooled(source: Readable) -> Iterator[Spooled]:
    """Copy a source to disk and give it back from its beginning.

    Raises FileRefused where it goes on beyond FILE_BYTES_MAX, and the OSErrors of the disk.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with tempfile.TemporaryFile() as file:
        while chunk := source.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > FILE_BYTES_MAX:
                raise FileRefused([f"the file is longer than {FILE_BYTES_MAX:,} bytes, which is the most."], count=1)
            digest.update(chunk)
            file.write(chunk)
        file.seek(0)
        yield Spooled(file, digest.digest())


class LineSpool:
    """Keys and encoded lines on disk, in their order."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, key: str, value: bytes) -> None:
        """One more line."""
        name = key.encode()
        self._file.write(_FRAME.pack(len(name), len(value)) + name + value)

    def read(self) -> Iterator[tuple[str, bytes]]:
        """All lines from the first."""
        self._file.seek(0)
        while frame := self._file.read(_FRAME.size):
            name_bytes, value_bytes = _FRAME.unpack(frame)
            yield self._file.read(name_bytes).decode(), self._file.read(value_bytes)


@contextmanager
def line_spool() -> Iterator[LineSpool]:
    """An empty spool, gone at the end."""
    with tempfile.TemporaryFile(buffering=_CHUNK_BYTES) as file:
        yield LineSpool(file)
