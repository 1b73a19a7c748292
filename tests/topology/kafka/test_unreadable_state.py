"""State whose content turns out on first use to be none: the run ends with its name, and nothing is committed."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from msgspec.structs import replace

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId
from schemas.partitioner import partition as partition_of
from schemas.payment import PaymentIntent
from schemas.processing import InFlight, Pending
from schemas.times import later
from schemas.topics import COMMANDS
from tests.harness.driver import Collect, FakeClock, OneEpoch
from tests.harness.kafka_fakes import FakeMembership, FakeProducer, as_membership, as_producer, assignment
from tests.topology.domain.script import START
from tests.topology.kafka.sourced import Sourced
from tests.topology.kafka.test_runner import Running
from tests.topology.processing.rig import Rig as ProcessingRig
from tests.topology.reconciliation.rig import Rig as ReconciliationRig
from tests.topology.test_payments import CREATE, INTENT
from topology.kafka import FlowContext, FlowStatus, KafkaConfig, NoSide, Received, StateStore
from topology.kafka.runner import FlowRunner
from topology.kafka.store import UnreadableState
from topology.payments import FLOW, FoldSide, build

SHARD = partition_of(INTENT, 4)
# Its header is good, so a restore takes it.
CUT_SHORT = encode(InFlight(payment_intent_id=PaymentIntentId(INTENT), sequence=1, calls=()))[:-1]
AT_REST = next(
    one for one in (f"pi_{number:032x}" for number in range(100)) if one != INTENT and partition_of(one, 4) == SHARD
)


def corrupt() -> StateStore:
    store = StateStore("log")
    store.restore(INTENT, CUT_SHORT)
    return store


def test_a_store_names_the_key_and_its_place() -> None:
    with pytest.raises(UnreadableState, match=f"^log/3, key '{INTENT}', is no state of this flow: corrupt: "):
        corrupt().load(INTENT, PaymentIntent, partition=3)


def test_a_flow_that_cannot_read_a_state_fails_and_writes_nothing() -> None:
    failed: list[Exception] = []
    written: list[object] = []
    given = Received(INTENT, COMMANDS.name, SHARD, 0, CREATE, encode(CREATE))
    context = FlowContext(
        source=OneEpoch([(INTENT, given)]),
        sink=Collect(written),
        store=corrupt(),
        side=FoldSide(),
        partitions=4,
        clock=FakeClock(START),
        fail=failed.append,
    )
    run_main(build(context), epoch_interval=timedelta(days=-1))
    (error,) = failed
    assert isinstance(error, UnreadableState)
    assert written == []
    assert context.store.take_changes() == []


@pytest.mark.parametrize("unreadable", [AT_REST, f"forgotten-{SHARD}"])
def test_a_flow_that_meets_one_while_it_forgets_fails_and_writes_nothing(unreadable: str) -> None:
    """Neither is the state of the key that is being decided."""
    failed: list[Exception] = []
    written: list[object] = []
    clock = FakeClock(START)
    store = StateStore("log")
    store.restore(unreadable, CUT_SHORT)
    create = replace(CREATE, body=replace(CREATE.body, absent_at=later(START, seconds=3_600.0)))
    given = Received(INTENT, COMMANDS.name, SHARD, 0, create, encode(create))
    context = FlowContext(
        source=OneEpoch([(INTENT, given)]),
        sink=Collect(written),
        store=store,
        side=FoldSide(),
        partitions=4,
        clock=clock,
        fail=failed.append,
    )
    run_main(build(context), epoch_interval=timedelta(days=-1))
    (error,) = failed
    assert isinstance(error, UnreadableState)
    assert str(error).startswith(f"log/{SHARD}, key '{unreadable}', is no state of this flow: corrupt: ")
    assert written == []


class Held(FakeMembership):
    """A membership that can be taken up."""

    def resume(self) -> None:
        """Nothing was paused."""


def test_a_failure_of_a_step_ends_the_run_of_the_flow() -> None:
    error = UnreadableState("log", 0, INTENT, reason="corrupt")
    went_on: list[FlowContext] = []

    def failing(context: FlowContext) -> Dataflow:
        context.fail(error)
        went_on.append(context)
        return build(context)

    runner = FlowRunner(
        FLOW,
        failing,
        config=KafkaConfig(bootstrap="nowhere:1"),
        instance="0",
        side=FoldSide(),
        stopping=lambda: False,
        status=FlowStatus(),
    )
    given = assignment({(COMMANDS.name, SHARD): 0})
    producer = FakeProducer()
    with pytest.raises(UnreadableState) as raised:
        runner._fold(as_membership(Held(given, [])), given, as_producer(producer), StateStore())
    assert raised.value is error
    assert went_on, "it was not raised out of the step"
    assert producer.committed == 0


class CannotRead(NoSide):
    """A side that goes through what was restored."""

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        corrupt().load(INTENT, Pending, partition=SHARD)
        raise AssertionError


def test_a_side_that_cannot_read_a_state_ends_the_run() -> None:
    sourced = Sourced(side=CannotRead())
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    assert isinstance(sourced.run.failure, UnreadableState)


def test_the_sides_of_both_flows_read_what_was_restored_through_the_store() -> None:
    processing, reconciliation = ProcessingRig(), ReconciliationRig()
    processing.side.close()
    reconciliation.side.close()
    with pytest.raises(UnreadableState, match=f"^log/{SHARD}, "):
        processing.side.restored(corrupt(), (SHARD,))
    reconciliation.side.restored(corrupt(), (SHARD,))
    with pytest.raises(UnreadableState, match=f"^log/{SHARD}, "):
        reconciliation.side.drain(1)


def test_the_process_ends_with_one_critical_line(caplog: pytest.LogCaptureFixture) -> None:
    running = Running(UnreadableState("log", 3, "pi_a", offset=7, reason="unknown_schema_id: 9999"))
    with caplog.at_level(logging.INFO, logger="paystream.kafka"), pytest.raises(UnreadableState):
        running.run()
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert caplog.messages == [
        "flow cannot go on: log/3 at offset 7, key 'pi_a', is no state of this flow: unknown_schema_id: 9999."
        " It is mended by writing the right record over it"
    ]
    assert running.left == 1
