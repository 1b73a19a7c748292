"""A stack of its own for a benchmark, in a directory that is thrown away."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BenchStack", "bench_stack"]

_READY_WITHIN_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchStack:
    """Where the parts of a running stack are."""

    ingress: str
    card_network: str
    kafka: str
    postgres: str
    api_key: str
    processes: dict[str, int]


@contextlib.contextmanager
def bench_stack(arguments: Sequence[str] = ()) -> Iterator[BenchStack]:
    """Start a whole stack and stop it at the end; raises SystemExit when it does not come up."""
    home = Path(tempfile.mkdtemp(prefix="paystream-bench-"))
    home.chmod(0o711)
    directory = home / "stack"
    command = [sys.executable, "-m", "paystream", "stack", "up", "--directory", str(directory), "--end-with-parent"]
    with (home / "output").open("wb") as output:
        supervisor = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while not (directory / "stack.json").exists():
            if supervisor.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((home / "output").read_text(errors="replace"))
            time.sleep(0.1)
        content = json.loads((directory / "stack.json").read_text())
        names = ("ingress", "card_network", "kafka", "postgres", "api_key", "processes")
        yield BenchStack(**{name: content[name] for name in names})
    finally:
        if supervisor.poll() is None:
            supervisor.send_signal(signal.SIGINT)
            supervisor.wait(30)
        shutil.rmtree(home, ignore_errors=True)
