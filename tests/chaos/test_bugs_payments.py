"""Bugs in the flows, the API and the read model, each with a schedule in which it does harm, judged by the checker.

Each schedule is run twice. Without a bug nothing is found; with its bug the checker finds what the bug does. Card
network and adapter are real where the bug is in how they are called, and in memory where a schedule has to say what
arrives when.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from schemas.partitioner import partition
from schemas.processing import CallKind
from tests.chaos.banks import HttpBank, MemoryBank, wait_until_booked
from tests.chaos.bugs import BUGS, planted
from tests.chaos.shop import FORGET_AFTER_SECONDS, Shop
from tests.ingress.fakes import PARTITIONS
from tests.sandbox.card_network.network_process import NetworkProcess
from tests.topology.processing.rig import DEDUPLICATES

DOES_NOT_DEDUPLICATE = replace(DEDUPLICATES, deduplicates=frozenset({CallKind.capture, CallKind.void}))


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Two card networks, for the whole module."""

    deduplicating: NetworkProcess
    plain: NetworkProcess


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Networks]:
    folder: Path = tmp_path_factory.mktemp("networks")
    with (
        NetworkProcess(folder / "deduplicating.db") as deduplicating,
        NetworkProcess(folder / "plain.db", "--no-authorization-deduplication") as plain,
    ):
        yield Networks(deduplicating=deduplicating, plain=plain)


def opened(shop: Shop, key: str = "order") -> str:
    """The id of a new PaymentIntent."""
    created = shop.create(key)
    assert created.status == 201
    assert created.answer is not None
    return str(created.answer["id"])


def answers_too_late(networks: Networks) -> list[str]:
    """An authorization is approved, and its caller hears nothing before its deadline."""
    bank = HttpBank(networks.plain, deduplicates=False)
    with Shop(bank, deadline_seconds=1.0) as shop:
        shop.pay(opened(shop), "tok_timeoutThenApproved", wait=0)
        shop.settle()
        wait_until_booked(bank)
        shop.heal()
        return shop.findings()


def dies_before_the_answer(bank: HttpBank) -> list[str]:
    """An authorization is approved, and its caller dies before it hears that."""
    with Shop(bank, deadline_seconds=2.0) as shop:
        shop.pay(opened(shop), "tok_timeoutThenApproved", wait=0)
        shop.processing_reads()
        wait_until_booked(bank)
        shop.processing.crash()
        shop.heal()
        return shop.findings()


def pay_in_vain(shop: Shop, bank: MemoryBank) -> None:
    """An authorization is held up on its way; the next ones are not."""
    shop.pay(opened(shop), wait=0)
    shop.settle()
    bank.holds_up = False
    shop.heal()


def arrives_late(_networks: Networks) -> list[str]:
    """A look-up finds nothing of an authorization that is still on its way."""
    bank = MemoryBank(holds_up=True)
    with Shop(bank) as shop:
        pay_in_vain(shop, bank)
        bank.let_arrive()
        shop.heal()
        return shop.findings()


def never_arrives(_networks: Networks) -> list[str]:
    """An authorization was lost on its way, and look-ups find nothing of it: nor does anything else, ever."""
    bank = MemoryBank(holds_up=True)
    with Shop(bank) as shop:
        pay_in_vain(shop, bank)
        return shop.findings()


def dies_before_it_commits(_networks: Networks) -> list[str]:
    """Processing reads what asks for a call, dies before it commits, and comes back when the customer has gone."""
    bank = MemoryBank(DOES_NOT_DEDUPLICATE)
    with Shop(bank) as shop:
        shop.pay(opened(shop), wait=0)
        shop.processing_reads(lost=True)
        bank.take_what_left()
        shop.clock.advance(360.0)
        shop.heal()
        return shop.findings()


def asks_again(_networks: Networks) -> list[str]:
    """A client that heard nothing certain of its create asks again under the same key."""
    with Shop(MemoryBank()) as shop:
        shop.commands.holds = True
        assert shop.create().status == 202
        shop.commands_arrive()
        assert shop.create().status == 201
        return shop.findings()


