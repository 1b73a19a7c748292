"""Further processes of a flow, beside the one that the stack keeps alive: twins under its name, and extra owners.

Driven by `nemesis`. A process stays until it has been seen to take part and some time longer: an extra owner holds
shards; a twin holds those of its namesake, or has been fenced by it.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.chaos.processes import environment_of, until

__all__ = ["Beside"]

_TAKES_PART_WITHIN_SECONDS = 30.0
_ENDS_WITHIN_SECONDS = 15.0
_ANSWERS_WITHIN_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 0.2


class Beside:
    """Starts them, and writes what they print into a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)

    def run(self, flow: str, *, beside: int, seconds: float, is_twin: bool) -> bool:
        """Run another process of a flow for a while; whether it took part."""
        number, port = next(self._numbers), _free_port()
        try:
            environment = environment_of(beside)
        except OSError:
            return False
        environment["PAYSTREAM_HTTP_PORT"] = str(port)
        if not is_twin:
            environment["PAYSTREAM_INSTANCE"] = f"extra-{number}"
        log = self._directory / f"beside-{number}-{flow}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "paystream", "flow", flow.removeprefix("flow-")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            # One for all looks: to make one takes more of the processor than a flow does meanwhile.
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_ANSWERS_WITHIN_SECONDS) as http:
                took_part = until(
                    lambda: _holds_shards(http) or _was_fenced(log),
                    seconds=_TAKES_PART_WITHIN_SECONDS,
                    look_every_seconds=_LOOK_EVERY_SECONDS,
                )
            time.sleep(seconds)
        finally:
            _end(child, at_once=is_twin)
        return bool(took_part)


def _holds_shards(http: httpx.Client) -> bool:
    """Whether the process says that it holds shards: at least one."""
    try:
        metrics = http.get("/metrics").text
    except httpx.HTTPError:
        return False
    return any(line.startswith("paystream_shards{") and float(line.split()[-1]) > 0 for line in metrics.splitlines())


def _was_fenced(log: Path) -> bool:
    return "was fenced by its own name" in log.read_text(errors="replace")


def _end(child: subprocess.Popen[bytes], *, at_once: bool) -> None:
    """A twin dies as it came; an extra owner leaves as a process does that is scaled away."""
    if not at_once:
        child.terminate()
        try:
            child.wait(_ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        else:
            return
    child.kill()
    child.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
