"""Disks so small that they can be filled: tmpfs mounts, in a mount namespace that ends with whoever uses them.

`own_mounts` says how to start a process that may mount (root, or an ordinary user in a user namespace of its own), or
why that cannot be done on this machine. Driven by `run` (the namespace, the mounts) and `nemesis` (the rest).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CannotMount", "SmallDisk", "own_mounts", "speaks_of_full_disk"]

_PIECES_BYTES = (1024 * 1024, 4096, 1)
_TOP_UP_EVERY_SECONDS = 0.05
# PostgreSQL and Java in the words of the system, SQLite in its own.
_FULL = (b"No space left on device", b"database or disk is full")


class CannotMount(Exception):
    """Why no small disk can be made here."""


def own_mounts() -> tuple[str, ...]:
    """What to put before a command so that it can mount, unseen by all others; raises CannotMount."""
    as_user = () if os.geteuid() == 0 else ("--user", "--map-current-user", "--keep-caps")
    command = ("unshare", *as_user, "--mount", "--propagation", "private")
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run([*command, *_mount(Path(folder), size_bytes=4096)], check=True, capture_output=True)
        except FileNotFoundError as error:
            raise CannotMount(f"{error.filename} is not installed") from None
        except subprocess.CalledProcessError as error:
            raise CannotMount(error.stderr.decode(errors="replace").strip()) from None
    return command


def _mount(folder: Path, *, size_bytes: int) -> tuple[str, ...]:
    # Others may pass through it: PostgreSQL runs as one when root tests.
    return ("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0711", "paystream-chaos", str(folder))


@dataclass(frozen=True)
class SmallDisk:
    """A mount of its own."""

    folder: Path
    _numbers: itertools.count[int] = field(default_factory=itertools.count, repr=False)

    @classmethod
    def mount(cls, folder: Path, *, size_bytes: int) -> SmallDisk:
        """Make one; it is gone when the last process of the namespace has ended."""
        folder.mkdir(parents=True)
        subprocess.run(_mount(folder, size_bytes=size_bytes), check=True)
        return cls(folder)

    def fill(self, *, seconds: float) -> bool:
        """Leave no byte to anybody for a while; whether that was so from its beginning to its end."""
        filler = self.folder / f"filler-{next(self._numbers)}"
        deadline = time.monotonic() + seconds
        try:
            with filler.open("wb", buffering=0) as file:
                _write_until_full(file.fileno())
                was_full = self._is_full()
                while time.monotonic() < deadline:
                    time.sleep(_TOP_UP_EVERY_SECONDS)
                    _write_until_full(file.fileno())
                return was_full and self._is_full()
        finally:
            filler.unlink(missing_ok=True)

    def _is_full(self) -> bool:
        return os.statvfs(self.folder).f_bavail == 0


def speaks_of_full_disk(log: Path, *, beyond: int = 0) -> bool:
    """Whether a log, beyond so many bytes, says that there was no space."""
    with log.open("rb") as content:
        content.seek(beyond)
        text = content.read()
    return any(words in text for words in _FULL)


def _write_until_full(file: int) -> None:
    """Write until not even a single byte can be written."""
    for size in _PIECES_BYTES:
        piece = bytes(size)
        with contextlib.suppress(_NoSpace):
            while True:
                _write(file, piece)


class _NoSpace(Exception):
    pass


def _write(file: int, piece: bytes) -> None:
    try:
        os.write(file, piece)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _NoSpace from None
