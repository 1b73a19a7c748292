"""The payments fold as a Quix Streams application: a peer that `make bench-fold` measures Paystream's flow against.

Reads `payments.commands`, `payments.processor-results` and `payments.timers`; writes `payments.events` and
`payments.replies`, and the state to the changelog that Quix Streams names: all in one transaction per checkpoint, with
the input offsets. Decisions and records are Paystream's own (`topology.domain`, `schemas`), for what is compared is the
framework. Run as `python -m bench.quix.app` by `bench.fold`, in the environment of `requirements.lock`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

from quixstreams import Application, State
from quixstreams.dataframe import StreamingDataFrame
from quixstreams.models.topics.exceptions import TopicNotFoundError
from quixstreams.state.memory import MemoryStore

from schemas.bounds import field_out_of_bounds
from schemas.codec import decode, encode
from schemas.commands import CommandReply, PaymentCommand
from schemas.payment import PaymentIntent
from schemas.processing import ProcessorResult, TimerFired
from schemas.topics import COMMANDS, EVENTS, PROCESSOR_RESULTS, REPLIES, TIMERS, Topic
from topology.domain import Decision, Refusal, decide

__all__ = ["GROUP", "build", "main"]

GROUP = "payments-quix"
"""The consumer group, under which the input offsets are committed."""

# Bytes, because Quix Streams would encode any other key as JSON at each use.
_INTENT = b"intent"
# As Paystream's own clients have them, with the reasons there (`topology.kafka.clients`).
_CONSUMER = {
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 1_000,
    "fetch.wait.max.ms": 50,
    "fetch.error.backoff.ms": 50,
    "fetch.queue.backoff.ms": 10,
    "socket.nagle.disable": True,
}
_PRODUCER = {
    "linger.ms": 5,
    "retry.backoff.ms": 1,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 1_000_000,
    "transaction.timeout.ms": 10_000,
    "socket.nagle.disable": True,
}
# A read waits for a full batch or this long, and everything else waits for it: the checkpoint, and the partitions whose
# next message in the order of time is not known yet.
_POLL_SECONDS = 0.005
_TOPICS_WITHIN_SECONDS = 30.0


class Decided(NamedTuple):
    """What an input came to, encoded: events, and replies as (partition, key, value)."""

    events: list[bytes]
    replies: Sequence[tuple[int, str, bytes]]


class UnexpectedInput(ValueError):
    """An input that Paystream's flow would set aside as a dead letter. The bench has none, so here it ends the run."""


def build(application: Application) -> None:
    """The topology: the inputs as one stream with one state, folded, and the outputs."""
    inputs = reduce(
        StreamingDataFrame.concat, (_read(application, topic) for topic in (COMMANDS, PROCESSOR_RESULTS, TIMERS))
    )
    # In memory, as Paystream and the Kafka Streams peer have it; the default, RocksDB, costs more for each input.
    inputs.register_store(MemoryStore)
    decided = inputs.apply(fold, stateful=True, metadata=True)
    decided = decided.update(_replies_to(inputs.processing_context.producer.produce))
    events = application.topic(EVENTS.name, value_serializer="bytes")
    decided.apply(lambda decision: decision.events, expand=True).to_topic(events)


def fold(value: bytes, key: bytes, _timestamp: int, _headers: object, state: State) -> Decided:
    """Decide an input upon the state of its PaymentIntent, and keep the new one."""
    given = decode(value)
    assert isinstance(given, PaymentCommand | ProcessorResult | TimerFired)
    if given.payment_intent_id.encode() != key:
        raise UnexpectedInput("key_mismatch")
    if (field := field_out_of_bounds(given)) is not None:
        raise UnexpectedInput(field)
    intent = _load(state)
    decision = decide(intent, given, forgotten_up_to=None)
    if decision.dead_letter is not None:
        raise UnexpectedInput(decision.dead_letter)
    if decision.events:
        intent = decision.events[-1].payment_intent
        state.set_bytes(_INTENT, encode(intent))
    replies = [(partition, reply.command_id, encode(reply)) for partition, reply in _replies(given, decision, intent)]
    return Decided([encode(event) for event in decision.events], replies)


def _load(state: State) -> PaymentIntent | None:
    stored = state.get_bytes(_INTENT)
    if stored is None:
        return None
    intent = decode(stored)
    assert isinstance(intent, PaymentIntent)
    return intent


def _replies(
    given: PaymentCommand | ProcessorResult | TimerFired, decision: Decision, intent: PaymentIntent | None
) -> list[tuple[int, CommandReply]]:
    """What Paystream's flow tells: the answer to a command, and the second answers after processing."""
    replies: list[tuple[int, CommandReply]] = []
    if isinstance(given, PaymentCommand) and given.reply_partition is not None:
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
        replies.append((given.reply_partition, answer))
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
            replies.append((reply_to.partition, answer))
    return replies


def _replies_to(produce: Callable[..., None]) -> Callable[[Decided], None]:
    """A step that sends replies where they are awaited: `to_topic` cannot name a partition, its producer can."""

    def send(decided: Decided) -> None:
        for partition, key, value in decided.replies:
            produce(REPLIES.name, key=key, value=value, partition=partition)

    return send


def _read(application: Application, topic: Topic) -> StreamingDataFrame:
    return application.dataframe(application.topic(topic.name, value_deserializer="bytes"))


def main() -> None:
    """Fold until SIGTERM."""
    parser = argparse.ArgumentParser(description="The payments fold in Quix Streams.")
    parser.add_argument("--commit-interval-ms", type=int, default=50)
    arguments = parser.parse_args()
    # Quix Streams makes a directory for state, even where all of it is in memory.
    with tempfile.TemporaryDirectory(prefix="paystream-bench-quix-") as directory:
        _application(arguments.commit_interval_ms / 1000, directory).run()


def _application(commit_seconds: float, directory: str) -> Application:
    """The application with its topology.

    Quix Streams creates the changelog here, and gives up when a broker that is busy with other new topics does not list
    it a second later: then it is asked again.
    """
    given_up_at = time.monotonic() + _TOPICS_WITHIN_SECONDS
    while True:
        application = Application(
            broker_address=os.environ["PAYSTREAM_KAFKA_BOOTSTRAP"],
            consumer_group=GROUP,
            auto_offset_reset="earliest",
            processing_guarantee="exactly-once",
            commit_interval=commit_seconds,
            consumer_poll_timeout=_POLL_SECONDS,
            consumer_extra_config=_CONSUMER,
            producer_extra_config=_PRODUCER,
            state_dir=directory,
            loglevel="WARNING",
        )
        try:
            build(application)
        except TopicNotFoundError:
            if time.monotonic() > given_up_at:
                raise
        else:
            return application


if __name__ == "__main__":
    main()
