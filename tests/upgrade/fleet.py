"""The Paystream processes of a rolling upgrade: each of one version, replaced one at a time under its name and port.

They run against the stack's Kafka, PostgreSQL and card network, and are configured by environment only. `addresses` is
what a load balancer knows: an ingress process is taken out before it is told to end, while what it was asked before may
still be open, and comes back once it is ready.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from sandbox.stack.logs import last_lines
from sandbox.stack.process import spawn
from tests.upgrade.version import Version

__all__ = ["Fleet", "Member"]

_READY_WITHIN_SECONDS = 120.0
_STOPS_WITHIN_SECONDS = 60.0
_POLL_SECONDS = 0.05
# By then nobody asks a process any more that was taken out; requests that wait for their outcome are longer open.
_NOTICED_WITHIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One process by its name: `payments-1` is the second of a flow."""

    name: str
    arguments: tuple[str, ...]
    instance: int
    port: int

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_ingress(self) -> bool:
        """Whether it serves the API."""
        return self.arguments == ("ingress",)


class Fleet:
    """All processes. `end` ends those that run; so does the end of this process, whichever way it comes."""

    def __init__(
        self, members: Sequence[Member], settings: Mapping[str, str], directory: Path, *, api_key: str
    ) -> None:
        self.members = {member.name: member for member in members}
        self.addresses = directory / "addresses.json"
        self._settings = settings
        self._directory = directory
        self._api_key = api_key
        self._environments: dict[str, dict[str, str]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._serving: set[str] = set()
        self._admit()

    def run_once(self, version: Version, *arguments: str) -> None:
        """Run a command of a version to its end, which has to be a good one."""
        done = subprocess.run(
            version.command(*arguments),
            cwd=version.tree,
            env={**os.environ, **self._environment(version)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"paystream {' '.join(arguments)} of {version.name}: {done.stdout}{done.stderr}"

    def start_all(self, version: Version) -> None:
        """Start every process, and wait until all are ready."""
        for name in self.members:
            self._start(name, version)
        for name in self.members:
            self._wait_ready(name)

    def replace(self, name: str, version: Version) -> None:
        """Stop a process in order, and start another under its name; returns once that is ready."""
        process = self._processes[name]
        assert process.poll() is None, f"{name} ended by itself with {process.returncode}:\n{self._log(name)}"
        if self.members[name].is_ingress:
            self._admit(without=name)
            time.sleep(_NOTICED_WITHIN_SECONDS)
        process.terminate()
        status = process.wait(_STOPS_WITHIN_SECONDS)
        assert status == 0, f"{name} was asked to end and did with {status}:\n{self._log(name)}"
        self._start(name, version)
        self._wait_ready(name)

    def metric(self, name: str, metric: str) -> float:
        """The value of a process's metric that has no labels; 0 where it has none of that name."""
        lines = httpx.get(f"{self.members[name].url}/metrics", timeout=60).text.splitlines()
        return next((float(line.split()[1]) for line in lines if line.split()[0] == metric), 0.0)

    def end(self) -> None:
        """End what still runs, in order where it wants to."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_STOPS_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, version: Version) -> None:
        member = self.members[name]
        own = {
            "PAYSTREAM_INSTANCE": str(member.instance),
            "PAYSTREAM_HTTP_HOST": "127.0.0.1",
            "PAYSTREAM_HTTP_PORT": str(member.port),
        }
        self._processes[name] = spawn(
            version.command(*member.arguments),
            environment={**self._environment(version), **own},
            log=self._directory / f"{name}.log",
            directory=version.tree,
            account=None,
            orphan_signal=signal.SIGKILL,
        )

    def _wait_ready(self, name: str) -> None:
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        process = self._processes[name]
        while not self._is_ready(name):
            assert process.poll() is None, f"{name} ended with {process.returncode}:\n{self._log(name)}"
            assert time.monotonic() < deadline, f"{name} did not become ready:\n{self._log(name)}"
            time.sleep(_POLL_SECONDS)
        self._admit(name)

    def _is_ready(self, name: str) -> bool:
        try:
            return httpx.get(f"{self.members[name].url}/readyz", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def _admit(self, name: str = "", *, without: str = "") -> None:
        """Say which ingress processes may be asked; by rename, since it is read all the time."""
        self._serving = (self._serving | {name}) - {without}
        urls = [member.url for member in self.members.values() if member.is_ingress and member.name in self._serving]
        written = self.addresses.with_suffix(".new")
        written.write_text(json.dumps({"api_key": self._api_key, "ingress_processes": urls}))
        written.replace(self.addresses)

    def _environment(self, version: Version) -> dict[str, str]:
        if version.name not in self._environments:
            self._environments[version.name] = version.environment(self._settings)
        return self._environments[version.name]

    def _log(self, name: str) -> str:
        return last_lines(self._directory / f"{name}.log")
