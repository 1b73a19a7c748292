"""`paystream`: the single entry point of every process."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from paystream import clock, merchants, reconcile
from paystream.environment import process_settings as _settings

__all__ = ["main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Card payments as a stream pipeline.")
topics_app = typer.Typer(no_args_is_help=True, help="The Kafka topics.")
settlement_app = typer.Typer(no_args_is_help=True, help="What the processors' settlement files say.")
stack_app = typer.Typer(no_args_is_help=True, help="The local stack: everything on this machine.")
app.add_typer(topics_app, name="topics")
app.add_typer(settlement_app, name="settlement")
app.add_typer(stack_app, name="stack")
app.add_typer(reconcile.app, name="reconcile")
app.add_typer(clock.app, name="clock")
app.add_typer(merchants.app, name="merchants")


class FlowName(StrEnum):
    """The flows."""

    payments = "payments"
    processing = "processing"
    reconciliation = "reconciliation"
    settlement = "settlement"
    postgres = "postgres"


@app.command()
def ingress() -> None:
    """Serve the merchant API."""
    from paystream.processes import run_ingress

    run_ingress(
        _settings("kafka_bootstrap", "postgres_uri", "http_port", "api_keys", "client_secret_key", "public_url")
    )


@app.command()
def flow(name: Annotated[FlowName, typer.Argument(help="Which flow.")]) -> None:
    """Run one process of a flow."""
    from paystream.processes import FLOWS

    run, required = FLOWS[name.value]
    run(_settings("kafka_bootstrap", "http_port", *required))


@app.command()
def migrate() -> None:
    """Bring the read model's schema up to date."""
    from sinks.postgres import MigrationError, ReadModelUnavailable
    from sinks.postgres.migrate import migrate as apply_migrations

    settings = _settings("postgres_uri")
    try:
        applied = apply_migrations(settings["postgres_uri"])
    except (MigrationError, ReadModelUnavailable) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for migration in applied:
        typer.echo(f"applied {migration}")
    if not applied:
        typer.echo("the read model's schema is up to date")


@topics_app.command("create")
def topics_create() -> None:
    """Create the topics that are missing, and report drift of those that are there (exit code 1)."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from schemas.topics import ALL
    from topology.kafka.admin import create_topics, drift

    settings = _settings("kafka_bootstrap")
    admin = AdminClient({"bootstrap.servers": settings["kafka_bootstrap"]})
    shape = {"partitions": settings["partitions"], "replication_factor": settings["replication_factor"]}
    try:
        for topic in create_topics(admin, ALL, **shape):
            typer.echo(f"created {topic}")
        found = drift(admin, ALL, **shape)
    except (KafkaException, TimeoutError) as error:
        typer.echo(f"Kafka at {settings['kafka_bootstrap']}: {error}", err=True)
        raise typer.Exit(1) from None
    for difference in found:
        typer.echo(f"drift: {difference}", err=True)
    if found:
        raise typer.Exit(1)


@topics_app.command("list")
def topics_list() -> None:
    """Show the table of topics."""
    from rich.console import Console
    from rich.table import Table

    from schemas.topics import ALL

    table = Table("topic", "key", "records", "kept")
    for topic in ALL:
        kept = "compacted" if topic.retention_ms is None else f"{topic.retention_ms / 86_400_000:g} days"
        table.add_row(topic.name, topic.key, ", ".join(topic.records), kept)
    Console().print(table)


@settlement_app.command("import")
def settlement_import(
    location: Annotated[str, typer.Argument(metavar="FILE", help="A path, or s3://bucket/key.")],
    form: Annotated[
        str | None, typer.Option("--format", help="csv or nested-json; told by the content otherwise.")
    ] = None,
) -> None:
    """Import a settlement file: all of it, each line once, or nothing (exit code 1)."""
    from paystream.settlement import import_settlement_file

    raise typer.Exit(import_settlement_file(_settings("kafka_bootstrap"), location, form))


Directory = Annotated[Path, typer.Option(help="Where the stack keeps its data.")]


@stack_app.command("up")
def stack_up(
    directory: Directory = Path(".paystream"),
    brokers: Annotated[int, typer.Option(help="Kafka brokers: 1 or 3.")] = 1,
    partitions: Annotated[int, typer.Option(help="Partitions of every topic.")] = 4,
    ingress_processes: Annotated[int, typer.Option(help="Ingress processes.")] = 1,
    flow_processes: Annotated[
        list[str] | None, typer.Option("--flow", help="Processes of a flow, as NAME=COUNT; one of each otherwise.")
    ] = None,
    card_network: Annotated[
        list[str] | None, typer.Option(help="An argument for the simulated card network, such as --latency-ms=20.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="A setting for Paystream's processes, as PAYSTREAM_NAME=VALUE.")
    ] = None,
    settlement_cut_off: Annotated[
        str | None, typer.Option(help="When the card network's settlement dates end, as HH:MM@ZONE.")
    ] = None,
    proxied: Annotated[
        bool, typer.Option(help="Put proxies that can be told to fail before Kafka, PostgreSQL and the card network.")
    ] = False,
    end_with_parent: Annotated[bool, typer.Option(help="End when the process that started this one ends.")] = False,
) -> None:
    """Start everything and stay in the foreground; Ctrl-C stops it."""
    from sandbox.stack import StackError, StackOptions, up

    try:
        counts = {name: int(count) for name, count in (_pair(text) for text in flow_processes or ())}
        options = StackOptions(
            directory=directory,
            brokers=brokers,
            partitions=partitions,
            ingress_processes=ingress_processes,
            flow_processes=counts,
            card_network_arguments=tuple(card_network or ()),
            settlement_cut_off=settlement_cut_off,
            environment=dict(_pair(text) for text in setting or ()),
            proxied=proxied,
            ends_with_parent=end_with_parent,
        )
    except (StackError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(up(options))


@stack_app.command("down")
def stack_down(directory: Directory = Path(".paystream")) -> None:
    """Stop the stack that runs in a directory."""
    from sandbox.stack import down

    raise typer.Exit(down(directory))


@stack_app.command("status")
def stack_status(directory: Directory = Path(".paystream")) -> None:
    """Show what runs in a directory."""
    from sandbox.stack import status

    raise typer.Exit(status(directory))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text} is not of the form NAME=VALUE")
    return name, value


def main() -> None:
    """Run the command line."""
    app()
