"""Looks at processes from outside, in /proc: whether they live, stand still, and what they have started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sandbox.stack.process import children_of

__all__ = ["environment_of", "family", "has_ended", "until"]

T = TypeVar("T")

_LOOK_EVERY_SECONDS = 0.05


def until(condition: Callable[[], T], *, seconds: float, look_every_seconds: float = _LOOK_EVERY_SECONDS) -> T | None:
    """Look until the answer is true; None where it was not within the time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            return None
        time.sleep(look_every_seconds)
    return answer


def has_ended(pid: int) -> bool:
    """Whether the process is no more, or only waits to be reaped."""
    return _state(pid) in (None, "Z", "X")


def family(pid: int) -> list[int]:
    """All descendants of a process."""
    found = []
    for child in children_of(pid):
        found += [child, *family(child)]
    return found


def environment_of(pid: int) -> dict[str, str]:
    """With which environment a process was started; raises OSError where it has ended."""
    return dict(_pairs(Path(f"/proc/{pid}/environ").read_bytes()))


def _pairs(environment: bytes) -> Iterator[tuple[str, str]]:
    for entry in environment.split(b"\0"):
        name, separator, value = entry.partition(b"=")
        if separator:
            yield name.decode(), value.decode()


def _state(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()[0]
