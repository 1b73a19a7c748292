"""Operating-system side of a child: start it tied to this process, wait for its end, find and end what it left behind.

Reads /proc. Driven by `supervisor`. Linux only, as the parent-death signal is.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox.stack.spec import Account

__all__ = [
    "adopt_orphans",
    "children_of",
    "descriptors_are_open",
    "end_with_parent",
    "processes_in",
    "signal_process",
    "spawn",
    "started_at_ticks",
    "wait_for_end",
]

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LAUNCHER = Path(__file__).with_name("launch.py")


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    directory: Path | None,
    account: Account | None,
    orphan_signal: signal.Signals,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, so that Ctrl-C in the terminal reaches the supervisor only."""
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    launcher = [
        sys.executable,
        "-I",
        "-S",
        str(LAUNCHER),
        str(os.getpid()),
        str(int(orphan_signal)),
        str(uid),
        str(gid),
    ]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*launcher, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, **environment},
            start_new_session=True,
        )


async def wait_for_end(process: subprocess.Popen[bytes]) -> int:
    """Wait until a child has ended and return its exit status (negative: the signal that ended it)."""
    status = process.poll()
    if status is not None:
        return status
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


def signal_process(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a child that may have ended in the meantime."""
    if process.poll() is None:
        process.send_signal(number)


def adopt_orphans() -> None:
    """Make this process the parent of whatever its children leave behind, so that it can be found and ended."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(number: signal.Signals) -> None:
    """Ask the kernel for a signal when the process that started this one dies."""
    parent = os.getppid()
    _prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def descriptors_are_open() -> None:
    """Open /dev/null on whichever of descriptors 0, 1 and 2 is closed: the next file opened would take its place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def children_of(parent: int) -> set[int]:
    """The direct children of a process, ended ones that nobody has waited for included."""
    return {pid for pid in _pids() if _parent(pid) == parent}


def processes_in(directory: Path, *, program: str) -> set[int]:
    """The processes that run a program of this file name and have the directory as their working directory."""
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            base = Path("/proc") / str(pid)
            if os.readlink(base / "cwd") == str(directory) and Path(os.readlink(base / "exe")).name == program:
                found.add(pid)
    return found


def started_at_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: with its pid the name of one process for good."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on (the name before it may contain blanks); None: no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
