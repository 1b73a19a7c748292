"""Commands of an operator beside a stack, as processes: `python -m paystream …`, told of it by their environment.

What switches a deliberate bug on (`tests.chaos.bugs`) is passed on to them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.bugs import VARIABLE as BUG_VARIABLE
from tests.harness.stack import RunningStack

__all__ = ["CommandFailed", "begin", "insist"]

_NOT_INHERITED = "PAYSTREAM_"
_PAUSE_SECONDS = 1.0
_ENDS_WITHIN_SECONDS = 120.0


class CommandFailed(Exception):
    """A command was asked again and again, and never done."""


def begin(stack: RunningStack, log: Path, *arguments: str, module: str = "paystream") -> subprocess.Popen[bytes]:
    """Start a command; what it prints is added to the log. `module` takes the arguments, and the environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    inherited |= {name: value for name, value in os.environ.items() if name == BUG_VARIABLE}
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
            [sys.executable, "-m", module, *arguments],
            env={**inherited, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def insist(
    stack: RunningStack, log: Path, *arguments: str, within_seconds: float, done: frozenset[int] = frozenset({0})
) -> int:
    """Ask until it ends with a code that says it is done; that code. It must do no harm to ask again.

    Raises CommandFailed.
    """
    deadline = time.monotonic() + within_seconds
    while True:
        command = begin(stack, log, *arguments)
        try:
            code = command.wait(_ENDS_WITHIN_SECONDS)
        finally:
            command.kill()
            command.wait()
        if code in done:
            return code
        if time.monotonic() > deadline:
            raise CommandFailed(f"paystream {' '.join(arguments)} ended with {code}: see {log}")
        time.sleep(_PAUSE_SECONDS)
