"""A broker of its own for each measurement, with the topics of the fold."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka.admin import AdminClient

from bench.fold.mix import PARTITIONS
from schemas.topics import ALL
from topology.kafka.admin import create_topics

__all__ = ["broker"]

_READY_WITHIN_SECONDS = 60.0


@contextlib.contextmanager
def broker() -> Iterator[str]:
    """Start a broker, create the topics, yield its address; all of it is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="paystream-bench-"))
    directory = home / "stack"
    command = [sys.executable, "-m", "sandbox.stack", "up", "--directory", str(directory), "--end-with-parent"]
    with (home / "output").open("wb") as output:
        supervisor = subprocess.Popen(
            [*command, "--parts", "kafka"], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while not (directory / "stack.json").exists():
            if supervisor.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((home / "output").read_text(errors="replace"))
            time.sleep(0.1)
        bootstrap = json.loads((directory / "stack.json").read_text())["kafka"]
        admin = AdminClient({"bootstrap.servers": bootstrap})
        create_topics(admin, ALL, partitions=PARTITIONS, replication_factor=1)
        yield str(bootstrap)
    finally:
        if supervisor.poll() is None:
            supervisor.send_signal(signal.SIGINT)
            supervisor.wait(30)
        shutil.rmtree(home, ignore_errors=True)
