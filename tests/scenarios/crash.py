"""Lets a process of the processing flow die between the commit of an in-flight entry and its call.

In such a process (`site/sitecustomize.py`), right after the commit of an authorization's entry: if a file named after
its PaymentIntent lies in the directory that the environment names, the file is removed and the process kills itself,
as if the machine had lost power at that moment. `arm` lays the file.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from topology.calls.engine import Order
from topology.calls.side import ProcessingSide

__all__ = ["VARIABLE", "arm", "crash_where_armed", "environment"]

VARIABLE = "PAYSTREAM_TEST_CRASH_DIRECTORY"
_SITE = Path(__file__).with_name("site")
_REPOSITORY = Path(__file__).parents[2]


def environment(directory: Path) -> Mapping[str, str]:
    """What the processes need in their environment."""
    path = [str(_SITE), str(_REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {VARIABLE: str(directory), "PYTHONPATH": os.pathsep.join(path)}


def arm(directory: Path, payment_intent: str) -> None:
    """Let the next authorization of this payment be committed, and not called."""
    (directory / payment_intent).touch()


def crash_where_armed(directory: Path) -> None:
    """Watch over the commits of this process."""
    former = ProcessingSide.committed

    def committed(self: ProcessingSide, effects: list[object]) -> None:
        for effect in effects:
            if isinstance(effect, Order) and _disarmed(directory, effect.payment_intent_id):
                os.kill(os.getpid(), signal.SIGKILL)
        former(self, effects)

    ProcessingSide.committed = committed  # type: ignore[method-assign]


def _disarmed(directory: Path, payment_intent: str) -> bool:
    try:
        (directory / payment_intent).unlink()
    except FileNotFoundError:
        return False
    return True
