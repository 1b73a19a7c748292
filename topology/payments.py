"""The payments flow: the fold of everything that is said about a PaymentIntent into its state and its events.

Reads `payments.commands`, `payments.processor-results` and `payments.timers`; writes `payments.events` and, as its
changelog, `payments.intents`, in one transaction per epoch. Answers to commands go to `payments.replies` after the
commit and outside the transaction: a reply is only ever true, and one that is lost costs the client a wait.
Driven by `topology.kafka`; every decision is `topology.domain.decide`.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from bytewax.dataflow import Dataflow
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import Counter

from schemas.bounds import field_out_of_bounds
from schemas.codec import encode
from schemas.commands import CommandReply, CreatePaymentIntent, PaymentCommand, reply_headers
from schemas.payment import PaymentIntent
from schemas.processing import ClockOffset, ProcessorResult, TimerFired
from schemas.times import Micros
from schemas.topics import COMMANDS, EVENTS, INTENTS, PROCESSOR_RESULTS, REPLIES, TIMERS
from topology import kafka
from topology.domain import Decision, Refusal, decide
from topology.forgetting import Forgetting
from topology.kafka import (
    AfterCommit,
    Clock,
    FlowContext,
    FlowSpec,
    Input,
    NoSide,
    Output,
    Produce,
    Received,
    StateStore,
)
from topology.kafka.dead_letters import dead_letter

__all__ = ["FLOW", "FoldSide", "RepliesSide", "Reply", "build"]

FLOW = FlowSpec(name="payments", inputs=(COMMANDS, PROCESSOR_RESULTS, TIMERS), changelog=INTENTS)

DECISIONS = Counter(
    "paystream_decisions_total", "Inputs decided by the fold, by what came of them.", ["input", "result"]
)
REPLIES_LOST = Counter("paystream_replies_lost_total", "Replies that were not delivered; the client waits.")

_KINDS = (PaymentCommand, ProcessorResult, TimerFired)

# Why what can be decoded, and still was not written by any correct writer, is set aside before it is folded.
_INVALID = {PaymentCommand: "invalid_command", ProcessorResult: "invalid_result", TimerFired: "invalid_timer"}


class Reply(NamedTuple):
    """An answer for an ingress process, to be sent once the epoch has committed.

    `at` is the time of the command that it answers: a request that is repeated makes several under one id.
    """

    partition: int
    reply: CommandReply
    at: Micros | None


def build(context: FlowContext) -> Dataflow:
    """The flow as a diagram: inputs → payment_intent → log."""
    flow = Dataflow("payments")
    inputs = kafka.inputs(flow, context)
    assert isinstance(context.side, FoldSide)
    fold = Fold(context.clock, context.side.forgetting(context))
    decided = kafka.stateful("payment_intent", inputs, context, state=PaymentIntent, decide=fold.decide)
    kafka.output(decided, context)
    return flow


class Fold:
    """Folds what comes in for one PaymentIntent into its state; no decision looks at the clock."""

    def __init__(self, clock: Clock, forgetting: Forgetting) -> None:
        self._clock = clock
        self._forgetting = forgetting

    def decide(
        self, key: str, partition: int, intent: PaymentIntent | None, inputs: list[Input]
    ) -> tuple[PaymentIntent | None, list[Output]]:
        """Decide each input in the order of the log."""
        outputs: list[Output] = []
        before = intent
        for given in inputs:
            assert isinstance(given, Received)
            if isinstance(given.value, ClockOffset):
                # For the flows that wait for time: it is about no payment, and no decision looks at a clock.
                continue
            assert isinstance(given.value, _KINDS)
            if given.value.payment_intent_id != key:
                outputs.append(self._dead_letter(given, "key_mismatch"))
                continue
            if (field := field_out_of_bounds(given.value)) is not None:
                outputs.append(self._dead_letter(given, _INVALID[type(given.value)], detail=field))
                continue
            if isinstance(given.value, PaymentCommand) and isinstance(given.value.body, CreatePaymentIntent):
                self._forgetting.advance(partition, given.value.body.absent_at)
            forgotten_up_to = self._forgetting.up_to(partition)
            decision = decide(intent, given.value, forgotten_up_to=forgotten_up_to)
            _count(given.value, decision)
            if decision.dead_letter is not None:
                outputs.append(self._dead_letter(given, decision.dead_letter))
            for event in decision.events:
                outputs.append(Produce(EVENTS.name, partition, key, encode(event)))
                intent = event.payment_intent
            outputs.extend(AfterCommit(reply) for reply in _replies(given.value, decision, intent, forgotten_up_to))
        if intent is not None and intent is not before:
            self._forgetting.note(key, partition, intent)
        return intent, outputs

    def _dead_letter(self, given: Received, cause: str, *, detail: str = "") -> Produce:
        return dead_letter(given, cause, detail=detail, flow=FLOW.name, at=self._clock.now())


def _replies(
    given: PaymentCommand | ProcessorResult | TimerFired,
    decision: Decision,
    intent: PaymentIntent | None,
    forgotten_up_to: Micros | None,
) -> list[Reply]:
    """What is now to be told: the answer to a command, and the second answers that waited for the end of processing."""
    replies: list[Reply] = []
    if isinstance(given, PaymentCommand) and given.reply_partition is not None:
        # Who asks for another merchant's intent hears that there is none, and nothing about it.
        known = None if decision.refusal is Refusal.unknown_payment_intent else intent
        answer = CommandReply(
            command_id=given.id,
            payment_intent_id=given.payment_intent_id,
            sequence=0 if known is None else known.sequence,
            refusal=decision.refusal,
            payment_intent=known,
            transaction_id=decision.transaction_id,
            replayed=decision.replayed,
            forgotten_up_to=forgotten_up_to if known is None else None,
        )
        replies.append(Reply(given.reply_partition, answer, given.at))
    if intent is not None:
        for reply_to, transaction_id in decision.left_processing:
            answer = CommandReply(
                command_id=reply_to.command_id,
                payment_intent_id=intent.id,
                sequence=intent.sequence,
                payment_intent=intent,
                transaction_id=transaction_id,
                left_processing=True,
            )
            asked_at = next(one.command_at for one in intent.transactions if one.id == transaction_id)
            replies.append(Reply(reply_to.partition, answer, asked_at))
    return replies


def _count(given: PaymentCommand | ProcessorResult | TimerFired, decision: Decision) -> None:
    if decision.refusal is not None:
        result: str = decision.refusal
    elif decision.dead_letter is not None:
        result = decision.dead_letter
    elif decision.replayed:
        result = "replayed"
    else:
        result = decision.events[-1].type if decision.events else "unchanged"
    _decisions(type(given).__name__, result).inc()


@cache
def _decisions(given: str, result: str) -> Counter:
    return DECISIONS.labels(given, result)


class FoldSide(NoSide):
    """What the fold remembers about forgetting, for as long as it holds its shards. Sends no replies."""

    def __init__(self, *, forget_after_seconds: float = 600.0) -> None:
        self._forget_after_seconds = forget_after_seconds
        self._forgetting: Forgetting | None = None

    def restored(self, store: StateStore, shards: tuple[int, ...]) -> None:
        """Other shards, or the same ones as the log has them."""
        self._forgetting = None

    def forgetting(self, context: FlowContext) -> Forgetting:
        """What is forgotten of the shards that are held."""
        if self._forgetting is None:
            self._forgetting = Forgetting(
                context.store,
                partitions=context.partitions,
                clock=context.clock,
                slack_seconds=self._forget_after_seconds,
            )
        return self._forgetting

    def committed(self, effects: list[object]) -> None:
        """Nobody is told."""


class RepliesSide(FoldSide):
    """Sends replies once what they tell has committed."""

    def __init__(self, producer: Producer, *, forget_after_seconds: float) -> None:
        super().__init__(forget_after_seconds=forget_after_seconds)
        self._producer = producer

    def committed(self, effects: list[object]) -> None:
        """Send; a reply that cannot be sent is dropped, for the client asks the read model in the end."""
        for effect in effects:
            assert isinstance(effect, Reply)
            try:
                self._producer.produce(
                    REPLIES.name,
                    key=effect.reply.command_id,
                    value=encode(effect.reply),
                    partition=effect.partition,
                    headers=reply_headers(effect.at),
                    on_delivery=_delivered,
                )
            except (BufferError, KafkaException):
                REPLIES_LOST.inc()
        self._producer.poll(0)

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        """Nothing comes; serves the producer's delivery reports."""
        self._producer.poll(0)
        return []


def _delivered(error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        REPLIES_LOST.inc()
