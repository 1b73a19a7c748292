"""How each system under test is started: one process that folds the topics of the broker it is given."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.fold.mix import PARTITIONS

__all__ = ["Peer", "Running", "kafka_streams", "paystream", "quix_streams"]

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).parents[2]
_STREAMS = _ROOT / "bench" / "kafka_streams"


@dataclass(frozen=True, slots=True)
class Peer:
    """A system under test: its consumer group, and its command and environment for a broker."""

    name: str
    group: str
    command: tuple[str, ...]
    environment: dict[str, str]
    is_java: bool = False

    @contextlib.contextmanager
    def running(self, bootstrap: str, log: Path) -> Iterator[Running]:
        """Run its process, and end it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        environment = {
            **os.environ,
            **self.environment,
            "PAYSTREAM_KAFKA_BOOTSTRAP": bootstrap,
            "PAYSTREAM_HTTP_PORT": str(port),
        }
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield Running(process, is_java=self.is_java)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True, slots=True)
class Running:
    """A process under test."""

    process: subprocess.Popen[bytes]
    is_java: bool = False

    def cpu_seconds(self) -> float:
        """User and system time of all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def memory_bytes(self) -> int:
        """What it keeps: its resident set; of a Java process what is left of the heap after a collection.

        A Java heap grows with what was thrown away, up to the size that it was given at the start.
        """
        return self._live_heap_bytes() if self.is_java else self._resident_bytes()

    def _live_heap_bytes(self) -> int:
        # The histogram of live objects collects first; its last line is the total.
        command = ("jcmd", str(self.process.pid), "GC.class_histogram")
        histogram = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        total = re.search(r"^Total\s+\d+\s+(\d+)\s*$", histogram, re.MULTILINE)
        assert total is not None, histogram[-200:]
        return int(total[1])

    def _resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def paystream() -> Peer:
    """`paystream flow payments`, as it is run in production."""
    return Peer(
        "paystream",
        "payments",
        (sys.executable, "-m", "paystream", "flow", "payments"),
        {"PAYSTREAM_PARTITIONS": str(PARTITIONS)},
    )


def kafka_streams() -> Peer:
    """The Kafka Streams application, built first where it is not yet."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        raise SystemExit("the peer of this bench is built with Maven and a JDK of 17 or later: neither may be missing")
    subprocess.run(
        [maven, "--quiet", "--batch-mode", "--strict-checksums", "--file", str(_STREAMS / "pom.xml"), "package"],
        check=True,
    )
    target = _STREAMS / "target"
    heap = ("-XX:+UseParallelGC", "-Xms1g", "-Xmx4g")
    classpath = f"{target / 'classes'}:{target / 'lib'}/*"
    command = (java, *heap, "-cp", classpath, "paystream.streams.Application")
    return Peer("kafka_streams", "payments-streams", command, {}, is_java=True)


def quix_streams() -> Peer:
    """The Quix Streams application, in an environment of its own (`make .venv-quix/ready`)."""
    python = _ROOT / ".venv-quix" / "bin" / "python"
    return Peer("quix_streams", "payments-quix", (str(python), "-m", "bench.quix.app"), {"PYTHONPATH": str(_ROOT)})
