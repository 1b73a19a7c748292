"""The peak of a process is its own, and not that of the one which started it."""

from __future__ import annotations

import subprocess
import sys

from bench.memory import peak_bytes, run_to_end

_LARGE = 200_000_000


def started(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen((sys.executable, "-c", program), stdin=subprocess.DEVNULL)


def test_a_child_does_not_begin_with_what_its_parent_had() -> None:
    held = bytearray(b"x" * _LARGE)
    own = peak_bytes()
    assert own is not None
    assert own > _LARGE
    assert 0 < run_to_end(started("import time; time.sleep(0.3)")) < _LARGE / 4
    assert len(held) == _LARGE


def test_a_peak_stays_when_the_memory_is_gone() -> None:
    program = f"import time; held = b'x' * {_LARGE}; del held; time.sleep(0.3)"
    assert run_to_end(started(program)) > _LARGE


def test_a_process_that_has_ended_has_none() -> None:
    process = started("")
    process.wait()
    assert peak_bytes(process.pid) is None
