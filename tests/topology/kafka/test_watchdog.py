"""The watchdog: what does not come back is ended, what does is left alone."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from topology.kafka.watchdog import EXIT_STATUS, Watchdog


def test_a_call_that_does_not_come_back_is_bitten() -> None:
    bitten: list[str] = []
    came = threading.Event()

    def bite(what: str) -> None:
        bitten.append(what)
        came.set()

    with Watchdog(bite=bite).watching("the commit", limit_seconds=0.1):
        assert came.wait(5)
    assert bitten == ["the commit"]


def test_calls_that_come_back_are_left_alone() -> None:
    bitten: list[str] = []
    watchdog = Watchdog(bite=bitten.append)
    for _ in range(3):
        with watchdog.watching("quick", limit_seconds=0.5):
            time.sleep(0.05)
    time.sleep(0.8)
    assert bitten == []


def test_the_process_ends_even_while_its_thread_is_stuck() -> None:
    program = (
        "import threading\n"
        "from topology.kafka.watchdog import Watchdog\n"
        "with Watchdog().watching('the commit', limit_seconds=0.1):\n"
        "    threading.Event().wait(30)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == EXIT_STATUS
    assert "the commit does not come back" in ended.stderr


def test_the_process_ends_even_while_no_other_thread_can_run() -> None:
    program = (
        "import ctypes\n"
        "from topology.kafka.watchdog import Watchdog, ending_without_python\n"
        "with Watchdog().watching('it', limit_seconds=0.1), ending_without_python(limit_seconds=1.0):\n"
        # Called so, it keeps Python's lock.
        "    ctypes.PyDLL(None).sleep(30)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert 'File "<string>", line 4' in ended.stderr


def test_what_came_back_ends_nothing_later() -> None:
    program = (
        "import time\n"
        "from topology.kafka.watchdog import ending_without_python\n"
        "with ending_without_python(limit_seconds=0.2):\n"
        "    pass\n"
        "time.sleep(0.5)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
