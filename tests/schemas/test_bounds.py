"""What an input of the fold may say: whatever ingress and the processors' adapters can write, and little more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from ingress.asked import cancellation, creation, transaction
from ingress.bodies import parse_create, parse_transaction
from ingress.challenges import _UNKNOWN_MERCHANT
from ingress.health import _NOBODY, _PROBING_MERCHANT
from ingress.keys import Principal
from ingress.problems import Problem
from schemas.bounds import field_out_of_bounds
from schemas.codec import CodecError, decode, encode
from schemas.commands import (
    Authorize,
    CapturePayment,
    CommandBody,
    CreatePaymentIntent,
    PaymentCommand,
    ResolveTransaction,
    ReturnFromChallenge,
)
from schemas.identifiers import CommandId, MerchantId, PaymentIntentId, TransactionId
from schemas.money import CURRENCIES
from schemas.payment import Actor, ActorType, CaptureMethod, Card
from schemas.processing import CallKind, Outcome, ProcessorResult, ResultSource, TimerFired
from schemas.settlement import MismatchResolved
from schemas.times import Micros
from topology.processors.http_answers import HttpAnswer, read_answer

NOW = Micros(1_790_000_000_000_000)
INTENT = PaymentIntentId("pi_" + "a" * 32)
TX = TransactionId("tx_" + "b" * 32)
PRINT = b"f" * 16
MERCHANT = Principal(merchant_id=MerchantId("mer_" + "z" * 64), livemode=True, key_id="key_0123456789abcdef")

CREATE = CreatePaymentIntent(
    amount_minor=1, currency="usd", capture_method=CaptureMethod.manual, absent_at=Micros(0), fingerprint=PRINT
)
AUTHORIZE = Authorize(transaction_id=TX, payment_method="tok_visa", route=("cardnet",), fingerprint=PRINT)
CARD = Card(brand="visa", last4="4242", exp_month=12, exp_year=2030)
RESOLVE = ResolveTransaction(transaction_id=TX, outcome=Outcome.approved, evidence="seen")
RESOLVED = MismatchResolved(
    settlement_id=TX, processor="cardnet", outcome="amount", evidence="seen", actor_id="ada", at=NOW
)


def command(body: CommandBody = CREATE, **said: Any) -> PaymentCommand:
    made = PaymentCommand(
        id=CommandId("cmd_" + "c" * 32),
        payment_intent_id=INTENT,
        merchant_id=MerchantId("mer_a"),
        livemode=False,
        at=NOW,
        actor=Actor(type=ActorType.key, id="key_a"),
        reply_partition=0,
        body=body,
    )
    return replace(made, **said)


def result(**said: Any) -> ProcessorResult:
    made = ProcessorResult(
        payment_intent_id=INTENT,
        transaction_id=TX,
        processor="cardnet",
        call=CallKind.authorize,
        outcome=Outcome.approved,
        source=ResultSource.answer,
        at=NOW,
    )
    return replace(made, **said)


def timer(at: int) -> TimerFired:
    return TimerFired(payment_intent_id=INTENT, name="ladder", due_at=Micros(1), at=Micros(at))


def bodies_at_their_limits() -> list[dict[str, Any]]:
    longest = {f"{number:040d}": "\U0010ffff" * 500 for number in range(50)}
    largest = {"amount": 999_999_999_999, "description": "\U0010ffff" * 1_000, "metadata": longest}
    return [{"amount": 1, "currency": currency} for currency in CURRENCIES] + [{"currency": "usd", **largest}]


@pytest.mark.parametrize("said", bodies_at_their_limits(), ids=lambda said: said["currency"])
def test_whatever_ingress_lets_pass_is_folded(said: dict[str, Any]) -> None:
    body = parse_create(json.dumps(said).encode())
    given = creation(MERCHANT, "key", body).command(at=NOW, reply_partition=3)
    assert decode(encode(given)) == given
    assert field_out_of_bounds(given) is None


@pytest.mark.parametrize(
    "said",
    [
        {"type": "authorization", "payment_method": "tok_" + "A" * 64},
        {"type": "capture", "amount": 999_999_999_999},
        {"type": "capture"},
        {"type": "void"},
    ],
)
def test_and_whatever_it_lets_pass_on_an_intent(said: dict[str, Any]) -> None:
    body = parse_transaction(json.dumps(said).encode())
    asked = transaction(MERCHANT, "key", INTENT, body, route=("cardnet",))
    assert field_out_of_bounds(asked.command(at=NOW, reply_partition=3)) is None
    assert field_out_of_bounds(cancellation(MERCHANT, "key", INTENT).command(at=NOW, reply_partition=3)) is None


@pytest.mark.parametrize("merchant", [_UNKNOWN_MERCHANT, _PROBING_MERCHANT])
@pytest.mark.parametrize("actor", [_NOBODY, Actor(type=ActorType.client, id="browser")])
def test_and_what_it_says_itself(merchant: MerchantId, actor: Actor) -> None:
    given = command(ReturnFromChallenge(), merchant_id=merchant, actor=actor, reply_partition=None)
    assert field_out_of_bounds(given) is None
    assert field_out_of_bounds(replace(given, body=ReturnFromChallenge(transaction_id=TX))) is None


REFUSED_BY_BOTH: list[tuple[str, Any]] = [
    ("amount", 0),
    ("amount", -5),
    ("amount", 1_000_000_000_000),
    ("amount", 2**62),
    ("currency", ""),
    ("currency", "USD"),
    ("currency", "zzz"),
    ("currency", "\0"),
    ("currency", "z" * 300),
    ("description", "a\0b"),
    ("description", "x" * 1_001),
    ("metadata", {str(number): "" for number in range(51)}),
    ("metadata", {"": "v"}),
    ("metadata", {"k" * 41: "v"}),
    ("metadata", {"k": "v" * 501}),
    ("metadata", {"k\0": "v"}),
    ("metadata", {"k": "\0"}),
]


@pytest.mark.parametrize(("name", "value"), REFUSED_BY_BOTH, ids=lambda value: str(value)[:20])
def test_what_ingress_refuses_is_not_folded_either(name: str, value: Any) -> None:
    field = "amount_minor" if name == "amount" else name
    assert field_out_of_bounds(command(replace(CREATE, **{field: value}))) == f"body.{field}"
    with pytest.raises(Problem):
        parse_create(json.dumps({"amount": 1, "currency": "usd", name: value}).encode())


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (command(at=Micros(2**62)), "at"),
        (command(at=Micros(-(2**62))), "at"),
        (command(at=Micros(NOW * 1_000)), "at"),
        (command(at=Micros(NOW // 1_000)), "at"),
        (command(at=Micros(0)), "at"),
        (command(id=CommandId("")), "id"),
        (command(payment_intent_id=PaymentIntentId("pi_" + "A" * 32)), "payment_intent_id"),
        (command(merchant_id=MerchantId("mer_\0")), "merchant_id"),
        (command(actor=Actor(type=ActorType.key, id="k" * 256)), "actor.id"),
        (command(actor=Actor(type=ActorType.key, id="")), "actor.id"),
        (command(reply_partition=-5), "reply_partition"),
        (command(replace(CREATE, absent_at=Micros(2**62))), "body.absent_at"),
        (command(replace(CREATE, fingerprint=b"f" * 65)), "body.fingerprint"),
        (command(replace(AUTHORIZE, transaction_id=TransactionId("tx_"))), "body.transaction_id"),
        (command(replace(AUTHORIZE, fingerprint=b"f" * 65)), "body.fingerprint"),
        (command(replace(AUTHORIZE, payment_method="tok_\0")), "body.payment_method"),
        (command(replace(AUTHORIZE, route=("a",) * 21)), "body.route"),
        (command(replace(AUTHORIZE, route=("",))), "body.route"),
        (command(replace(AUTHORIZE, card=replace(CARD, last4="4242424242424242"))), "body.card"),
        (command(replace(AUTHORIZE, card=replace(CARD, exp_month=13))), "body.card"),
        (command(replace(AUTHORIZE, card=replace(CARD, exp_year=30))), "body.card"),
        (command(CapturePayment(transaction_id=TX, amount_minor=0, fingerprint=PRINT)), "body.amount_minor"),
        (command(ReturnFromChallenge(transaction_id=TransactionId("x"))), "body.transaction_id"),
        (command(replace(RESOLVE, evidence="e" * 2_049)), "body.evidence"),
        (command(replace(RESOLVE, transaction_id=TransactionId("x"))), "body.transaction_id"),
        (result(at=Micros(2**62)), "at"),
        (result(at=Micros(-1)), "at"),
        (result(capture_before=Micros(2**62)), "capture_before"),
        (result(capture_before=Micros(-(2**62))), "capture_before"),
        (result(processor="p" * 2_049), "processor"),
        (result(code="c" * 2_049), "code"),
        (result(decline_code="c" * 2_049), "decline_code"),
        (result(processor_reference="r" * 2_049), "processor_reference"),
        (result(challenge_url="u" * 2_049), "challenge_url"),
        (result(evidence="e" * 2_049), "evidence"),
        (result(actor_id="a" * 2_049), "actor_id"),
        (result(processor_data={str(number): "" for number in range(51)}), "processor_data"),
        (result(processor_data={"k": "v" * 2_049}), "processor_data"),
        (timer(2**62), "at"),
        (timer(-1), "at"),
        (replace(RESOLVED, settlement_id=TransactionId("tx_1")), "settlement_id"),
        (replace(RESOLVED, at=Micros(0)), "at"),
        (replace(RESOLVED, actor_id=""), "actor_id"),
        (replace(RESOLVED, evidence="e" * 2_049), "evidence"),
        (replace(RESOLVED, evidence="\0"), "evidence"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_field_that_makes_no_sense_is_named(given: Any, field: str) -> None:
    assert decode(encode(given)) == given, "it can be decoded"
    assert field_out_of_bounds(given) == field


def test_every_command_makes_sense_with_usual_values() -> None:
    for body in (CREATE, AUTHORIZE, replace(AUTHORIZE, card=CARD), replace(AUTHORIZE, route=()), RESOLVE):
        assert field_out_of_bounds(command(body)) is None
    assert field_out_of_bounds(RESOLVED) is None


def test_clocks_that_are_behind_do_no_harm_to_results_and_timers() -> None:
    assert field_out_of_bounds(result(at=Micros(0))) is None
    assert field_out_of_bounds(timer(0)) is None


def test_evidence_is_kept_that_differs_from_what_was_asked_for() -> None:
    """The fold compares amount and currency with its own, and voids: set aside, the hold would stand."""
    assert field_out_of_bounds(result(amount_minor=2**62, currency="ZZZ")) is None
    assert field_out_of_bounds(result(amount_minor=-5, processor_reference="r\0")) is None


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_whatever_the_adapter_can_read_is_kept(year: str) -> None:
    said = {
        "reference": TX,
        "type": "authorization",
        "status": "approved",
        "processor_reference": "\0" * 255,
        "amount_minor": 0,
        "currency": "zzz",
        "capture_before": f"{year}-12-31T12:00:00Z",
    }
    answer = read_answer(HttpAnswer(200, json.dumps(said).encode()), kind=CallKind.authorize, key=TX)
    assert answer.outcome is Outcome.approved
    assert field_out_of_bounds(result(capture_before=answer.capture_before, currency=answer.currency)) is None
    url = "https://x/" + "u" * 2_038
    challenge = {**said, "status": "challenge", "url": url}
    answer = read_answer(HttpAnswer(200, json.dumps(challenge).encode()), kind=CallKind.authorize, key=TX)
    assert answer.challenge_url == url
    assert field_out_of_bounds(result(challenge_url=url, processor_reference=answer.processor_reference)) is None


def test_text_that_is_no_unicode_is_not_even_decoded() -> None:
    raw = encode(command(replace(CREATE, description="MARK")))
    with pytest.raises(CodecError, match="corrupt"):
        decode(raw.replace(b"MARK", b"\xed\xa0\x80x"))
