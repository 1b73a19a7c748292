"""The processes of clients, one for each merchant, and what is put on record of their merchants. Driven by `run`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.commands import insist
from tests.chaos.merchants import API_KEYS, route_of
from tests.harness.stack import RunningStack

__all__ = ["put_on_record", "running_clients"]

_ON_RECORD_WITHIN_SECONDS = 30.0


def put_on_record(stack: RunningStack, directory: Path, *, seed: int) -> None:
    """Say which way the payments of each merchant go."""

    def put(merchant: str) -> None:
        route = ",".join(route_of(merchant, seed=seed))
        command = ("merchants", "put", merchant, "--name", merchant, "--route", f"*={route}")
        log = directory / f"merchants-{merchant}.log"
        insist(stack, log, *command, within_seconds=_ON_RECORD_WITHIN_SECONDS)

    with ThreadPoolExecutor(len(API_KEYS)) as pool:
        list(pool.map(put, API_KEYS))


@contextlib.contextmanager
def running_clients(
    stack: RunningStack, histories: Sequence[Path], *, seed: int, payments: int, seconds: float, workers: int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One process for each merchant, in the order of `API_KEYS`, and its history; they share out the payments.

    None is left at the end, whatever happens.
    """
    options = {
        "--seed": seed,
        "--payments": payments // len(API_KEYS),
        "--workers": workers,
        "--seconds": seconds,
    }
    clients = [
        _client(stack, history, {**options, "--name": history.stem, "--merchant": merchant})
        for history, merchant in zip(histories, API_KEYS, strict=True)
    ]
    try:
        yield clients
    finally:
        for client in clients:
            client.kill()
            client.wait()


def _client(stack: RunningStack, history: Path, options: Mapping[str, object]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.chaos.client", str(stack.directory / "stack.json"), str(history)]
    with history.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(
            [*command, *(str(word) for option in options.items() for word in option)], stdout=log, stderr=log
        )
