"""Commands of an operator beside a stack, as processes: `python -m paystream …`, told of it by their environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.harness.stack import RunningStack

__all__ = ["CommandFailed", "begin", "insist"]

_PAUSE_SECONDS = 1.0
_ENDS_WITHIN_SECONDS = 120.0


class CommandFailed(Exception):
    """A command was asked again and again, and never done."""


def begin(stack: RunningStack, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a command; what it prints is added to the log."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PAYSTREAM_")}
    settings = {
        "PAYSTREAM_KAFKA_BOOTSTRAP": stack.kafka,
        "PAYSTREAM_POSTGRES_URI": stack.postgres,
        "PAYSTREAM_CARD_NETWORK_URL": stack.card_network,
        "PAYSTREAM_TEST_CLOCK": "on",
    }
    with log.open("ab") as output:
        output.write(f"$ paystream {' '.join(arguments)}\n".encode())
        output.flush()
        return subprocess.Popen(
            [sys.executable, "-m", "paystream", *arguments],
            env={**inherited, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def insist(
    stack: RunningStack, log: Path, *arguments: str, within_seconds: float, done: frozenset[int] = frozenset({0})
) -> None:
    """Ask until it ends with a code that says it is done. It must do no harm to ask again. Raises CommandFailed."""
    deadline = time.monotonic() + within_seconds
    while True:
        command = begin(stack, log, *arguments)
        try:
            code = command.wait(_ENDS_WITHIN_SECONDS)
        finally:
            command.kill()
            command.wait()
        if code in done:
            return
        if time.monotonic() > deadline:
            raise CommandFailed(f"paystream {' '.join(arguments)} ended with {code}: see {log}")
        time.sleep(_PAUSE_SECONDS)