def dies_before_it_replies(_networks: Networks) -> list[str]:
    """The fold dies before it commits an attempt, and meanwhile a day passes after which it is another's turn."""
    with Shop(MemoryBank()) as shop:
        intent = opened(shop)
        shop.settle()
        shop.commands.loses_epoch = True
        shop.pay(intent)
        shop.commands.loses_epoch = False
        shop.clock.advance(86_500.0)
        shop.timers_fire()
        shop.settle()
        shop.pay(intent, wait=1)
        return shop.findings()


def forgets(shop: Shop, intent: str) -> None:
    """Let the shard forget what is older than now, by the creation of another that lies on it."""
    shop.clock.advance(2 * FORGET_AFTER_SECONDS)
    others = (opened(shop, f"other-{number}") for number in itertools.count())
    next(other for other in others if partition(other, PARTITIONS) == partition(intent, PARTITIONS))


def is_created_late(_networks: Networks) -> list[str]:
    """A create is held up on its way for so long that what it asks for has been made, ended and forgotten since."""
    with Shop(MemoryBank()) as shop:
        shop.commands.holds = True
        assert shop.create().status == 202
        shop.commands.holds = False
        intent = opened(shop)
        assert shop.cancel(intent).status == 200
        forgets(shop, intent)
        shop.commands_arrive()
        return shop.findings()


def is_created_unseen(_networks: Networks) -> list[str]:
    """A create is asked again while the read model is behind, and does not have it yet."""
    with Shop(MemoryBank()) as shop:
        shop.read_model_stands = True
        intent = opened(shop)
        assert shop.cancel(intent).status == 200
        forgets(shop, intent)
        shop.create()
        shop.read_model_stands = False
        shop.settle()
        return shop.findings()


Schedule = Callable[[Networks], list[str]]

SCHEDULES: dict[str, tuple[Schedule, str]] = {
    "blind_retry": (answers_too_late, "held twice: "),
    "time_out_taken_for_decline": (answers_too_late, "hold: "),
    "not_found_believed": (arrives_late, "hold: "),
    "processor_key_dropped": (
        lambda networks: dies_before_the_answer(HttpBank(networks.deduplicating, deduplicates=True)),
        "which has no such transaction",
    ),
    "restored_call_repeated": (
        lambda networks: dies_before_the_answer(HttpBank(networks.plain, deduplicates=False)),
        "held twice: ",
    ),
    "call_before_commit": (dies_before_it_commits, "hold: "),
    "merchant_key_dropped": (asks_again, "key: /paymentIntent under "),
    "reply_before_commit": (dies_before_it_replies, "told: "),
    "forgotten_created_again": (is_created_late, "sequence: "),
    "forgotten_too_early": (is_created_unseen, "sequence: "),
}
"""By bug: the schedule in which it shows, and what is then found."""

HARMLESS: dict[str, tuple[Schedule, str]] = {
    "time_out_taken_for_decline": (never_arrives, "unproved: "),
    "not_found_believed": (never_arrives, "unproved: "),
}
"""By bug: a schedule in which it does no harm, and is found all the same, for what it says it had no evidence for."""


@pytest.mark.parametrize("bug", SCHEDULES)
def test_a_bug_is_found_and_its_schedule_passes_without_it(bug: str, networks: Networks) -> None:
    find(bug, *SCHEDULES[bug], networks)


@pytest.mark.parametrize("bug", HARMLESS)
def test_a_failure_without_evidence_is_found_where_it_happens_to_be_true(bug: str, networks: Networks) -> None:
    find(bug, *HARMLESS[bug], networks)


def find(bug: str, schedule: Schedule, finding: str, networks: Networks) -> None:
    """Run a schedule without the bug, and with it."""
    for planted_bug in (None, BUGS[bug]):
        with planted(planted_bug):
            findings = schedule(networks)
        if planted_bug is None:
            assert findings == []
        else:
            assert any(finding in one for one in findings), findings
