"""Bugs of the exactly-once runtime, each with a schedule in which it does harm: real processes, real Kafka.

Each schedule is run twice, side by side with others. Without a bug nothing is found; with its bug the counts show
what the bug does.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Producer

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId
from schemas.processing import InFlight
from tests.chaos.counted import Counted, findings
from tests.harness.counting import Member
from tests.harness.counting_flow import KAFKA_SETTINGS, TICK, changelog_topic
from tests.harness.faulty_flow import Fault, Step
from tests.harness.stack import wait_for

Schedule = Callable[[Counted], None]

# They mostly wait. More at once would all start their processes at the same time, and a commit that takes some seconds
# ends its process.
_AT_ONCE = 6

_QUEUE_KB_MAX = 1
_RESTORES_WITHIN_SECONDS = 8.0
_PAUSED = Fault(step=Step.before_begin, transaction=2, number=signal.SIGSTOP)


def dies_before_its_events(flow: Counted) -> None:
    """A process dies before it produces the first message of its second transaction."""
    flow.send_to(flow.keys_of(0)[0])
    dying = flow.start(fault=str(Fault(step=Step.before_produce, transaction=2)))
    flow.wait_until(lambda: dying.shards is not None, what="the first process")
    # Without a bug the first input is the first transaction, whole; the second input is then the second.
    wait_for(lambda: flow.committed().get(0) or None, what="the first commit", within_seconds=60.0)
    flow.send_to(flow.keys_of(0)[0])
    assert dying.wait(60.0) == -signal.SIGKILL
    flow.start()
    flow.come_to_rest()


def wakes_with_an_answer(flow: Counted) -> None:
    """A member stands still right before an epoch in which no input moved, and goes on once it has been replaced."""
    key = flow.keys_of(0)[0]
    paused = flow.start("0", fault=str(_PAUSED))
    flow.send_to(key)
    flow.wait_for_more(1)
    paused.signal(signal.SIGUSR1)
    paused.wait_until_paused()
    _is_replaced(flow, paused, by="1", key=key)
    _goes_on(paused)
    flow.come_to_rest()


def gives_shards_away(flow: Counted) -> None:
    """A member has to share with another, and then has something of its own to commit."""
    # The first that is known to the first member, so that its tick is for a key that is another's by then.
    flow.send_to(flow.keys_of(3)[0])
    giver = flow.start("0")
    flow.wait_for_more(1)
    taker = flow.start("1")
    flow.wait_until(lambda: taker.shards == (2, 3), what="a share")
    flow.send_to(*(flow.keys_of(partition)[0] for partition in (3, 0)))
    key = flow.keys_of(3)[0]
    flow.wait_until(lambda: len(flow.counted[key]) == 2, what="the output of the second")
    giver.signal(signal.SIGUSR1)
    flow.wait_until(lambda: TICK in _names(flow), what="the tick")
    for member in (giver, taker):
        member.kill()
    # Both names at once, so that no share changes any more: with the bug, nobody would take what it was given later.
    flow.start("0")
    flow.start("1")
    flow.come_to_rest()


def has_a_twin(flow: Counted) -> None:
    """A process stands still before a commit, another starts under its name, and then it goes on."""
    key = flow.keys_of(0)[0]
    paused = flow.start("0", fault=str(_PAUSED))
    flow.send_to(key)
    flow.wait_for_more(1)
    flow.send_to(key)
    paused.wait_until_paused()
    _is_replaced(flow, paused, by="0", key=key)
    _goes_on(paused)
    paused.kill()
    flow.come_to_rest()


def stops_after_a_batch_of_many_keys(flow: Counted) -> None:
    """One epoch has inputs of many keys, up and down, so that in one of the two its last key is not its last input."""
    for partition in range(flow.partitions):
        keys = flow.keys_of(partition)
        down = keys[::-1]
        flow.send_to(*(keys + down if partition % 2 else down + keys))
    member = flow.start()
    flow.wait_until(lambda: flow.counted_count >= flow.sent_count, what="the whole batch")
    member.stop()
    flow.start()
    flow.come_to_rest()


def restarts_behind_an_open_transaction(flow: Counted) -> None:
    """A dead owner left a transaction open in the changelog and others commit behind it; it ends after a restart."""
    member = flow.start()
    flow.send(10)
    flow.wait_until(lambda: flow.counted_count >= flow.sent_count, what="the first outputs")
    dead = Producer({"bootstrap.servers": flow.bootstrap, "transactional.id": f"{flow.prefix}-dead"})
    dead.init_transactions(30.0)
    dead.begin_transaction()
    state = encode(InFlight(payment_intent_id=PaymentIntentId("pi_dead"), sequence=1, calls=()))
    for partition in range(flow.partitions):
        dead.produce(changelog_topic(flow.prefix).name, key="pi_dead", value=state, partition=partition)
    assert dead.flush(30.0) == 0
    flow.send(50)
    flow.wait_until(lambda: flow.counted_count >= flow.sent_count, what="the outputs behind it")
    member.stop()
    successor = flow.start()
    flow.wait_until(lambda: successor.shards is not None, what="the successor's shards")
    # A restore that waits for the dead one, as it should, does so for all of this time.
    until = time.monotonic() + _RESTORES_WITHIN_SECONDS
    while "restored" not in successor.output and time.monotonic() < until:
        time.sleep(0.05)
    dead.abort_transaction(30.0)
    dead.close()
    flow.send(50)
    flow.come_to_rest()


def has_a_small_queue(flow: Counted) -> None:
    """An epoch, which is one fetch of one partition at least, has more messages than the producer's queue holds."""
    flow.environment[KAFKA_SETTINGS] = json.dumps({"queue.buffering.max.kbytes": _QUEUE_KB_MAX})
    flow.send_to(*(key for key in flow.keys_of(0)[:3] for _ in range(10)))
    flow.start()
    # What ends it comes in an epoch of its own.
    flow.wait_until(lambda: flow.counted_count > 0, what="its outputs, or some of them")
    flow.come_to_rest()


