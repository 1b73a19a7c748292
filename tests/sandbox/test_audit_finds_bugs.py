"""Bugs that take silence for an answer are found by the audit, at the real card network, which got nothing to book.

The payments are those of the chaos suite's shop; of a lost request there is nothing in the network's books, and so the
failure alone has to show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from sandbox.audit import Booked, BrokenPromise, Promise, audit, by_payment, doubted_in
from tests.chaos.banks import HttpBank
from tests.chaos.bugs import BUGS, planted
from tests.chaos.shop import Shop
from tests.sandbox.card_network.network_process import NetworkProcess


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with NetworkProcess(tmp_path_factory.mktemp("network") / "ledger.db") as network:
        yield network


def audited(network: NetworkProcess) -> Sequence[BrokenPromise]:
    """What is found of a payment whose request is lost, and which is looked up for days."""
    with Shop(HttpBank(network, deduplicates=True), deadline_seconds=0.5) as shop:
        created = shop.create()
        assert created.answer is not None
        intent = str(created.answer["id"])
        shop.pay(intent, "tok_timeoutNeverArrived", wait=0)
        shop.heal()
        events = shop.logged()
    bookings = by_payment(msgspec.convert(network.ledger(), list[Booked])).get(intent, ())
    state = events[-1].payment_intent
    return list(audit(state, bookings, now=datetime.now(UTC), doubted=doubted_in(events)))


@pytest.mark.parametrize("bug", ["not_found_believed", "time_out_taken_for_decline"])
def test_a_bug_that_takes_silence_for_an_answer_is_found(bug: str, network: NetworkProcess) -> None:
    assert audited(network) == []
    with planted(BUGS[bug]):
        assert {one.promise for one in audited(network)} == {Promise.failed_without_evidence}
