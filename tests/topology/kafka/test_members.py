"""Members of one flow's group: shared shards, takeovers, pauses, twins, clean stops. Real processes, real Kafka."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.harness.counting import Counting
from tests.harness.faulty_flow import Fault, Step
from tests.harness.member import Member
from tests.harness.scenarios import Scenarios, scenarios
from topology.kafka import KafkaConfig

ALL_SHARDS = (0, 1, 2, 3)
SESSION_SECONDS = KafkaConfig(bootstrap="").session_timeout_ms / 1000
TRIES_MAX = 5
PAUSES = (Step.before_produce, Step.before_offsets, Step.before_commit)


def share_all_shards(flow: Counting, *members: Member) -> None:
    """Wait until the members hold every shard between them, each at least one, and no shard twice."""

    def shared() -> bool:
        held = [member.shards or () for member in members]
        return all(held) and sorted(shard for shards in held for shard in shards) == list(ALL_SHARDS)

    flow.wait_until(shared, what="a share of the shards for each member")


def is_killed_and_comes_anew(flow: Counting) -> None:
    """Two share the shards; one is killed and the other takes over; a new one takes its share."""
    killed, survivor = flow.start("0"), flow.start("1")
    share_all_shards(flow, killed, survivor)
    with flow.feeding(100):
        flow.wait_for_more(20)
        killed.kill()
        flow.wait_until(lambda: survivor.shards == ALL_SHARDS, what="the takeover")
        newcomer = flow.start("2")
        share_all_shards(flow, survivor, newcomer)
        flow.wait_for_more(20)
    flow.check()
    newcomer.stop()
    survivor.stop()
    flow.check_at_rest()


def is_paused(step: Step, flow: Counting) -> None:
    """A member stands still in the middle of a commit, longer than its session, and goes on once it was replaced."""
    fault = Fault(step=step, transaction=3, number=signal.SIGSTOP)
    paused, survivor = flow.start("0", fault=str(fault)), flow.start("1")
    share_all_shards(flow, paused, survivor)
    with flow.feeding(100):
        paused.wait_until_paused()
        flow.wait_until(lambda: survivor.shards == ALL_SHARDS, what="the takeover")
        flow.wait_for_more(50)
        paused.signal(signal.SIGCONT)
        share_all_shards(flow, paused, survivor)
        flow.wait_for_more(50)
    flow.check()
    paused.stop()
    survivor.stop()
    flow.check_at_rest()


def have_a_twin(flow: Counting) -> None:
    """Two processes under one name: each fences the other in turn, and waits longer every time."""
    twins = [flow.start("0")]
    flow.wait_until(lambda: twins[0].shards is not None, what="the first twin")
    with flow.feeding(100):
        flow.wait_for_more(20)
        twins.append(flow.start("0"))
        flow.wait_until(lambda: all("fenced by its own name" in twin.output for twin in twins), what="both fenced")
        flow.wait_for_more(20)
        for twin in twins:
            twin.stop()
        flow.start("0")
        flow.wait_for_more(20)
    flow.check()


def have_an_idle_twin(flow: Counting) -> None:
    """Without input nothing is committed, and a process learns from its heartbeat that it was fenced."""
    first = flow.start("0")
    flow.wait_until(lambda: first.shards is not None, what="the first twin")
    second = flow.start("0")
    flow.wait_until(lambda: "fenced by its own name" in first.output, what="fencing")
    second.stop()
    flow.send(100)
    flow.check()
    first.stop()
    flow.check_at_rest()


def stops_and_starts(flow: Counting) -> None:
    """SIGTERM under load: what came out is what was committed, and the next life goes on from there."""
    with flow.feeding(100):
        for _ in range(2):
            member = flow.start()
            flow.wait_for_more(20)
            asked_at = time.monotonic()
            member.stop()
            assert time.monotonic() - asked_at < 10.0
            flow.check_stop()
        last = flow.start()
        flow.wait_for_more(20)
    flow.check()
    last.stop()
    flow.check_at_rest()


def restarts_within_its_session(flow: Counting) -> None:
    """A killed member and one that stopped come back under their names: nobody else notices, no shard moves."""
    first, other = flow.start("0"), flow.start("1")
    share_all_shards(flow, first, other)
    with flow.feeding(100):
        for end in (Member.kill, Member.stop):
            for _ in range(TRIES_MAX):
                flow.wait_for_more(20)
                held, news, lives = other.shards, other.output.count("holds shards"), other.lives
                gone_at = time.monotonic()
                end(first)
                first = flow.start("0")
                share_all_shards(flow, first, other)
                # A slow machine may have let the session pass, or have stuck the other: then this says nothing.
                if time.monotonic() - gone_at < SESSION_SECONDS and other.lives == lives:
                    assert (other.shards, other.output.count("holds shards")) == (held, news)
                    break
            else:
                pytest.fail(f"no restart in {TRIES_MAX} was quicker than the session")
    flow.check()
    first.stop()
    other.stop()
    flow.check_at_rest()


@pytest.fixture(scope="module")
def started(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenarios]:
    with scenarios(
        {
            **{f"paused_{step}": partial(is_paused, step) for step in PAUSES},
            "killed": is_killed_and_comes_anew,
            "twins": have_a_twin,
            "idle_twins": have_an_idle_twin,
            "clean_stop": stops_and_starts,
            "restarts": restarts_within_its_session,
        },
        bootstrap=kafka_bootstrap,
        directory=tmp_path_factory.mktemp("members"),
    ) as running:
        yield running


def test_members_share_the_shards_take_over_from_the_dead_and_give_to_the_new(started: Scenarios) -> None:
    started.result("killed")


@pytest.mark.parametrize("step", PAUSES)
def test_a_member_paused_longer_than_its_session_does_no_harm_when_it_wakes_up(started: Scenarios, step: Step) -> None:
    started.result(f"paused_{step}")


@pytest.mark.parametrize("load", ["twins", "idle_twins"])
def test_twins_under_one_name_fence_each_other_and_do_no_harm(started: Scenarios, load: str) -> None:
    started.result(load)


def test_a_clean_stop_commits_and_the_next_life_repeats_nothing(started: Scenarios) -> None:
    started.result("clean_stop")


def test_a_restart_within_the_session_moves_nothing(started: Scenarios) -> None:
    started.result("restarts")
