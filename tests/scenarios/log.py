"""Follows `payments.events` as a committed reader sees them: every event of each payment, as soon as it is there."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Self

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas.codec import decode
from schemas.payment import PaymentEvent
from schemas.topics import EVENTS

__all__ = ["EventLog"]

Events = Sequence[PaymentEvent]


class EventLog:
    """Reads the topic from its beginning, on a thread of its own, until closed."""

    def __init__(self, bootstrap: str, *, partitions: int) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "scenarios-unused",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 20,
            }
        )
        self._consumer.assign([TopicPartition(EVENTS.name, number, 0) for number in range(partitions)])
        self._events: defaultdict[str, list[PaymentEvent]] = defaultdict(list)
        self._came = threading.Condition()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, name="event-log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)
        self._consumer.close()

    def of(self, intent: str) -> Events:
        """What is known of a payment now."""
        with self._came:
            return tuple(self._events[intent])

    def payments(self) -> Sequence[str]:
        """All payments of which anything is in the log."""
        with self._came:
            return [intent for intent, events in self._events.items() if events]

    def wait_until(self, intent: str, holds: Callable[[Events], bool], *, within_seconds: float) -> bool:
        """Wait until this holds of a payment's events; whether it came to hold in time."""
        deadline = time.monotonic() + within_seconds
        with self._came:
            while not holds(self._events[intent]):
                if self._failure is not None:
                    raise RuntimeError("the log is followed no more") from self._failure
                left_seconds = deadline - time.monotonic()
                if left_seconds <= 0:
                    return False
                self._came.wait(min(left_seconds, 1.0))
        return True

    def _follow(self) -> None:
        try:
            while not self._ended.is_set():
                messages = self._consumer.consume(1, 0.2) + self._consumer.consume(1_000, 0)
                events = [_event_of(message) for message in messages]
                with self._came:
                    for event in events:
                        self._events[event.payment_intent.id].append(event)
                    self._came.notify_all()
        except BaseException as error:  # noqa: BLE001 it is told to whoever waits
            self._failure = error


def _event_of(message: Message) -> PaymentEvent:
    if (error := message.error()) is not None:
        raise KafkaException(error)
    event = decode(message.value() or b"")
    assert isinstance(event, PaymentEvent)
    return event
