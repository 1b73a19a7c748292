"""The payments flow, driven without a broker: commands and results in, events, state and replies out."""

from __future__ import annotations

from unittest import mock

import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY

from schemas.codec import encode
from schemas.commands import (
    Authorize,
    CommandReply,
    CreatePaymentIntent,
    PaymentCommand,
    asked_at,
    reply_headers,
)
from schemas.identifiers import CommandId, MerchantId, PaymentIntentId, TransactionId, payment_intent_id
from schemas.operations import Forgotten
from schemas.payment import Actor, ActorType, CaptureMethod, PaymentEvent, PaymentIntent, PaymentIntentStatus
from schemas.processing import CallKind, ClockOffset, Outcome, ProcessorResult, ResultSource, TimerFired
from schemas.times import Micros
from schemas.topics import COMMANDS, DEAD_LETTERS, EVENTS, INTENTS, PROCESSOR_RESULTS, TIMERS, Topic
from tests.harness.driver import FlowDriver
from topology.payments import FLOW, FoldSide, RepliesSide, Reply, build

MERCHANT = MerchantId("mer_a")
INTENT = payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key="k")
ATTEMPT = TransactionId("tx_" + "1" * 32)


def driver() -> FlowDriver:
    return FlowDriver(FLOW, build, side=FoldSide())


def command(body: CreatePaymentIntent | Authorize, *, number: int, intent: PaymentIntentId = INTENT) -> PaymentCommand:
    return PaymentCommand(
        id=CommandId(f"cmd_{number:032x}"),
        payment_intent_id=intent,
        merchant_id=MERCHANT,
        livemode=False,
        at=driver().clock.now(),
        actor=Actor(type=ActorType.key, id="key"),
        reply_partition=2,
        wait=True,
        body=body,
    )


CREATE = command(
    CreatePaymentIntent(
        amount_minor=1999,
        currency="usd",
        capture_method=CaptureMethod.automatic,
        absent_at=driver().clock.now(),
        fingerprint=b"f" * 16,
    ),
    number=1,
)
PAY = command(
    Authorize(transaction_id=ATTEMPT, payment_method="tok_visa", route=("cardnet",), fingerprint=b"g" * 16), number=2
)


def approved(call: CallKind, transaction: TransactionId) -> ProcessorResult:
    return ProcessorResult(
        payment_intent_id=INTENT,
        transaction_id=transaction,
        processor="cardnet",
        call=call,
        outcome=Outcome.approved,
        source=ResultSource.answer,
        at=driver().clock.now(),
        amount_minor=1999,
        currency="usd",
        processor_reference="ref",
    )


APPROVED = approved(CallKind.authorize, ATTEMPT)
FAR_AHEAD = TimerFired(
    payment_intent_id=INTENT, transaction_id=ATTEMPT, name="unanswered_alert", due_at=APPROVED.at, at=Micros(2**62)
)


def replies(flow: FlowDriver) -> list[CommandReply]:
    """What has been handed out to be told since the last call."""
    told = [effect for effect in flow.effects if isinstance(effect, Reply)]
    flow.effects.clear()
    assert {reply.partition for reply in told} <= {2}
    return [reply.reply for reply in told]


def steps(flow: FlowDriver) -> list[tuple[int, str, PaymentIntentStatus]]:
    events: list[PaymentEvent] = flow.read(EVENTS)
    return [(event.sequence, event.type, event.payment_intent.status) for event in events]


def paid_up_to_the_capture(flow: FlowDriver) -> TransactionId:
    flow.pipe(COMMANDS, CREATE)
    flow.pipe(COMMANDS, PAY)
    flow.pipe(PROCESSOR_RESULTS, approved(CallKind.authorize, ATTEMPT))
    capture: TransactionId = flow.state(INTENT).transactions[-1].id
    return capture


def test_a_payment_to_succeeded_with_its_two_replies() -> None:
    flow = driver()
    capture = paid_up_to_the_capture(flow)
    flow.pipe(PROCESSOR_RESULTS, approved(CallKind.capture, capture))
    processing = PaymentIntentStatus.processing
    assert steps(flow) == [
        (1, "payment_intent.created", PaymentIntentStatus.requires_payment_method),
        (2, "transaction.created", processing),
        (3, "transaction.completed", processing),
        (4, "transaction.created", processing),
        (5, "transaction.completed", PaymentIntentStatus.succeeded),
    ]
    created, accepted, left = replies(flow)
    assert (created.command_id, created.sequence, created.refusal) == (CREATE.id, 1, None)
    assert (accepted.command_id, accepted.sequence, accepted.transaction_id) == (PAY.id, 2, ATTEMPT)
    assert (left.command_id, left.sequence, left.left_processing) == (PAY.id, 5, True)
    assert left.payment_intent == flow.state(INTENT)


def test_a_reply_says_in_its_headers_which_of_several_commands_of_one_id_it_answers() -> None:
    flow, again = driver(), replace(PAY, at=Micros(PAY.at + 7))
    capture = paid_up_to_the_capture(flow)
    flow.pipe(COMMANDS, again)
    flow.pipe(PROCESSOR_RESULTS, approved(CallKind.capture, capture))
    producer = mock.Mock(spec_set=["produce", "poll"])
    RepliesSide(producer, forget_after_seconds=600.0).committed(list(flow.effects))
    told = [asked_at(call.kwargs["headers"]) for call in producer.produce.call_args_list]
    assert told == [CREATE.at, PAY.at, again.at, PAY.at]
    assert asked_at(None) is None
    assert reply_headers(None) == []


