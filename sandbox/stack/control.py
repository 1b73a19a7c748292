"""Speaks to a stack that another process runs: is it up, stop it, remove its data.

Finds the supervisor through the lock of the directory; reads stack.json. Driven by the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from sandbox.stack.layout import Layout, Lock, read_json
from sandbox.stack.postgres import outside_directory
from sandbox.stack.probes import http_answers
from sandbox.stack.spec import Probe

__all__ = ["down", "erase", "status"]

STOPS_WITHIN_SECONDS = 25.0
RUNNING = "running"
READY = "ready"
NOT_RUNNING = 3
"""Exit code of `status`, as of service scripts."""


def down(directory: Path) -> int:
    """Stop the stack in the directory and wait until it is gone; 0 also when none was running."""
    lock = Lock(Layout(directory.resolve()).lock)
    pid = lock.holder()
    if pid is None:
        print(f"no stack is running in {directory}")
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOPS_WITHIN_SECONDS
    while lock.holder() == pid:
        if time.monotonic() > deadline:
            print(f"the stack in {directory} does not stop; end its process {pid} with kill -9", file=sys.stderr)
            return 1
        time.sleep(0.1)
    print("stopped")
    return 0


def status(directory: Path) -> int:
    """Say what runs in the directory; 0 when all of it can do its work now, 3 otherwise."""
    layout = Layout(directory.resolve())
    if Lock(layout.lock).holder() is None:
        print(f"no stack is running in {directory}")
        return NOT_RUNNING
    content = read_json(layout.description)
    if content is None:
        print(f"the stack in {directory} is starting or stopping")
        return NOT_RUNNING
    states = {name: _state(pid, content["services"].get(name)) for name, pid in content["processes"].items()}
    for name, pid in content["processes"].items():
        print(f"{name:<24} pid {pid:<8} {states[name]}")
    for name in ("ingress", "card_network", "s3", "kafka"):
        if name in content:
            print(f"{name:<24} {content[name]}")
    return 0 if set(states.values()) <= {RUNNING, READY} else NOT_RUNNING


def _state(pid: int, url: str | None) -> str:
    if not Path(f"/proc/{pid}").exists():
        return "ended"
    if url is None:
        return RUNNING
    reason = asyncio.run(probe_now(http_answers(f"{url}/readyz")))
    return READY if reason is None else f"not ready: {reason}"


async def probe_now(probe: Probe) -> str | None:
    """One answer of a probe."""
    return await probe()


def erase(directory: Path) -> int:
    """Remove all data of the stack in the directory, its part under the temporary folder included."""
    layout = Layout(directory.resolve())
    if Lock(layout.lock).holder() is not None:
        print(f"a stack is running in {directory}; stop it first", file=sys.stderr)
        return 1
    for path in (layout.directory, outside_directory(layout)):
        if path.exists():
            shutil.rmtree(path)
    return 0
