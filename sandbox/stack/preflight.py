"""What must be true of the machine before a stack is started there; each lack is one sentence with its remedy.

Reads /proc/meminfo and the file system. Driven by `stack`.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from sandbox.stack.errors import Unfit

__all__ = ["check_machine"]

OLDEST_PYTHON = (3, 11)
FIRST_UNTRIED_PYTHON = (3, 13)
NEEDED_DISK_MB = 2048
NEEDED_MEMORY_MB = 2048
MEGABYTE = 1024 * 1024


def check_machine(directory: Path, *, memory_mb: int = NEEDED_MEMORY_MB, disk_mb: int = NEEDED_DISK_MB) -> None:
    """Raise Unfit for the first thing that is missing."""
    version = sys.version_info[:2]
    if not OLDEST_PYTHON <= version < FIRST_UNTRIED_PYTHON:
        raise Unfit(
            f"Paystream needs Python 3.11 or 3.12, and this is {version[0]}.{version[1]}: "
            "install one of them, remove .venv, and run make again."
        )
    free_disk_mb = shutil.disk_usage(_existing(directory)).free // MEGABYTE
    if free_disk_mb < disk_mb:
        raise Unfit(
            f"The stack needs {disk_mb} MB of disk and {directory} has {free_disk_mb} MB free: "
            "free some, or choose a --directory on another disk."
        )
    free_memory_mb = available_memory_mb()
    if free_memory_mb < memory_mb:
        raise Unfit(
            f"The stack needs {memory_mb} MB of memory and {free_memory_mb} MB are available: end some other programs."
        )
    if not os.access(_existing(directory), os.W_OK | os.X_OK):
        raise Unfit(f"{directory} cannot be written: choose another --directory.")


def available_memory_mb(source: Path = Path("/proc/meminfo")) -> int:
    """What programs can still get without swapping."""
    for line in source.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise Unfit(f"{source} does not say how much memory is available: the stack needs Linux.")


def _existing(directory: Path) -> Path:
    directory = directory.absolute()
    return next(folder for folder in (directory, *directory.parents) if folder.exists())
