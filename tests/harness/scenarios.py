"""Runs slow scenarios of the counting flow side by side: they mostly wait (for sessions, time-outs, restarts), so that
a module's tests take as long as its slowest one. A test asks for the result of one scenario, and fails as it failed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.harness.counting import Counting

__all__ = ["Scenario", "Scenarios", "scenarios"]

Scenario = Callable[[Counting], None]


class Scenarios:
    """Scenarios that were started together, by name."""

    def __init__(self, futures: Mapping[str, Future[None]]) -> None:
        self._futures = futures

    def result(self, name: str) -> None:
        """Wait for one; raises what it raised."""
        self._futures[name].result()


@contextlib.contextmanager
def scenarios(
    work: Mapping[str, Scenario], *, bootstrap: str, directory: Path, replicas: int = 1
) -> Iterator[Scenarios]:
    """Start them all, each on a flow of its own.

    At the end all have ended: a thread that ends takes the processes that it started with it.
    """

    def run(scenario: Scenario) -> None:
        with Counting(bootstrap, directory, replicas=replicas) as flow:
            scenario(flow)

    with ThreadPoolExecutor(max_workers=len(work), thread_name_prefix="scenario") as pool:
        yield Scenarios({name: pool.submit(run, scenario) for name, scenario in work.items()})
