"""The most memory that a program has had resident, as the kernel counted it for that program alone."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

__all__ = ["peak_bytes", "run_to_end"]

_LOOK_EVERY_SECONDS = 0.02


def peak_bytes(pid: int | None = None) -> int | None:
    """The highest resident set of a process (this one where None) since its program began; None where it has ended.

    Not `ru_maxrss`: that of a process begins with what the one had resident that started it.
    """
    try:
        status = Path(f"/proc/{'self' if pid is None else pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return next(found, None)


def run_to_end(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process; its highest resident set, of the last 20 ms what it had before."""
    peak = 0
    while process.poll() is None:
        peak = peak_bytes(process.pid) or peak
        time.sleep(_LOOK_EVERY_SECONDS)
    return peak
