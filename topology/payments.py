"""The payments flow: the fold of everything that is said about a PaymentIntent into its state and its events.

Reads `payments.commands`, `payments.processor-results` and `payments.timers`; writes `payments.events` and, as its
changelog, `payments.intents`, in one transaction per epoch. Answers to commands go to `payments.replies` after the
commit and outside the transaction: a reply is only ever true, and one that is lost costs the client a wait.
Driven by `topology.kafka`; every decision is `topology.domain.decide`.
"""

from __future__ import annotations

from typing import NamedTuple

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import Counter

from schemas.codec import decode, encode
from schemas.commands import CommandReply, PaymentCommand
from schemas.operations import DeadLetter
from schemas.payment import PaymentIntent
from schemas.processing import ProcessorResult, TimerFired
from schemas.topics import COMMANDS, DEAD_LETTERS, EVENTS, INTENTS, PROCESSOR_RESULTS, REPLIES, TIMERS
from topology import kafka
from topology.domain import Decision, Refusal, decide
from topology.kafka import AfterCommit, FlowContext, FlowSpec, Input, NoSide, Output, Produce, Received

__all__ = ["FLOW", "RepliesSide", "Reply", "build"]

FLOW = FlowSpec(name="payments", inputs=(COMMANDS, PROCESSOR_RESULTS, TIMERS), changelog=INTENTS)

DECISIONS = Counter(
    "paystream_decisions_total", "Inputs decided by the fold, by what came of them.", ["input", "result"]
)
REPLIES_LOST = Counter("paystream_replies_lost_total", "Replies that were not delivered; the client waits.")


class Reply(NamedTuple):
    """An answer for an ingress process, to be sent once the epoch has committed."""

    partition: int
    reply: CommandReply


def build(context: FlowContext) -> Dataflow:
    """The flow as a diagram: inputs → payment_intent → log."""
    flow = Dataflow("payments")
    inputs = kafka.inputs(flow, context)
    decided = op.stateful_batch("payment_intent", inputs, lambda _state: PaymentIntentLogic(context))
    kafka.output(flow, decided, context)
    return flow


class PaymentIntentLogic(StatefulBatchLogic[Input, Output, None]):
    """Folds one epoch's inputs of one PaymentIntent; its state rests in the store between epochs."""

    def __init__(self, context: FlowContext) -> None:
        self._store = context.store
        self._clock = context.clock

    def on_batch(self, values: list[Input]) -> tuple[list[Output], bool]:
        """Decide each input in the order of the log."""
        key, partition = values[0].key, values[0].partition
        before = self._load(key)
        intent = before
        outputs: list[Output] = []
        for given in values:
            assert isinstance(given, Received)
            assert isinstance(given.value, PaymentCommand | ProcessorResult | TimerFired)
            if given.value.payment_intent_id != key:
                outputs.append(self._dead_letter(given, "key_mismatch"))
                continue
            decision = decide(intent, given.value)
            _count(given.value, decision)
            if decision.dead_letter is not None:
                outputs.append(self._dead_letter(given, decision.dead_letter))
            for event in decision.events:
                outputs.append(Produce(EVENTS.name, partition, key, encode(event)))
                intent = event.payment_intent
            outputs.extend(AfterCommit(reply) for reply in _replies(given.value, decision, intent))
        if intent is not before and intent is not None:
            self._store.put(key, partition=partition, value=encode(intent))
        return outputs, self.DISCARD

    def snapshot(self) -> None:
        """Bytewax's recovery is off: the changelog is the state."""

    def _load(self, key: str) -> PaymentIntent | None:
        stored = self._store.get(key)
        if stored is None:
            return None
        intent = decode(stored)
        assert isinstance(intent, PaymentIntent)
        return intent

    def _dead_letter(self, given: Received, cause: str) -> Produce:
        letter = DeadLetter(
            topic=given.topic,
            partition=given.partition,
            offset=given.offset,
            key=given.key.encode(),
            value=given.raw,
            cause=cause,
            detail="",
            flow=FLOW.name,
            at=self._clock.now(),
        )
        return Produce(DEAD_LETTERS.name, given.partition, given.key, encode(letter))


def _replies(
    given: PaymentCommand | ProcessorResult | TimerFired, decision: Decision, intent: PaymentIntent | None
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
        )
        replies.append(Reply(given.reply_partition, answer))
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
            replies.append(Reply(reply_to.partition, answer))
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
    DECISIONS.labels(type(given).__name__, result).inc()


class RepliesSide(NoSide):
    """Sends replies once what they tell has committed."""

    def __init__(self, producer: Producer) -> None:
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
