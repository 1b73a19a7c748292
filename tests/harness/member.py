"""One process of a flow, as its supervisor has it: what it prints, which shards it holds, its end and its next life."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.harness.stack import stands_still, wait_for
from topology.kafka.watchdog import EXIT_STATUS

__all__ = ["Member"]

_HOLDS = re.compile(r"holds shards \[([0-9, ]*)\]")


@dataclass(kw_only=True)
class Member:
    """One process of the flow. `begin` starts it anew, with the fault that it is to have (None: well)."""

    instance: str
    process: subprocess.Popen[bytes]
    log: Path
    begin: Callable[[str | None], subprocess.Popen[bytes]] | None = None
    fault: str | None = None
    lives: int = 1
    _printed_before: int = 0

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    @property
    def shards(self) -> tuple[int, ...] | None:
        """The shards that it was last given in this life, or None when it never was."""
        found = _HOLDS.findall(self.output[self._printed_before :])
        return tuple(int(number) for number in found[-1].split(",") if number.strip()) if found else None

    def signal(self, number: signal.Signals) -> None:
        """Signal the process."""
        self.process.send_signal(number)

    def keep(self) -> None:
        """Start it again if it has ended itself over a call that did not come back: so does any supervisor."""
        if self.begin is not None and self.process.poll() == EXIT_STATUS:
            self._printed_before = len(self.output)
            self.process = self.begin(self.fault)
            self.lives += 1

    def wait(self, within_seconds: float = 30.0) -> int:
        """The exit status of an end for good (negative: the signal that ended it)."""
        deadline = time.monotonic() + within_seconds
        while True:
            self.keep()
            try:
                status = self.process.wait(0.1)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, f"{self.instance} did not end within {within_seconds} s"
                continue
            if self.begin is None or status != EXIT_STATUS:
                return status

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """A clean stop, which has to end well."""
        self.process.terminate()
        assert self.process.wait(15.0) == 0, self.output

    def wait_until_paused(self, within_seconds: float = 60.0) -> None:
        """Wait until the process has stopped itself (state T); that was its fault, and it has no other."""
        wait_for(self._is_paused, what=f"the pause of {self.instance}", within_seconds=within_seconds)
        self.fault = None

    def _is_paused(self) -> bool:
        self.keep()
        return stands_still(self.process.pid)
