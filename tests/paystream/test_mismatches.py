"""`paystream reconcile` on what settlement found, as its user meets it, on a read model and a log in memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from msgspec import structs
from typer.testing import Result

from paystream import doubts
from schemas.identifiers import TransactionId
from schemas.settlement import MismatchResolved
from schemas.times import later, to_rfc3339
from schemas.topics import Topic
from sinks.postgres.mismatches import Mismatch
from tests.paystream.operator_world import OperatorWorld
from tests.topology.domain.script import START

UNMATCHED = Mismatch(
    id=TransactionId("tx_" + "5" * 32),
    processor="cardnet",
    processor_reference="cn_9",
    reference="cn_9",
    outcome="missing_here",
    payment_intent_id=None,
    transaction_id=None,
    settlement_date="2026-01-02",
    at=START,
    line_amount_minor=1_999,
    line_currency="usd",
    file_sequence=7,
    line_number=12,
)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> OperatorWorld:
    """A line that means nothing here, and one of the payment, of another amount."""
    world = OperatorWorld()
    world.payment.tell("attempt", "authorization: approved", "capture: approved")
    capture = world.payment.latest("capture")
    less = replace(
        UNMATCHED,
        id=TransactionId("tx_" + "6" * 32),
        outcome="amount",
        reference=capture.id,
        payment_intent_id=world.payment.intent.id,
        transaction_id=capture.id,
        capture_amount_minor=1_000,
        capture_currency="usd",
    )
    world.mismatches = [UNMATCHED, less]
    return world.install(monkeypatch)


def explain(
    world: OperatorWorld, identifier: str = UNMATCHED.id, *options: str, evidence: str = "a refund", by: str = "ada"
) -> Result:
    said = ("--evidence", evidence, "--operator", by, "--wait-seconds", "0.1", "--yes", *options)
    return world.run("reconcile", "resolve", identifier, *said)


def test_the_list_names_them_by_the_id_that_resolve_takes(world: OperatorWorld) -> None:
    shown = world.run("reconcile", "list")
    assert all(one.id in shown.output for one in world.mismatches)
    told = json.loads(world.run("reconcile", "list", "--json", "--resolved").stdout)
    assert [one["id"] for one in told["mismatches"]] == [one.id for one in world.mismatches]
    assert [wanted.with_resolved for wanted in world.wanted] == [False, True]


@pytest.mark.parametrize(("limit", "says_so"), [("2", True), ("3", False)])
def test_a_list_that_may_go_on_says_so(world: OperatorWorld, limit: str, says_so: bool) -> None:
    assert ("the newest 2" in world.run("reconcile", "list", "--limit", limit).output) is says_so


def test_one_that_has_no_payment_is_shown(world: OperatorWorld) -> None:
    shown = world.run("reconcile", "show", UNMATCHED.id)
    assert shown.exit_code == 0, shown.output
    for text in ("missing_here at cardnet", "19.99 usd", "file 7, line 12", "our books: none recorded", "resolved: no"):
        assert text in shown.output
    told = json.loads(world.run("reconcile", "show", UNMATCHED.id, "--json").stdout)
    assert list(told) == ["mismatch"]
    assert (told["mismatch"]["line_amount_minor"], told["mismatch"]["line_currency"]) == (1_999, "usd")


def test_one_of_a_payment_is_shown_with_its_history(world: OperatorWorld) -> None:
    less = world.mismatches[1]
    shown = world.run("reconcile", "show", less.id)
    for event in world.payment.events:
        assert event.type in shown.output
    assert f"our books: 10.00 usd, {less.transaction_id} of payment {world.payment.intent.id}" in shown.output
    told = json.loads(world.run("reconcile", "show", less.id, "--json").stdout)
    assert (told["mismatch"]["id"], told["payment_intent"]["id"]) == (less.id, world.payment.intent.id)


def test_a_word_goes_into_the_log_behind_what_it_is_about(world: OperatorWorld) -> None:
    events = len(world.payment.events)
    for found in list(world.mismatches):
        told = explain(world, found.id)
        assert told.exit_code == 0, told.output
        assert "would count as resolved" in told.output
        assert "is resolved by this very word" in told.output.splitlines()[-1]
    assert [key for key, _said in world.said] == ["unmatched:cn_9", world.payment.intent.id]
    said = world.said[0][1]
    assert (said.settlement_id, said.processor, said.outcome) == (UNMATCHED.id, "cardnet", "missing_here")
    assert (said.actor_id, said.evidence) == ("ada", "a refund")
    assert len(world.payment.events) == events
    assert world.asked == []


def test_who_and_why_is_shown_then(world: OperatorWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    at = later(START, seconds=90_000)
    monkeypatch.setattr(doubts, "_now", lambda: at)
    explain(world, evidence="\x1b[2Ja refund", by="ada")
    shown = world.run("reconcile", "show", UNMATCHED.id).output
    assert f"resolved: {to_rfc3339(at)} by ada" in shown
    assert "evidence: �[2Ja refund" in shown
    told = json.loads(world.run("reconcile", "list", "--json", "--resolved").stdout)["mismatches"][0]
    assert (told["resolved_at"], told["resolved_by"], told["evidence"]) == (to_rfc3339(at), "ada", "\x1b[2Ja refund")


def test_the_same_word_twice_is_one_and_another_is_refused(world: OperatorWorld) -> None:
    explain(world)
    again = explain(world)
    assert again.exit_code == 0
    assert "had been resolved by this very word" in again.output
    other = explain(world, by="grace")
    assert other.exit_code == 1
    assert "refused: already_resolved" in other.output
    assert "by 'ada'" in other.output
    assert len(world.said) == 1


def test_a_line_that_came_after_all_leaves_nothing_to_explain(world: OperatorWorld) -> None:
    world.mismatches = [replace(UNMATCHED, outcome="missing_at_processor", resolved_at=later(START, seconds=60))]
    told = explain(world)
    assert told.exit_code == 1
    assert "by a line that came after all" in told.output
    assert world.said == []


def test_who_is_first_in_the_log_is_told_to_both(world: OperatorWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    write = world.write

    def after_another(bootstrap: str, topic: Topic, records: list[tuple[str, MismatchResolved]]) -> None:
        ((_key, said),) = records
        world.take(structs.replace(said, actor_id="grace"))
        write(bootstrap, topic, records)

    monkeypatch.setattr(doubts, "write", after_another)
    told = explain(world)
    assert told.exit_code == 1
    assert "refused: already_resolved" in told.output
    assert "by 'grace'" in told.output


def test_what_is_no_mismatch_is_not_resolved(world: OperatorWorld) -> None:
    told = explain(world, "tx_" + "0" * 32)
    assert told.exit_code == 1
    assert "knows no payment, Transaction or mismatch of that id" in told.output
    assert explain(world, "order-1").exit_code == 2
    of_a_transaction = explain(world, world.payment.latest("capture").id)
    assert of_a_transaction.exit_code == 2
    assert world.said == []


@pytest.mark.parametrize("options", [("--outcome", "approved"), ("--authorization-state", "gone")])
def test_a_mismatch_has_no_outcome(world: OperatorWorld, options: tuple[str, ...]) -> None:
    told = explain(world, UNMATCHED.id, *options)
    assert told.exit_code == 2
    assert "has no outcome" in told.output
    assert world.said == []


UNUSABLE = [
    ("a card number", "of 4242 4242 4242 4242", "ada", "card number"),
    ("nothing", " ", "ada", "evidence is empty"),
    ("too much", "x" * 2_049, "ada", "evidence is longer"),
    ("a long name", "mail", "a" * 256, "operator is longer"),
]


@pytest.mark.parametrize(("what", "evidence", "by", "says"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_what_cannot_go_on_record_never_reaches_the_log(
    world: OperatorWorld, what: str, evidence: str, by: str, says: str
) -> None:
    told = explain(world, evidence=evidence, by=by)
    assert told.exit_code == 2, what
    assert says in told.output
    assert "4242" not in told.output
    assert world.said == []


def test_a_log_that_does_not_answer_and_a_read_model_behind_leave_it_open(world: OperatorWorld) -> None:
    world.away = "log"
    told = explain(world)
    assert told.exit_code == 3
    assert "The same again does no harm" in told.output
    world.away, world.silent = "", True
    told = explain(world)
    assert told.exit_code == 3
    assert f"show {UNMATCHED.id}" in told.output
    world.silent = False
    assert explain(world).exit_code == 0


@pytest.mark.parametrize(("key", "written"), [("y\n", 1), ("n\n", 0)])
def test_it_is_asked_whether_it_is_meant(
    world: OperatorWorld, monkeypatch: pytest.MonkeyPatch, key: str, written: int
) -> None:
    monkeypatch.setattr(doubts, "_is_somebody_here", lambda: True)
    told = world.run("reconcile", "resolve", UNMATCHED.id, "--evidence", "mail", "--operator", "ada", keys=key)
    assert "would count as resolved" in told.output
    assert len(world.said) == written
    assert told.exit_code == 1 - written
