"""The topics as they are and as they should be: `paystream topics`.

Creates what is missing and reports drift. The number of partitions is for life: another number is refused, because the
shard of every key would change under its state.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from schemas.topics import Topic

__all__ = ["Drift", "create_topics", "drift"]

_TIMEOUT_SECONDS = 30.0
_VISIBLE_WITHIN_SECONDS = 30.0
_PASSING = (KafkaError._DESTROY_BROKER, KafkaError._TRANSPORT, KafkaError.NOT_CONTROLLER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One way in which a topic is not as the table says. `partitions` cannot be mended."""

    topic: str
    setting: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, expected {self.expected}"


def create_topics(
    admin: AdminClient, topics: Iterable[Topic], *, partitions: int, replication_factor: int
) -> list[str]:
    """Create the missing ones; returns their names once every broker in reach knows them. Raises KafkaException.

    A cluster that has just started may lose a broker for a moment: then it is asked again, for twice does no harm.
    """
    until = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        try:
            return _create(admin, list(topics), partitions=partitions, replication_factor=replication_factor)
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > until:
                raise
            time.sleep(0.2)


def _create(admin: AdminClient, wanted: list[Topic], *, partitions: int, replication_factor: int) -> list[str]:
    known = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
    missing = [topic for topic in wanted if topic.name not in known]
    if not missing:
        return []
    created = admin.create_topics(
        [
            NewTopic(
                topic.name,
                num_partitions=partitions,
                replication_factor=replication_factor,
                config=_config(topic, replication_factor),
            )
            for topic in missing
        ],
        operation_timeout=_TIMEOUT_SECONDS,
    )
    for future in created.values():
        try:
            future.result()
        except KafkaException as error:
            # Another process was first: its topic is checked for drift like any other.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    _wait_until_visible(admin, [topic.name for topic in missing])
    return [topic.name for topic in missing]


def drift(
    admin: AdminClient,
    topics: Iterable[Topic],
    *,
    partitions: int,
    replication_factor: int,
    patience_seconds: float = _VISIBLE_WITHIN_SECONDS,
) -> list[Drift]:
    """How the topics at the brokers differ from the table. Raises KafkaException.

    Whichever broker is asked may not have heard yet of a topic that was just created: for so long it is asked again.
    """
    wanted = list(topics)
    until = time.monotonic() + patience_seconds
    while True:
        is_last = time.monotonic() > until
        try:
            found = _drift(admin, wanted, partitions=partitions, replication_factor=replication_factor)
        except KafkaException as error:
            if is_last or error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        else:
            if is_last or not any(one.setting == "topic" for one in found):
                return found
        time.sleep(0.5)


def _drift(admin: AdminClient, wanted: list[Topic], *, partitions: int, replication_factor: int) -> list[Drift]:
    known = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
    found: list[Drift] = []
    present = [topic for topic in wanted if topic.name in known]
    found += [
        Drift(topic=topic.name, setting="topic", expected="present", found="absent")
        for topic in wanted
        if topic.name not in known
    ]
    for topic in present:
        count = len(known[topic.name].partitions)
        if count != partitions:
            found.append(Drift(topic=topic.name, setting="partitions", expected=str(partitions), found=str(count)))
    resources = {ConfigResource(ResourceType.TOPIC, topic.name): topic for topic in present}
    described = admin.describe_configs(list(resources)) if resources else {}
    for resource, future in described.items():
        values = future.result()
        topic = next(topic for topic in present if topic.name == resource.name)
        for setting, expected in _config(topic, replication_factor).items():
            value = values[setting].value
            if value != expected:
                found.append(Drift(topic=topic.name, setting=setting, expected=expected, found=str(value)))
    return sorted(found, key=lambda d: (d.topic, d.setting))


def _config(topic: Topic, replication_factor: int) -> dict[str, str]:
    in_sync = 2 if replication_factor >= 3 else 1
    return {**topic.config(), "min.insync.replicas": str(in_sync)}


def _wait_until_visible(admin: AdminClient, names: list[str]) -> None:
    until = time.monotonic() + _VISIBLE_WITHIN_SECONDS
    while time.monotonic() < until:
        known = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
        if all(name in known and _has_leaders(known[name]) for name in names):
            return
        time.sleep(0.1)
    raise TimeoutError(f"topics were created and are not served: {', '.join(names)}")


def _has_leaders(topic: object) -> bool:
    partitions = getattr(topic, "partitions", {})
    return bool(partitions) and all(partition.leader >= 0 for partition in partitions.values())
