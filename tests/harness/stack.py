"""Real parts for tests: a stack, or parts of it, in a process tree of its own and a directory that is thrown away.

Fixtures, all for the whole run and started when first asked for:
`kafka_bootstrap` (host:port), `postgres_uri`, `s3` (a `RunningStack` with only S3), `s3_endpoint`, and `running_stack`
(everything). `postgres_database` is an empty database for one test.

`start_stack` is for tests that need a stack of their own, to break it. At the end each stack is stopped as Ctrl-C does,
and no process may be left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import sql

from sandbox.stack import Part

__all__ = ["RunningStack", "processes_with_mark", "stand_still", "stands_still", "start_stack"]

T = TypeVar("T")

READY_WITHIN_SECONDS = 120.0
STOPPED_WITHIN_SECONDS = 20.0
MARK = "PAYSTREAM_TEST_STACK"
STACK_COMMAND = (sys.executable, "-m", "sandbox.stack", "up")
SHORT_TIMES = ("--setting", "PAYSTREAM_CALL_DEADLINE_SECONDS=3", "--setting", "PAYSTREAM_LADDER_SECONDS=1,2,5,10")
PAYSTREAM_COMMAND = (sys.executable, "-m", "paystream", "stack", "up")


@dataclass(frozen=True, kw_only=True)
class RunningStack:
    """A stack in another process, as stack.json describes it at this moment."""

    directory: Path
    supervisor: subprocess.Popen[bytes]
    mark: str

    @property
    def description(self) -> dict[str, Any]:
        """The content of stack.json; while a child is being replaced, that of a moment ago."""
        content: dict[str, Any] = json.loads((self.directory / "stack.json").read_text())
        return content

    @property
    def kafka(self) -> str:
        return str(self.description["kafka"])

    @property
    def postgres(self) -> str:
        return str(self.description["postgres"])

    @property
    def s3(self) -> str:
        return str(self.description["s3"])

    @property
    def card_network(self) -> str:
        return str(self.description["card_network"])

    @property
    def card_network_iso8583(self) -> str:
        return str(self.description["card_network_iso8583"])

    @property
    def ingress(self) -> str:
        return str(self.description["ingress"])

    @property
    def api_key(self) -> str:
        return str(self.description["api_key"])

    @property
    def processes(self) -> dict[str, int]:
        return dict(self.description["processes"])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal a child by its name; the pid that it had. After SIGSTOP it stands still when this returns."""
        pid = self.processes[name]
        if number == signal.SIGSTOP:
            stand_still(pid)
        else:
            os.kill(pid, number)
        return pid

    def wait_for_restart(self, name: str, *, former_pid: int, within_seconds: float = 15.0) -> int:
        """Wait until the child runs under another pid, and return that."""
        return wait_for(
            lambda: next((pid for other, pid in self.processes.items() if other == name and pid != former_pid), None),
            what=f"another process of {name}",
            within_seconds=within_seconds,
        )

    def wait_ready(self, *, within_seconds: float = READY_WITHIN_SECONDS) -> None:
        """Wait until stack.json is there; fail with what the stack printed when it ends instead."""

        def ready() -> bool:
            if self.supervisor.poll() is not None:
                pytest.fail(f"the stack ended with {self.supervisor.returncode}:\n{self.output}")
            return (self.directory / "stack.json").exists()

        wait_for(ready, what="stack.json", within_seconds=within_seconds)

    def said_last(self, *, lines: int = 15) -> str:
        """The last lines of each process's log, for whoever reads of a failure: the logs are gone by then."""
        logs = sorted((self.directory / "logs").glob("*.log"))
        tails = {log.name: log.read_text(errors="replace").splitlines()[-lines:] for log in logs}
        return "\n".join(f"{name}: {line}" for name, tail in tails.items() for line in tail)

    @property
    def output(self) -> str:
        """What the stack has printed."""
        return self.directory.with_name("output").read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Signal the whole process group of the stack, as a terminal does, and see that nothing is left."""
        if self.supervisor.poll() is None:
            os.killpg(self.supervisor.pid, number)
        status = self.supervisor.wait(STOPPED_WITHIN_SECONDS)
        left = self.processes_left()
        assert not left, f"processes left behind: {left}"
        assert status == 0, f"the stack ended with {status}:\n{self.output}"

    def processes_left(self) -> dict[int, str]:
        """Processes of this stack that run now, by pid."""
        return processes_with_mark(self.mark, self.directory)


def wait_for(condition: Callable[[], T | None], *, what: str, within_seconds: float) -> T:
    """Ask until the answer is true."""
    deadline = time.monotonic() + within_seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {within_seconds} s"
        time.sleep(0.05)
    return answer


def stand_still(pid: int) -> None:
    """Stop a process and wait for that: until one of its threads has taken the signal, the others go on."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: stands_still(pid), what=f"a process {pid} that stands still", within_seconds=10.0)


