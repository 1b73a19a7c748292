"""Puts each long-running process together from its settings, and runs it until SIGTERM or SIGINT.

Each imports what it needs and nothing else: a process that was killed serves again the sooner.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from paystream.settings import Settings, SettingsError
from topology.kafka import FlowSpec, FlowStatus, KafkaConfig, NoSide, Side, StartOffsets, plain_producer, run_flow
from topology.kafka.flow import BuildFlow
from topology.serving import serve_health

if TYPE_CHECKING:
    from topology.processors import Processor
    from topology.settlement import Calendars

__all__ = ["FLOWS", "run_ingress"]

CARD_NETWORK = "cardnet"
ISO8583 = "isonet"
_OBJECTS_BETWEEN_COLLECTIONS = 250_000
# How long the card network promises to remember a key: its contract, not a setting.
_CARD_NETWORK_REMEMBERS_SECONDS = 7 * 86_400.0
# The same of the ISO 8583 host's contract: for how long it knows an advice again, and how long it holds money.
_ISO8583_REMEMBERS_SECONDS = 7 * 86_400.0
_ISO8583_HOLDS_SECONDS = 7 * 86_400
_ISO8583_MERCHANT = "PAYSTREAM"


def run_ingress(settings: Settings) -> None:
    """Serve the merchant API."""
    from ingress.client_secret import ClientSecretKey
    from ingress.server import IngressConfig, serve

    key_id, key = settings["client_secret_key"]
    serve(
        IngressConfig(
            host=settings["http_host"],
            port=settings["http_port"],
            kafka_bootstrap=settings["kafka_bootstrap"],
            postgres_uri=settings["postgres_uri"],
            api_keys={entry.key: entry.merchant_id for entry in settings["api_keys"]},
            client_secret_key=ClientSecretKey(id=key_id, key=key),
            public_url=settings["public_url"],
            instance=settings["instance"],
            route=settings["route"],
            processors=(CARD_NETWORK, ISO8583) if settings["iso8583_address"] else (CARD_NETWORK,),
        )
    )


def run_payments(settings: Settings) -> None:
    """Fold commands, results and timers."""
    from topology import payments

    producer = plain_producer(_kafka(settings), client=f"payments-replies-{settings['instance']}")
    side = payments.RepliesSide(producer, forget_after_seconds=settings["forget_after_seconds"])
    _run(settings, payments.FLOW, payments.build, side=side)


def run_processing(settings: Settings) -> None:
    """Call processors."""
    from topology import processing
    from topology.calls.slots import ProcessorLimits

    limits = ProcessorLimits(
        in_flight_max=settings["calls_in_flight"], deadline_seconds=settings["call_deadline_seconds"]
    )
    side = processing.ProcessingSide(
        _processors(settings),
        processing.ProcessingConfig(default_limits=limits, patient_max=settings["captures_waiting"]),
        partitions=settings["partitions"],
    )
    _run(settings, processing.FLOW, processing.build, side=side)


def run_reconciliation(settings: Settings) -> None:
    """Look up what is in doubt, and let deadlines pass."""
    from topology import reconciliation

    *steps, every = settings["ladder_seconds"]
    side = reconciliation.ReconciliationSide(
        # The ISO 8583 host has no look-up. It may answer on any connection, so one that nobody calls on must not be.
        _processors(settings, iso8583_connections=0),
        reconciliation.ReconciliationTimes(
            ladder_seconds=tuple(steps) or (every,),
            ladder_then_every_seconds=every,
            abandonment_seconds=settings["abandonment_seconds"],
            challenge_seconds=settings["challenge_timeout_seconds"],
            doubt_alert_seconds=settings["doubt_alert_seconds"],
            lookup_deadline_seconds=settings["call_deadline_seconds"],
        ),
        partitions=settings["partitions"],
        test_clock=settings["test_clock"],
    )
    _run(settings, reconciliation.FLOW, reconciliation.build, side=side)


def run_settlement(settings: Settings) -> None:
    """Match captures with settlement lines."""
    from sinks.postgres import SettlementReader
    from topology import settlement

    partitions = settings["partitions"]
    judge = settlement.ReadModelJudge(SettlementReader(settings["postgres_uri"]), partitions=partitions)
    side = settlement.SettlementSide(
        judge, _calendars(settings), partitions=partitions, test_clock=settings["test_clock"]
    )
    _run(settings, settlement.FLOW, settlement.build, side=side)


def run_postgres(settings: Settings) -> None:
    """Project events and settlements into the read model."""
    from sinks.postgres import ReadModelWriter
    from topology import postgres

    projection = postgres.Projection(
        ReadModelWriter(settings["postgres_uri"]), slack_seconds=settings["read_model_slack_seconds"]
    )
    try:
        _run(
            settings,
            postgres.FLOW,
            lambda context: postgres.build(context, projection=projection),
            side=NoSide(),
            start=postgres.ReadModelOffsets(projection),
        )
    finally:
        projection.close()


FLOWS: dict[str, tuple[Callable[[Settings], None], tuple[str, ...]]] = {
    "payments": (run_payments, ()),
    "processing": (run_processing, ("card_network_url", "public_url")),
    "reconciliation": (run_reconciliation, ("card_network_url", "public_url")),
    "settlement": (run_settlement, ("postgres_uri",)),
    "postgres": (run_postgres, ("postgres_uri",)),
}
"""Each flow by name: what runs it, and the settings that it needs besides Kafka's."""


