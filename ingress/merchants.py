"""What merchant administration has said of each merchant: the topic `merchants`, whole, in memory.

It is read from its start; `ready` once its end was reached, for until then a merchant that was disabled looks like one
that was never spoken of. What is written later is known a moment later. While no broker answers, what is known stays.

Driven by `server`: a thread reads and hands what it reads to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.codec import CodecError, decode
from schemas.identifiers import MerchantId
from schemas.operations import Merchant
from schemas.topics import MERCHANTS

__all__ = ["Directory", "KafkaMerchants"]

_ASK_SECONDS = 2.0
_RETRY_SECONDS = 0.2
_POLL_SECONDS = 0.1
_BATCH_MAX = 500

_logger = logging.getLogger(__name__)

Change = tuple[str, Merchant | None]
"""A key, and the last word about it; None: it was removed."""


class Directory:
    """The merchants that are known."""

    def __init__(self) -> None:
        self._known: dict[str, Merchant] = {}
        self.ready = False

    def find(self, merchant_id: MerchantId) -> Merchant | None:
        """What is on record of a merchant; None where nothing is."""
        return self._known.get(merchant_id)

    def replace(self, known: Mapping[str, Merchant]) -> None:
        """All of them, as of now."""
        self._known = dict(known)
        self.ready = True

    def change(self, changes: list[Change]) -> None:
        """What was written since."""
        _apply(self._known, changes)


class KafkaMerchants(Directory):
    """The consumer of merchants. `on_fatal` is told, in the event loop, when it has failed for good."""

    def __init__(
        self, *, bootstrap: str, client_id: str, on_fatal: Callable[[str], None], topic: str = MERCHANTS.name
    ) -> None:
        super().__init__()
        self._config: dict[str, object] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            # The client insists on a group; nothing is ever committed and no group is joined.
            "group.id": f"{client_id}-merchants-unused",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            # A broker that stands still keeps its connections: by default a request to it would be waited for a minute.
            "socket.timeout.ms": 6_000,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "error_cb": lambda error: _logger.debug("merchants: %s", error),
            "log_level": 2,
        }
        self._topic = topic
        self._on_fatal = on_fatal
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to read; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="merchants", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop reading."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    # What follows runs in the consumer's thread.

    def _run(self) -> None:
        try:
            self._read_again_and_again()
        except Exception as bug:
            _logger.exception("the thread of the merchants has ended")
            self._in_loop(self._on_fatal, f"merchants are no longer read: {type(bug).__name__}")

    def _read_again_and_again(self) -> None:
        consumer = Consumer(self._config)
        try:
            while not self._stopping.is_set():
                try:
                    self._read(consumer)
                except KafkaException as error:
                    _logger.warning("merchants cannot be read: %s", error)
                    self._stopping.wait(_RETRY_SECONDS)
        finally:
            consumer.close()

    def _read(self, consumer: Consumer) -> None:
        """Read from the start until told to stop; raises KafkaException.

        What was known stays until the end is reached: on the way there are merchants as they once were.
        """
        topic = consumer.list_topics(self._topic, timeout=_ASK_SECONDS).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        unread, gathered = set(topic.partitions), dict[str, Merchant]()
        consumer.assign([TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in unread])
        while not self._stopping.is_set():
            message = consumer.poll(_POLL_SECONDS)
            if message is None:
                continue
            messages = [message, *consumer.consume(_BATCH_MAX, 0)]
            changes = [change for one in messages if (change := _change(one)) is not None]
            if not unread:
                self._in_loop(self.change, changes)
                continue
            _apply(gathered, changes)
            unread -= {one.partition() for one in messages if _is_end(one)}
            if not unread:
                self._in_loop(self.replace, gathered)

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)


def _apply(known: dict[str, Merchant], changes: list[Change]) -> None:
    for key, merchant in changes:
        if merchant is None:
            known.pop(key, None)
        else:
            known[key] = merchant


def _is_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


def _change(message: Message) -> Change | None:
    """What a message says; None where it is no word about a merchant. Raises KafkaException."""
    error = message.error()
    if error is not None:
        if error.fatal() or error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._AUTO_OFFSET_RESET):
            raise KafkaException(error)
        if not _is_end(message):
            _logger.warning("merchants: %s", error)
        return None
    key, value = message.key(), message.value()
    text = key.decode(errors="replace") if isinstance(key, bytes) else ""
    if value is None:
        return text, None
    try:
        record = decode(value)
    except CodecError as corrupt:
        _logger.error("offset %s of the merchants is no record: %s", message.offset(), corrupt)  # noqa: TRY400
        return None
    if not isinstance(record, Merchant) or record.id != text:
        _logger.error("offset %s of the merchants is about no merchant of its key", message.offset())
        return None
    return text, record
