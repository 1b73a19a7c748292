"""Paystream's own processes, and the card network beside them, as children and tasks of the stack.

They are configured by environment only, exactly as in production. Driven by `stack`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sandbox.stack.layout import Layout
from sandbox.stack.options import FLOWS, Part, StackOptions
from sandbox.stack.probes import http_answers
from sandbox.stack.spec import ChildSpec, StopStage, TaskSpec

__all__ = [
    "ISO8583_ADDRESS",
    "MERCHANT",
    "SETTLEMENT_CUT_OFFS",
    "ServiceProcess",
    "card_network_child",
    "paystream_items",
    "proxy_child",
    "service_processes",
]

MERCHANT = "mer_demo"
ISO8583_ADDRESS = "PAYSTREAM_ISO8583_ADDRESS"
SETTLEMENT_CUT_OFFS = "PAYSTREAM_SETTLEMENT_CUT_OFFS"
# Who is told where the card network speaks ISO 8583: those who call it, and who routes to it.
_ISO8583_USERS = ("ingress", "processing", "reconciliation")
SERVICE_STOP_SECONDS = 10.0
# A flow that restores a large state is not ready before it has read all of it.
SERVICE_READY_WITHIN_SECONDS = 180.0


@dataclass(frozen=True, kw_only=True)
class ServiceProcess:
    """One process of ingress or of a flow."""

    name: str
    arguments: tuple[str, ...]
    instance: int
    part: Part


def service_processes(options: StackOptions) -> list[ServiceProcess]:
    """All processes of Paystream that live as long as the stack; the second of a kind is `ingress-2`, and so on."""
    kinds: list[tuple[str, tuple[str, ...], int, Part]] = []
    if Part.INGRESS in options.parts:
        kinds.append(("ingress", ("ingress",), options.ingress_processes, Part.INGRESS))
    if Part.FLOWS in options.parts:
        kinds.extend((f"flow-{flow}", ("flow", flow), options.processes_of(flow), Part.FLOWS) for flow in FLOWS)
    return [
        _process(name, arguments, instance, part) for name, arguments, count, part in kinds for instance in range(count)
    ]


def _process(name: str, arguments: tuple[str, ...], instance: int, part: Part) -> ServiceProcess:
    suffix = f"-{instance + 1}" if instance else ""
    return ServiceProcess(name=name + suffix, arguments=arguments, instance=instance, part=part)


def card_network_child(options: StackOptions, *, layout: Layout, port: int, iso_port: int) -> ChildSpec:
    """The simulated card network on its ports for HTTP and ISO 8583, with its ledger in the stack's directory."""
    calendar: tuple[str, ...] = ()
    if options.settlement_cut_off is not None:
        cut_off, zone = options.settlement_cut_off.split("@")
        calendar = ("--settlement-cut-off", cut_off, "--settlement-time-zone", zone)
    data = options.data.get("card-network", layout.directory) / "card-network"
    data.mkdir(mode=0o700, exist_ok=True)
    return ChildSpec(
        name="card-network",
        command=(
            *(sys.executable, "-m", "sandbox.card_network", "--host", "127.0.0.1", "--port", str(port)),
            *("--iso-port", str(iso_port)),
            *("--database", str(data / "ledger.sqlite"), *calendar, *options.card_network_arguments),
        ),
        probe=http_answers(f"http://127.0.0.1:{port}/readyz"),
        stop_stage=StopStage.OUTSIDE,
    )


def proxy_child(links: Sequence[tuple[str, int, int]], *, control: int) -> ChildSpec:
    """The proxies, as (name, port, port behind it), and where they take orders."""
    arguments = [f"{name}={port}:{behind}" for name, port, behind in links]
    return ChildSpec(
        name="proxy",
        command=(sys.executable, "-m", "sandbox.proxy", "--control", str(control), *arguments),
        probe=http_answers(f"http://127.0.0.1:{control}/healthz"),
        stop_stage=StopStage.LOG,
    )


def paystream_items(
    options: StackOptions, *, environment: Mapping[str, str], ports: dict[str, int], infrastructure: frozenset[str]
) -> list[ChildSpec | TaskSpec]:
    """Topics, migrations, flows and ingress; `infrastructure` names what they need of the stack's other parts."""
    everything = {**environment, **options.environment}
    shared = {key: value for key, value in everything.items() if key != ISO8583_ADDRESS}
    items: list[ChildSpec | TaskSpec] = []
    if Part.TOPICS in options.parts:
        items.append(_task("topics", ("topics", "create"), shared, infrastructure & kafka_names(infrastructure)))
    if Part.MIGRATIONS in options.parts:
        items.append(_task("migrations", ("migrate",), shared, infrastructure & {"database"}))
    prepared = infrastructure | {item.name for item in items}
    items.extend(
        _child(
            process,
            everything if process.arguments[-1] in _ISO8583_USERS else shared,
            port=ports[process.name],
            after=prepared,
        )
        for process in service_processes(options)
    )
    return items


def kafka_names(names: frozenset[str]) -> frozenset[str]:
    """Those of the names that are brokers."""
    return frozenset(name for name in names if name == "kafka" or name.startswith("kafka-"))


def _task(name: str, arguments: tuple[str, ...], environment: Mapping[str, str], after: frozenset[str]) -> TaskSpec:
    return TaskSpec(name=name, after=after, command=_command(arguments), environment=environment)


def _child(process: ServiceProcess, environment: Mapping[str, str], *, port: int, after: frozenset[str]) -> ChildSpec:
    own = {
        # What a process printed last must be in its log when it is killed.
        "PYTHONUNBUFFERED": "1",
        "PAYSTREAM_INSTANCE": str(process.instance),
        "PAYSTREAM_HTTP_HOST": "127.0.0.1",
        "PAYSTREAM_HTTP_PORT": str(port),
    }
    return ChildSpec(
        name=process.name,
        command=_command(process.arguments),
        environment={**environment, **own},
        probe=http_answers(f"http://127.0.0.1:{port}/readyz"),
        stop_stage=StopStage.SERVICES,
        after=after,
        stop_seconds=SERVICE_STOP_SECONDS,
        ready_within_seconds=SERVICE_READY_WITHIN_SECONDS,
    )


def _command(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return (sys.executable, "-m", "paystream", *arguments)