def _processors(settings: Settings, *, iso8583_connections: int | None = None) -> Sequence[Processor]:
    from topology.processors import HttpJsonProcessor, HttpProcessorConfig

    config = HttpProcessorConfig(
        name=CARD_NETWORK,
        base_url=settings["card_network_url"],
        public_url=settings["public_url"],
        deduplication_seconds=_CARD_NETWORK_REMEMBERS_SECONDS,
        connections_max=settings["calls_in_flight"],
    )
    processors: list[Processor] = [HttpJsonProcessor(config)]
    if settings["iso8583_address"]:
        connections = settings["iso8583_connections"] if iso8583_connections is None else iso8583_connections
        processors.append(_iso8583(settings, connections=connections))
    return processors


def _iso8583(settings: Settings, *, connections: int) -> Processor:
    from topology.processors.iso8583 import SHARDS_MAX, Acquirer, Iso8583Config, Iso8583Processor

    if settings["partitions"] > SHARDS_MAX:
        raise SettingsError([f"PAYSTREAM_PARTITIONS: DE 37 of ISO 8583 tells at most {SHARDS_MAX} partitions apart."])
    host, port = settings["iso8583_address"]
    acquirer = Acquirer(
        id=settings["iso8583_acquirer_id"],
        terminal_id=settings["iso8583_terminal_id"],
        merchant_id=_ISO8583_MERCHANT,
        reversal_family=settings["iso8583_reversal_family"],
    )
    return Iso8583Processor(
        Iso8583Config(
            name=ISO8583,
            host=host,
            port=port,
            acquirer=acquirer,
            connections=connections,
            deduplication_seconds=_ISO8583_REMEMBERS_SECONDS,
            longest_hold_seconds=_ISO8583_HOLDS_SECONDS,
            awaiting_max=settings["calls_in_flight"],
        )
    )


def _calendars(settings: Settings) -> Calendars:
    """When each processor settles; one that only has holidays has the cut-off of everybody else."""
    from topology.settlement import Calendar, Calendars

    cut_offs, holidays = settings["settlement_cut_offs"] or {}, settings["settlement_holidays"] or {}
    grace = settings["settlement_grace_days"]
    default = Calendar(grace_business_days=grace)
    by_processor = {}
    for processor in {*cut_offs, *holidays}:
        cut_off, zone = cut_offs.get(processor, (default.cut_off, default.zone))
        by_processor[processor] = Calendar(
            cut_off=cut_off, zone=zone, holidays=holidays.get(processor, frozenset()), grace_business_days=grace
        )
    return Calendars(by_processor=by_processor, default=default)


def _kafka(settings: Settings) -> KafkaConfig:
    return KafkaConfig(bootstrap=settings["kafka_bootstrap"])


def _collect_less() -> None:
    """What a flow makes for an input is freed by its reference count; a search for cycles finds next to nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 10, 10)


def _run(
    settings: Settings, spec: FlowSpec, build: BuildFlow, *, side: Side, start: StartOffsets | None = None
) -> None:
    """Run a flow with its health served beside it. SIGTERM and SIGINT stop it cleanly."""
    asked_to_stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: asked_to_stop.append(received))
    _collect_less()
    status = FlowStatus()
    server = serve_health(
        host=settings["http_host"], port=settings["http_port"], ready=lambda: status.shards is not None
    )
    try:
        run_flow(
            spec,
            build,
            config=_kafka(settings),
            instance=settings["instance"],
            side=side,
            stopping=lambda: bool(asked_to_stop),
            status=status,
            start=start,
        )
    finally:
        server.shutdown()
        server.server_close()