def _is_replaced(flow: Counted, paused: Member, *, by: str, key: str) -> Member:
    """Another takes over from a paused member, and counts on."""
    successor = flow.start(by)
    flow.wait_until(lambda: successor.shards == (0, 1, 2, 3), what="the takeover", within_seconds=60.0)
    flow.send_to(key)
    flow.wait_until(lambda: flow.sent[key][-1] in (name for _, name in flow.counted[key]), what="the next output")
    return successor


def _goes_on(paused: Member) -> None:
    """Continue a paused member, and wait until it has found out that its run is over: its commit lies before that."""
    before = len(paused.output)
    paused.signal(signal.SIGCONT)
    ends = ("run ended", "fenced by its own name", "holds shards")
    wait_for(
        lambda: any(end in paused.output[before:] for end in ends),
        what="the end of the paused member's run",
        within_seconds=60.0,
    )


def _names(flow: Counted) -> set[str]:
    return {name for outputs in flow.counted.values() for _number, name in outputs}


SCHEDULES: dict[str, tuple[Schedule, str]] = {
    "offsets_before_events": (dies_before_its_events, "lost: "),
    "only_changed_offsets": (wakes_with_an_answer, "numbers: "),
    "metadata_at_commit": (gives_shards_away, "numbers: "),
    "no_fencing": (has_a_twin, "twice: "),
    "last_offset": (stops_after_a_batch_of_many_keys, "twice: "),
    "restore_to_committed_end": (restarts_behind_an_open_transaction, "numbers: "),
    "produce_errors_ignored": (has_a_small_queue, "lost: "),
}
"""By bug: the schedule in which it shows, and what is then found."""


@pytest.fixture(scope="module")
def found(
    kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, bool], Future[list[str]]]]:
    """What every schedule found, without and with its bug; several run at once, because mostly they wait."""
    directory: Path = tmp_path_factory.mktemp("bugs")

    def run(schedule: Schedule, bug: str | None) -> list[str]:
        with Counted(kafka_bootstrap, directory, bug=bug) as flow:
            schedule(flow)
            return flow.findings()

    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="schedule") as pool:
        yield {
            (bug, planted): pool.submit(run, schedule, bug if planted else None)
            for bug, (schedule, _finding) in SCHEDULES.items()
            for planted in (False, True)
        }


@pytest.mark.parametrize("bug", SCHEDULES)
def test_a_schedule_passes_without_its_bug(bug: str, found: dict[tuple[str, bool], Future[list[str]]]) -> None:
    assert found[bug, False].result() == []


@pytest.mark.parametrize("bug", SCHEDULES)
def test_a_bug_of_the_runtime_is_found(bug: str, found: dict[tuple[str, bool], Future[list[str]]]) -> None:
    _schedule, finding = SCHEDULES[bug]
    all_found = found[bug, True].result()
    assert any(one.startswith(finding) for one in all_found), all_found


@pytest.mark.parametrize(
    ("outputs", "state", "finding"),
    [
        ([(1, "a"), (2, "b")], 2, None),
        ([(1, "a"), (2, "tick"), (3, "b")], 3, None),
        ([(1, "b")], 1, "lost: k has no output for ['a']"),
        ([(1, "a"), (2, "b"), (3, "a")], 3, "twice: k has several outputs for ['a']"),
        ([(1, "b"), (2, "a")], 2, "order: k has ['b', 'a'], was given ['a', 'b']"),
        ([(1, "a"), (1, "b")], 1, "numbers: k has [1, 1]"),
        ([(1, "a"), (2, "b")], 1, "state: k is 1 after 2 outputs"),
    ],
)
def test_what_is_wrong_with_counts_is_found(outputs: list[tuple[int, str]], state: int, finding: str | None) -> None:
    all_found = list(findings({"k": ["a", "b"]}, {"k": outputs}, {"k": state}))
    assert all_found == [] if finding is None else finding in all_found
