"""A process that is killed at any instant loses nothing and doubles nothing: real processes, real Kafka, kill -9."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from tests.harness.counting import Counting
from tests.harness.faulty_flow import Fault, Step
from tests.harness.scenarios import Scenarios, scenarios

SEED = 20260101
KILLED = -signal.SIGKILL


def between_calls() -> list[Fault]:
    """One kill between any two calls of a commit."""
    return [Fault(step=step, transaction=2) for step in Step if step is not Step.during_commit]


def in_the_first_epoch() -> list[Fault]:
    """Kills before anything was ever committed: the changelog then has records, none of which counts."""
    return [Fault(step=Step.before_commit, transaction=1), Fault(step=Step.before_offsets, transaction=1)]


def during_the_commit(count: int) -> list[Fault]:
    """Kills while the broker commits: it takes some milliseconds from the request to the last marker."""
    chance = random.Random(SEED)
    return [
        Fault(step=Step.during_commit, transaction=chance.randint(1, 4), delay_ms=chance.uniform(0.0, 6.0))
        for _ in range(count)
    ]


def recovers(flow: Counting) -> None:
    """A last process that is well finishes the work, with nothing lost and nothing doubled."""
    last = flow.start()
    # All may be done already, and a process that is asked to stop before it has begun just dies.
    flow.wait_until(lambda: last.shards is not None, what="the last process", within_seconds=60.0)
    flow.check()
    last.stop()
    flow.check_at_rest()


def dies_of(faults: Sequence[Fault], flow: Counting) -> None:
    """One process after another under the same name, each of which dies of its fault."""
    with flow.feeding(200):
        for fault in faults:
            member = flow.start(fault=str(fault))
            assert member.wait(60.0) == KILLED, fault
    recovers(flow)


def is_killed_anywhere(kills: int, flow: Counting) -> None:
    """Kills from outside at any time of a life: while it starts, fences, joins, restores or folds."""
    chance = random.Random(SEED)
    with flow.feeding(200):
        for _ in range(kills):
            member = flow.start()
            time.sleep(chance.uniform(0.5, 2.0))
            member.kill()
    recovers(flow)


@pytest.fixture(scope="module")
def started(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenarios]:
    steps = between_calls()
    with scenarios(
        {
            "between_calls_1": partial(dies_of, steps[:3]),
            "between_calls_2": partial(dies_of, steps[3:]),
            "first_epoch": partial(dies_of, in_the_first_epoch()),
            "during_commit": partial(dies_of, during_the_commit(4)),
            "anywhere": partial(is_killed_anywhere, 4),
        },
        bootstrap=kafka_bootstrap,
        directory=tmp_path_factory.mktemp("crashes"),
    ) as running:
        yield running


@pytest.mark.parametrize("part", ["between_calls_1", "between_calls_2"])
def test_a_kill_between_any_two_calls_of_a_commit_keeps_every_input_applied_once(started: Scenarios, part: str) -> None:
    started.result(part)


def test_a_kill_while_the_broker_commits_keeps_every_input_applied_once(started: Scenarios) -> None:
    started.result("during_commit")


def test_kills_in_the_very_first_epoch_do_not_pass_for_expired_offsets(started: Scenarios) -> None:
    started.result("first_epoch")


def test_repeated_kills_at_any_instant_keep_every_input_applied_once(started: Scenarios) -> None:
    started.result("anywhere")
