"""The logs of the children: read their end, and keep them from growing without bound.

A child holds its log open for appending, so the log is not renamed under it: it is copied to NAME.log.1 and emptied.
What the child prints in that instant may be lost. Driven by `stack`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["last_lines", "rotate"]

LARGEST_LOG_BYTES = 16 * 1024 * 1024
TAIL_BYTES = 4096


def last_lines(log: Path, *, count: int = 15) -> str:
    """The end of a log, for a message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def rotate(logs: Path, *, largest_bytes: int = LARGEST_LOG_BYTES) -> None:
    """Move the content of each log that has grown too large to a second file, over what that held."""
    for log in logs.glob("*.log"):
        if log.stat().st_size > largest_bytes:
            shutil.copyfile(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)