def test_a_refusal_is_a_reply_and_nothing_else() -> None:
    flow = driver()
    flow.pipe(COMMANDS, CREATE)
    replies(flow)
    steps(flow)
    before = flow.state(INTENT)
    assert isinstance(CREATE.body, CreatePaymentIntent)
    flow.pipe(COMMANDS, command(replace(CREATE.body, fingerprint=b"x" * 16), number=3))
    (refused,) = replies(flow)
    assert (refused.refusal, refused.sequence) == ("idempotency_mismatch", 1)
    assert steps(flow) == []
    assert flow.state(INTENT) == before


def test_another_merchant_hears_nothing_of_an_intent() -> None:
    flow = driver()
    flow.pipe(COMMANDS, CREATE)
    replies(flow)
    flow.pipe(COMMANDS, replace(PAY, merchant_id=MerchantId("mer_b")))
    (refused,) = replies(flow)
    assert (refused.refusal, refused.payment_intent, refused.sequence) == ("unknown_payment_intent", None, 0)


def test_what_did_not_commit_is_not_told_and_happens_once() -> None:
    flow = driver()
    flow.pipe(COMMANDS, CREATE)
    replies(flow)
    flow.pipe(COMMANDS, PAY, lost=True)
    assert replies(flow) == []
    assert len(flow.state(INTENT).transactions) == 0
    flow.pipe(COMMANDS, PAY)
    flow.crash()
    flow.pipe(COMMANDS, PAY)
    assert [reply.replayed for reply in replies(flow)] == [False, True]
    assert [number for number, *_ in steps(flow)] == [1, 2]


def test_the_state_comes_back_from_the_changelog() -> None:
    flow = driver()
    capture = paid_up_to_the_capture(flow)
    flow.crash()
    flow.pipe(PROCESSOR_RESULTS, approved(CallKind.capture, capture))
    assert flow.state(INTENT).status == PaymentIntentStatus.succeeded
    assert flow.read(INTENTS)[-1] == flow.state(INTENT)


def test_many_inputs_of_one_intent_in_one_epoch_are_decided_in_order() -> None:
    flow = driver()
    flow.pipe(COMMANDS, CREATE, PAY, PAY)
    assert [number for number, *_ in steps(flow)] == [1, 2]
    assert [type(record) for record in flow.read(INTENTS)] == [Forgotten, PaymentIntent]


def test_a_result_nobody_asked_for_is_a_dead_letter() -> None:
    def counted() -> float:
        labels = {"flow": "payments", "cause": "unknown_transaction"}
        return REGISTRY.get_sample_value("paystream_dead_letters_total", labels) or 0.0

    before = counted()
    flow = driver()
    flow.pipe(PROCESSOR_RESULTS, approved(CallKind.authorize, ATTEMPT))
    flow.pipe(COMMANDS, CREATE)
    flow.pipe(PROCESSOR_RESULTS, approved(CallKind.authorize, ATTEMPT))
    letters = flow.read(DEAD_LETTERS)
    assert [letter.cause for letter in letters] == ["unknown_payment_intent", "unknown_transaction"]
    assert [(letter.topic, letter.offset, letter.key, letter.flow) for letter in letters] == [
        (PROCESSOR_RESULTS.name, offset, INTENT.encode(), "payments") for offset in (0, 1)
    ]
    assert {letter.value for letter in letters} == {encode(approved(CallKind.authorize, ATTEMPT))}
    assert counted() == before + 1
    assert steps(flow) == [(1, "payment_intent.created", PaymentIntentStatus.requires_payment_method)]


@pytest.mark.parametrize(
    ("topic", "poison", "cause", "field"),
    [
        (COMMANDS, replace(CREATE, at=Micros(2**62)), "invalid_command", "at"),
        (COMMANDS, replace(PAY, at=Micros(PAY.at * 1_000)), "invalid_command", "at"),
        (PROCESSOR_RESULTS, replace(APPROVED, capture_before=Micros(2**62)), "invalid_result", "capture_before"),
        (TIMERS, FAR_AHEAD, "invalid_timer", "at"),
    ],
    ids=["create", "command", "result", "timer"],
)
def test_what_no_correct_writer_says_is_a_dead_letter_and_the_payment_goes_on(
    topic: Topic, poison: PaymentCommand | ProcessorResult | TimerFired, cause: str, field: str
) -> None:
    flow = driver()
    flow.pipe(topic, poison)
    flow.pipe(COMMANDS, CREATE, PAY)
    before = flow.state(INTENT)
    replies(flow)
    flow.pipe(topic, poison)
    assert [(letter.cause, letter.detail, letter.value) for letter in flow.read(DEAD_LETTERS)] == [
        (cause, field, encode(poison))
    ] * 2
    assert flow.state(INTENT) == before
    assert replies(flow) == [], "nobody asked that"
    flow.pipe(PROCESSOR_RESULTS, APPROVED)
    assert flow.state(INTENT).sequence == 4


def test_an_advance_of_the_test_clock_is_about_no_payment() -> None:
    flow = FlowDriver(FLOW, build, side=FoldSide())
    offset = ClockOffset(offset_micros=86_400_000_000, actor_id="ada", at=Micros(1_790_000_000_000_000))
    for shard in range(4):
        flow.pipe_to(TIMERS, shard, offset)
    assert {topic: written for topic, written in flow.log.items() if written} == {}
    assert len(flow.store) == 0
    assert flow.effects == []
