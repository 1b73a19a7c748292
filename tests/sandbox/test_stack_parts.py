"""The real parts of the stack: used, killed one by one, and started again on the same data."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import boto3
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from sandbox.stack import INFRASTRUCTURE, Part
from tests.harness.stack import RunningStack, start_stack, wait_for

SERVES_AGAIN_WITHIN_SECONDS = 15.0


def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    """Each value in a transaction of its own."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(15)
    for value in values:
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.commit_transaction(15)


def read(bootstrap: str, topic: str, *, count: int) -> list[bytes | None]:
    """The first records of a topic of one partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, timeout=30)
    consumer.close()
    return [message.value() for message in messages]


def create_topic(bootstrap: str, topic: str, *, replicas: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})

    def created() -> bool:
        # A cluster that has just started may lose a broker for a moment, and the answer with it.
        with contextlib.suppress(KafkaException):
            admin.create_topics([NewTopic(topic, 1, replicas)])[topic].result(15)
        return topic in admin.list_topics(timeout=15).topics

    wait_for(created, what="the topic", within_seconds=30)


@pytest.fixture(scope="module")
def infrastructure() -> Iterator[RunningStack]:
    with start_stack(parts=INFRASTRUCTURE) as stack:
        yield stack


def test_each_test_can_have_a_database_of_its_own(postgres_uri: str, postgres_database: str) -> None:
    assert postgres_database != postgres_uri
    with psycopg.connect(postgres_database) as connection:
        row = connection.execute("SELECT current_user, current_setting('server_version_num')::int / 10000").fetchone()
    assert row == ("paystream", 18)


def test_kafka_serves_again_after_a_kill(infrastructure: RunningStack) -> None:
    bootstrap = infrastructure.kafka
    create_topic(bootstrap, "killed")
    produce(bootstrap, "killed", b"before")
    began = time.monotonic()
    former = infrastructure.kill("kafka")
    infrastructure.wait_for_restart("kafka", former_pid=former)

    def produces() -> bool:
        with contextlib.suppress(KafkaException):
            produce(bootstrap, "killed", b"after")
            return True
        return False

    wait_for(produces, what="a commit", within_seconds=SERVES_AGAIN_WITHIN_SECONDS)
    assert time.monotonic() - began < SERVES_AGAIN_WITHIN_SECONDS
    assert infrastructure.kafka == bootstrap
    assert read(bootstrap, "killed", count=2) == [b"before", b"after"]


def test_postgres_serves_again_after_a_kill_in_the_middle_of_a_query(infrastructure: RunningStack) -> None:
    uri = infrastructure.postgres
    with psycopg.connect(uri) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS value")
    began = time.monotonic()
    with psycopg.connect(uri) as busy:
        # A server process that computes does not notice that its postmaster has died.
        query = threading.Thread(target=run_long, args=(busy,))
        query.start()
        time.sleep(0.3)
        former = infrastructure.kill("postgres")
        infrastructure.wait_for_restart("postgres", former_pid=former)
        assert wait_for(lambda: kept(uri), what="PostgreSQL", within_seconds=SERVES_AGAIN_WITHIN_SECONDS) == 1
        assert time.monotonic() - began < SERVES_AGAIN_WITHIN_SECONDS
        query.join(5)
        assert not query.is_alive()


def run_long(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.execute("SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 1000) b")


def kept(uri: str) -> int | None:
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(uri, connect_timeout=2) as connection:
        row = connection.execute("SELECT value FROM kept").fetchone()
        return int(row[0]) if row else None
    return None


def test_s3_keeps_objects_through_a_kill_and_never_overwrites(infrastructure: RunningStack) -> None:
    description = infrastructure.description
    client = boto3.client(
        "s3",
        endpoint_url=infrastructure.s3,
        aws_access_key_id=description["s3_access_key"],
        aws_secret_access_key=description["s3_secret_key"],
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )
    client.create_bucket(Bucket="archive", ObjectLockEnabledForBucket=True)
    client.put_object(Bucket="archive", Key="topic/0/0", Body=b"object", IfNoneMatch="*")
    former = infrastructure.kill("s3")
    infrastructure.wait_for_restart("s3", former_pid=former)

    def object_is_there() -> bool:
        try:
            return client.get_object(Bucket="archive", Key="topic/0/0")["Body"].read() == b"object"
        except (BotoCoreError, ClientError):
            return False

    wait_for(object_is_there, what="the object", within_seconds=SERVES_AGAIN_WITHIN_SECONDS)
    with pytest.raises(ClientError) as refusal:
        client.put_object(Bucket="archive", Key="topic/0/0", Body=b"other", IfNoneMatch="*")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    client.close()


def test_nothing_outlives_a_supervisor_that_is_killed_and_the_data_does() -> None:
    with start_stack(parts=INFRASTRUCTURE) as stack:
        create_topic(stack.kafka, "lasting")
        produce(stack.kafka, "lasting", b"1")
        with psycopg.connect(stack.postgres) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 2 AS value")
        stack.supervisor.kill()
        stack.supervisor.wait()
        wait_for(lambda: not stack.processes_left(), what="the end of all children", within_seconds=6)
        # Other ports than before: as on a day when somebody else has taken them.
        (stack.directory / "ports.json").unlink()
        with start_stack(parts=INFRASTRUCTURE, directory=stack.directory) as second:
            assert read(second.kafka, "lasting", count=1) == [b"1"]
            assert kept(second.postgres) == 2


def test_three_brokers_keep_replicated_records_and_start_again_on_other_ports() -> None:
    kafka, three = frozenset({Part.KAFKA}), ("--brokers", "3")
    with start_stack(parts=kafka, arguments=three) as stack:
        assert set(stack.processes) == {"kafka-1", "kafka-2", "kafka-3"}
        create_topic(stack.kafka, "replicated", replicas=3)
        produce(stack.kafka, "replicated", b"record")
        stack.stop()
        (stack.directory / "ports.json").unlink()
        with start_stack(parts=kafka, arguments=three, directory=stack.directory) as second:
            assert second.kafka.count(",") == 2
            assert read(second.kafka, "replicated", count=1) == [b"record"]
