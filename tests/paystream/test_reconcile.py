"""`paystream reconcile` as its user meets it, on a read model and a log in memory."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from paystream import doubts
from paystream.history import steps
from paystream.resolution import explain
from schemas.commands import ResolveTransaction
from schemas.identifiers import TransactionId
from schemas.payment import ActorType, CaptureMethod, Card, NextAction, PaymentIntent, PaymentIntentStatus
from schemas.processing import AuthorizationState, Outcome
from schemas.times import later
from sinks.postgres.mismatches import Mismatch
from tests.paystream.operator_world import OperatorWorld
from tests.topology.domain.script import START, Payment
from topology.domain import Refusal

CARD_NUMBER = "4242 4242 4242 4242"
DOUBT = ("attempt", "authorization: unknown")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> OperatorWorld:
    """A payment whose authorization is in doubt."""
    return OperatorWorld(Payment(capture=CaptureMethod.manual).tell(*DOUBT)).install(monkeypatch)


def mismatch(outcome: str = "settled_not_captured") -> Mismatch:
    return Mismatch(
        id=TransactionId("tx_" + "5" * 32),
        processor="a",
        processor_reference="cn_9",
        reference="cn_9",
        outcome=outcome,
        payment_intent_id=None,
        transaction_id=None,
        settlement_date="2026-01-02",
        at=START,
    )


def test_the_list_names_what_is_in_doubt(world: OperatorWorld) -> None:
    shown = world.run("reconcile", "list")
    assert shown.exit_code == 0, shown.output
    intent = world.payment.intent
    for text in (intent.id, world.payment.latest("authorization").id, "mer_demo", "10.00 usd", "none recorded"):
        assert text in shown.output


def test_the_list_as_json_and_its_filters(world: OperatorWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "_now", lambda: later(START, seconds=90_000))
    world.mismatches.append(mismatch())
    filters = ("--processor", "a", "--older-than", "1d1h", "--merchant", "mer_demo", "--limit", "7", "--json")
    shown = world.run("reconcile", "list", *filters)
    told = json.loads(shown.stdout)
    assert [one["transaction"] for one in told["transactions"]] == [world.payment.latest("authorization").id]
    assert told["mismatches"][0]["outcome"] == "settled_not_captured"
    assert told["mismatches"][0]["resolved_at"] is None
    (wanted,) = world.wanted
    assert (wanted.processor, wanted.merchant_id, wanted.limit) == ("a", "mer_demo", 7)
    assert wanted.opened_before == START
    assert not wanted.with_resolved
    assert wanted.unanswered_before == later(START, seconds=90_000 - 60)


@pytest.mark.parametrize("option", [("--older-than", "soon"), ("--merchant", "shop"), ("--limit", "0")])
def test_nonsense_is_wrong_usage(world: OperatorWorld, option: tuple[str, str]) -> None:
    assert world.run("reconcile", "list", *option).exit_code == 2


@pytest.mark.parametrize("of", ["payment", "transaction"])
def test_show_tells_the_whole_history(world: OperatorWorld, of: str) -> None:
    world.payment.tell("authorization: lookup not_found")
    intent = world.payment.intent
    identifier = intent.id if of == "payment" else world.payment.latest("authorization").id
    shown = world.run("reconcile", "show", identifier)
    assert shown.exit_code == 0
    for event in world.payment.events:
        assert event.type in shown.output
    assert "status: requires_payment_method → processing" in shown.output
    assert "lookups_not_found: 0 → 1" in shown.output
    assert "key key_1" in shown.output


def test_show_tells_nothing_that_is_secret(world: OperatorWorld) -> None:
    world.payment._intent = replace(
        world.payment.intent, next_action=NextAction(type="redirect_to_url", url="http://127.0.0.1/challenge")
    )
    for arguments in (("--json",), ()):
        shown = world.run("reconcile", "show", world.payment.intent.id, *arguments).output
        assert world.payment.latest("authorization").payment_method == "tok_visa"
        for secret in ("tok_visa", "fingerprint", "client_secret", "reply_to", "http://"):
            assert secret not in shown


def test_texts_of_others_do_nothing_to_the_terminal(world: OperatorWorld) -> None:
    world.mismatches.append(mismatch("\x1b[2J[red]amount[/red]"))
    shown = world.run("reconcile", "list")
    assert "\x1b" not in shown.output
    assert "[red]amount[/red]" in shown.output


def test_what_is_not_there_is_said(world: OperatorWorld) -> None:
    for unknown in ("pi_" + "0" * 32, "tx_" + "0" * 32):
        assert world.run("reconcile", "show", unknown).exit_code == 1
    assert world.run("reconcile", "show", "order-1").exit_code == 2


def test_a_read_model_that_is_away(world: OperatorWorld) -> None:
    world.away = "read model"
    for command in (("list",), ("show", world.payment.intent.id)):
        shown = world.run("reconcile", *command)
        assert shown.exit_code == 3
        assert "geheim" not in shown.output


def test_a_word_goes_through_the_log_as_a_command(world: OperatorWorld) -> None:
    told = world.resolve("authorization", "--outcome", "approved")
    assert told.exit_code == 0, told.output
    assert "goes from processing to requires_capture" in told.output, "what will happen is said before"
    (command,) = world.asked
    assert (command.actor.type, command.actor.id) == (ActorType.operator, "ada")
    assert command.payment_intent_id == world.payment.intent.id
    assert isinstance(command.body, ResolveTransaction)
    assert (command.body.outcome, command.body.evidence) == (Outcome.approved, "their books, by mail")
    assert world.payment.intent.status is PaymentIntentStatus.requires_capture
    assert "payment" in told.output.splitlines()[-1]
    assert "requires_capture" in told.output.splitlines()[-1]


def test_the_history_names_the_person(world: OperatorWorld) -> None:
    world.resolve("authorization", "--outcome", "declined")
    last = list(steps(world.payment.events))[-1]
    assert last.actor == "operator ada"
    assert last.cause == world.asked[0].id
    assert any("pending → declined" in change for change in last.changes)


def test_the_history_says_why(world: OperatorWorld) -> None:
    world.resolve("authorization", "--outcome", "approved", evidence="\x1b[2Jtheir books, by mail")
    identifier = world.payment.intent.id
    shown = world.run("reconcile", "show", identifier).output
    assert "evidence: �[2Jtheir books, by mail" in shown
    told = json.loads(world.run("reconcile", "show", identifier, "--json").stdout)["history"]
    assert told[0]["evidence"] is None
    assert told[-1]["evidence"] == "\x1b[2Jtheir books, by mail"


def test_the_same_word_twice_is_one(world: OperatorWorld) -> None:
    first = world.resolve("authorization", "--outcome", "approved")
    events = len(world.payment.events)
    again = world.resolve("authorization", "--outcome", "approved")
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert "by this very command" in again.output
    assert len(world.payment.events) == events
    assert len({command.id for command in world.asked}) == 1
    other = world.resolve("authorization", "--outcome", "declined")
    assert other.exit_code == 1
    assert "not_in_doubt" in other.output
    assert world.asked[-1].id != world.asked[0].id


def test_what_is_not_in_doubt_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    world = OperatorWorld(Payment().tell("attempt")).install(monkeypatch)
    told = world.resolve("authorization", "--outcome", "approved")
    assert told.exit_code == 1
    assert "would be refused (not_in_doubt)" in told.output
    assert "refused: not_in_doubt. The Transaction has an outcome" in told.output


def test_a_capture_that_failed_says_what_became_of_the_authorization(monkeypatch: pytest.MonkeyPatch) -> None:
    world = OperatorWorld(Payment()).install(monkeypatch)
    world.payment.tell("attempt", "authorization: approved", "capture: unknown")
    told = world.resolve("capture", "--outcome", "declined", "--authorization-state", "gone")
    assert told.exit_code == 0, told.output
    assert isinstance(world.asked[0].body, ResolveTransaction)
    assert world.asked[0].body.authorization_state is AuthorizationState.gone
    assert world.payment.intent.status is PaymentIntentStatus.requires_payment_method


UNUSABLE = [
    ("evidence with a card number", ("--outcome", "approved"), f"cardholder of {CARD_NUMBER} called", "card number"),
    ("no evidence", ("--outcome", "approved"), "  ", "empty"),
    ("too long", ("--outcome", "approved"), "x" * 2_049, "longer"),
    ("a NUL", ("--outcome", "approved"), "a\0b", "NUL"),
    ("a state of an approval", ("--outcome", "approved", "--authorization-state", "gone"), "mail", "state"),
    ("a state of an authorization", ("--outcome", "declined", "--authorization-state", "gone"), "mail", "state"),
    ("unknown outcome", ("--outcome", "unknown"), "mail", "unknown"),
]


@pytest.mark.parametrize(("what", "options", "evidence", "says"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_what_cannot_go_on_record_never_reaches_the_log(
    world: OperatorWorld, what: str, options: tuple[str, ...], evidence: str, says: str
) -> None:
    told = world.resolve("authorization", *options, evidence=evidence)
    assert told.exit_code == 2, what
    assert says in told.output
    assert CARD_NUMBER not in told.output
    assert world.asked == []


def test_silence_is_no_answer(world: OperatorWorld) -> None:
    world.silent = True
    told = world.resolve("authorization", "--outcome", "approved")
    assert told.exit_code == 3
    assert "not known" in told.output
    assert f"show {world.payment.latest('authorization').id}" in told.output


def test_a_log_that_is_away_was_asked_nothing(world: OperatorWorld) -> None:
    world.away = "log"
    told = world.resolve("authorization", "--outcome", "approved")
    assert told.exit_code == 1
    assert "nothing was asked" in told.output


def test_nobody_to_ask_means_no(world: OperatorWorld) -> None:
    identifier = world.payment.latest("authorization").id
    said = ("--outcome", "approved", "--evidence", "mail", "--operator", "ada")
    told = world.run("reconcile", "resolve", identifier, *said)
    assert told.exit_code == 2
    assert world.asked == []


def test_of_a_transaction_an_outcome_is_told(world: OperatorWorld) -> None:
    told = world.resolve("authorization")
    assert told.exit_code == 2
    assert "--outcome approved or declined" in told.output
    assert world.asked == []


@pytest.mark.parametrize(("key", "sent"), [("y\n", 1), ("n\n", 0)])
def test_it_is_asked_whether_it_is_meant(
    world: OperatorWorld, monkeypatch: pytest.MonkeyPatch, key: str, sent: int
) -> None:
    monkeypatch.setattr(doubts, "_is_somebody_here", lambda: True)
    identifier = world.payment.latest("authorization").id
    said = ("--outcome", "approved", "--evidence", "mail", "--operator", "ada")
    told = world.run("reconcile", "resolve", identifier, *said, keys=key)
    assert "goes from processing to requires_capture" in told.output
    assert len(world.asked) == sent
    assert told.exit_code == 1 - sent


def test_of_a_card_only_what_everyone_may_know(world: OperatorWorld) -> None:
    card = Card(brand="visa", last4="4242", exp_month=3, exp_year=2030)
    intent = world.payment.intent
    shown = world.payment.latest("authorization")
    # The fold keeps the card that a command brings; no token brings one yet.
    world.payment._intent = _with_card(world.payment, card)
    told = json.loads(world.run("reconcile", "show", intent.id, "--json").stdout)
    assert told["transactions"][0]["card"] == {"brand": "visa", "last4": "4242", "exp_month": 3, "exp_year": 2030}
    assert "visa …4242 03/2030" in world.run("reconcile", "show", shown.id).output


def _with_card(payment: Payment, card: Card) -> PaymentIntent:
    (authorization,) = payment.intent.transactions
    return replace(payment.intent, transactions=(replace(authorization, card=card),))


def test_every_refusal_of_a_word_is_explained() -> None:
    """Those that the fold gives to a person's word have a sentence of their own."""
    other = explain("anything else")
    for refusal in (Refusal.unknown_transaction, Refusal.not_in_doubt, Refusal.outcome_is_no_evidence):
        assert explain(refusal) != other
