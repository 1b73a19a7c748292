"""Where a stack keeps its files, and the lock that makes it the only one there.

    DIRECTORY/lock           flock held by the supervisor for as long as it lives; names it by pid and start time
    DIRECTORY/stack.json     addresses and pids, present while everything is ready (see `description`)
    DIRECTORY/secrets.json   passwords and keys, made once (see `credentials`)
    DIRECTORY/ports.json     ports of the last start, taken again when they are free (see `ports`)
    DIRECTORY/logs/NAME.log  what each child prints
    DIRECTORY/NAME/          its data

Driven by `stack` (start) and `control` (status, stop).
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.stack.errors import AlreadyRunning
from sandbox.stack.process import started_at_ticks

__all__ = ["Layout", "Lock", "read_json", "write_privately"]


@dataclass(frozen=True)
class Layout:
    """The files of one stack."""

    directory: Path

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def description(self) -> Path:
        return self.directory / "stack.json"

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets.json"

    @property
    def ports(self) -> Path:
        return self.directory / "ports.json"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the directory; others may pass through it (PostgreSQL's user must), not list it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o711)
        self.logs.mkdir(mode=0o700, exist_ok=True)


class Lock:
    """The right to run a stack in a directory. The kernel gives it back when the holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise AlreadyRunning."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunning(
                f"A stack is already running in {self.path.parent}; stop it with `paystream stack down "
                f"--directory {self.path.parent}`, or choose another --directory."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {started_at_ticks(os.getpid())}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """The pid of the supervisor that holds the lock; None when nobody does."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = os.pread(descriptor, 64, 0).decode().split()
        else:
            return None
        finally:
            os.close(descriptor)
        # The file may name a former holder for the instant in which the next one writes itself in.
        if len(words) == 2 and words[1] == str(started_at_ticks(int(words[0]))):
            return int(words[0])
        return None


def write_privately(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file by rename, so that a reader sees the old or the new one; readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file; None when there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return content
