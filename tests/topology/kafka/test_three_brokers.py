"""The whole protocol on three brokers (replication 3, min ISR 2), and what only they can suffer.

First the scenarios of `test_crashes` and `test_members` side by side, while the brokers are well; then the brokers are
killed and paused one by one, and two at a time, under a flow with two members. (All at once: `tests.chaos`.)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest

from sandbox.stack import Part
from tests.harness.counting import Counting
from tests.harness.faulty_flow import Step
from tests.harness.scenarios import Scenarios, scenarios
from tests.harness.stack import start_stack
from tests.topology.kafka.cluster import BROKERS, Cluster
from tests.topology.kafka.test_crashes import between_calls, dies_of, during_the_commit
from tests.topology.kafka.test_members import (
    have_a_twin,
    is_killed_and_comes_anew,
    is_paused,
    share_all_shards,
    stops_and_starts,
)

REPLICAS = 3
# Where a broker may already have what others do not have yet.
BETWEEN = (Step.between_produces, Step.before_commit, Step.after_commit)
# Longer than a broker's session with the controller (3 s) and a member's with its group (6 s).
PAUSE_SECONDS = 8.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with start_stack(parts=frozenset({Part.KAFKA}), arguments=("--brokers", str(REPLICAS))) as stack:
        made = Cluster(stack)
        made.warm_up()
        yield made


@pytest.fixture(scope="module")
def started(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenarios]:
    between = [fault for fault in between_calls() if fault.step in BETWEEN]
    with scenarios(
        {
            "between_calls": partial(dies_of, between),
            "during_commit": partial(dies_of, during_the_commit(3)),
            "killed": is_killed_and_comes_anew,
            "paused": partial(is_paused, Step.before_commit),
            "twins": have_a_twin,
            "clean_stop": stops_and_starts,
        },
        bootstrap=cluster.bootstrap,
        directory=tmp_path_factory.mktemp("replicated"),
        replicas=REPLICAS,
    ) as running:
        yield running


@pytest.mark.parametrize("scenario", ["between_calls", "during_commit", "killed", "paused", "twins", "clean_stop"])
def test_every_input_is_applied_once_on_replicated_topics_too(started: Scenarios, scenario: str) -> None:
    started.result(scenario)


class Load:
    """A flow with two members."""

    def __init__(self, flow: Counting) -> None:
        self.flow = flow
        self._members = [flow.start("0"), flow.start("1")]
        share_all_shards(flow, *self._members)
        flow.send(100)
        flow.check()

    def goes_on(self, count: int) -> None:
        """Wait for so many outputs more."""
        self.flow.wait_for_more(count)

    def is_still(self, seconds: float) -> bool:
        """Whether nothing comes out for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.flow.read():
                return False
        return True

    def stop(self) -> None:
        """End the members; nothing is left undone."""
        for member in self._members:
            member.stop()
        self.flow.check_at_rest()


@pytest.fixture(scope="module")
def load(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    with Counting(cluster.bootstrap, tmp_path_factory.mktemp("brokers"), replicas=REPLICAS) as flow:
        under_load = Load(flow)
        yield under_load
        under_load.stop()


@pytest.fixture
def whole(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that is whole before and after."""
    cluster.wait_until_whole()
    try:
        yield cluster
    finally:
        cluster.go_on(*BROKERS)


def chosen(cluster: Cluster, load: Load, what: str) -> str:
    """The broker that a fault is about."""
    spec = load.flow.spec
    if what == "group coordinator":
        return cluster.group_coordinator(spec.name)
    if what == "transaction coordinator":
        return cluster.transaction_coordinator(f"{spec.name}-0")
    return cluster.leader(spec.inputs[0].name, 0)


def test_an_acknowledged_record_is_on_two_brokers_at_least(cluster: Cluster, load: Load) -> None:
    names = [load.flow.spec.inputs[0].name, "__consumer_offsets", "__transaction_state"]
    assert [cluster.setting(name, "min.insync.replicas") for name in names] == ["2", "2", "2"]
    assert [cluster.replicas(name) for name in names] == [{REPLICAS}] * 3


@pytest.mark.parametrize("what", ["leader", "transaction coordinator", "group coordinator"])
def test_a_killed_broker_costs_nothing_but_time(whole: Cluster, load: Load, what: str) -> None:
    with load.flow.feeding(200):
        load.goes_on(20)
        whole.kill(chosen(whole, load, what))
        load.goes_on(200)
    load.flow.check()


def test_a_broker_paused_longer_than_any_session_is_replaced_and_does_no_harm(whole: Cluster, load: Load) -> None:
    with load.flow.feeding(200):
        load.goes_on(20)
        paused = chosen(whole, load, "leader")
        began = time.monotonic()
        whole.pause(paused)
        load.goes_on(200)
        time.sleep(max(0.0, began + PAUSE_SECONDS - time.monotonic()))
        whole.go_on(paused)
        load.goes_on(100)
    load.flow.check()


def test_with_two_of_three_down_nothing_commits_and_nothing_is_lost(whole: Cluster, load: Load) -> None:
    with load.flow.feeding(200):
        load.goes_on(20)
        down = BROKERS[:2]
        whole.hold_down(*down)
        load.is_still(1.0)
        assert load.is_still(3.0), "one replica of three is no committed record"
        whole.go_on(*down)
        load.goes_on(200)
    load.flow.check()