def stands_still(pid: int) -> bool:
    """Whether all threads of a process have been stopped by a signal."""
    try:
        stats = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        # One of them has just ended.
        return False
    return {stat.rpartition(")")[2].split()[0] for stat in stats} == {"T"}


def processes_with_mark(mark: str, directory: Path) -> dict[int, str]:
    """Processes whose environment has the mark, or (PostgreSQL overwrites it) that work below the directory."""
    found = {}
    for base in Path("/proc").iterdir():
        if not base.name.isdigit() or int(base.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            marked = f"{MARK}={mark}".encode() in (base / "environ").read_bytes()
            inside = os.readlink(base / "cwd").startswith(f"{directory}/")
            command = (base / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if (marked or inside) and command:
                found[int(base.name)] = command
    return found


@contextlib.contextmanager
def start_stack(
    *,
    parts: frozenset[Part] | None = None,
    arguments: Sequence[str] = (),
    command: Sequence[str] = STACK_COMMAND,
    directory: Path | None = None,
    wait: bool = True,
) -> Iterator[RunningStack]:
    """A stack of its own, in a directory of its own unless one is given; stopped and removed at the end."""
    # Not pytest's tmp_path: its folders are closed to other users, and PostgreSQL runs as one when root tests.
    home = Path(tempfile.mkdtemp(prefix="paystream-test-"))
    home.chmod(0o711)
    chosen = directory or home / "stack"
    mark = uuid.uuid4().hex
    options = ["--directory", str(chosen), "--end-with-parent", *arguments]
    if parts is not None:
        options += ["--parts", ",".join(sorted(parts))]
    # Left there if the stack that ran in the directory before was killed.
    chosen.joinpath("stack.json").unlink(missing_ok=True)
    with (chosen.with_name("output")).open("wb") as output:
        supervisor = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: mark},
            start_new_session=True,
        )
    stack = RunningStack(directory=chosen, supervisor=supervisor, mark=mark)
    try:
        if wait:
            stack.wait_ready()
        yield stack
        if supervisor.poll() is None:
            stack.stop()
    finally:
        if supervisor.poll() is None:
            supervisor.kill()
            supervisor.wait()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """One Kafka broker for the whole run; tests choose topic names of their own."""
    with start_stack(parts=frozenset({Part.KAFKA})) as stack:
        yield stack.kafka


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """One PostgreSQL server for the whole run, with an empty database whose owner may make others."""
    with start_stack(parts=frozenset({Part.POSTGRES})) as stack:
        yield stack.postgres


@pytest.fixture
def postgres_database(postgres_uri: str) -> Iterator[str]:
    """The URI of an empty database for one test."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield postgres_uri.rpartition("/")[0] + f"/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def s3() -> Iterator[RunningStack]:
    """S3 for the whole run; its description has the endpoint and the keys."""
    with start_stack(parts=frozenset({Part.S3})) as stack:
        yield stack


@pytest.fixture(scope="session")
def s3_endpoint(s3: RunningStack) -> str:
    """The URL of S3."""
    return s3.s3


@pytest.fixture(scope="session")
def running_stack() -> Iterator[RunningStack]:
    """The whole stack for the whole run, with short times: a call without an answer is in doubt after 3 s.

    A test that kills a child waits until the stack serves again.
    """
    with start_stack(command=PAYSTREAM_COMMAND, arguments=SHORT_TIMES) as stack:
        yield stack
