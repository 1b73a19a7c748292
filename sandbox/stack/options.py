"""What a stack is to consist of. Made by the command line and by tests; read by `stack`."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.stack.errors import StackError

__all__ = ["FLOWS", "INFRASTRUCTURE", "Part", "StackOptions"]

_CUT_OFF = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]@[A-Za-z0-9_+/-]{1,64}", re.ASCII)
FLOWS = ("payments", "processing", "reconciliation", "settlement", "postgres")


class Part(enum.StrEnum):
    """What can be started by itself."""

    KAFKA = "kafka"
    POSTGRES = "postgres"
    S3 = "s3"
    CARD_NETWORK = "card-network"
    TOPICS = "topics"
    MIGRATIONS = "migrations"
    FLOWS = "flows"
    INGRESS = "ingress"


EVERYTHING = frozenset(Part)
INFRASTRUCTURE = frozenset({Part.KAFKA, Part.POSTGRES, Part.S3})


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """The choices of whoever starts a stack."""

    directory: Path = Path(".paystream")
    parts: frozenset[Part] = EVERYTHING
    brokers: int = 1
    partitions: int = 4
    flow_processes: Mapping[str, int] = field(default_factory=dict)
    """How many processes of each flow; one of each that is not named."""
    ingress_processes: int = 1
    card_network_arguments: tuple[str, ...] = ()
    """Passed to the card network as they are, for example `--latency-ms 20`."""
    settlement_cut_off: str | None = None
    """When the card network's settlement dates end, as HH:MM@ZONE, for its files and for our windows, by both of its
    protocols; None: at midnight in UTC."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of every Paystream process."""
    proxied: bool = False
    """Put a proxy that can be told to fail before Kafka, PostgreSQL and the card network (`sandbox.proxy`)."""
    data: Mapping[str, Path] = field(default_factory=dict)
    """Where a broker, `postgres` or the `card-network` keeps its data, if not in the stack's directory: below this
    folder, which must exist (a small disk, say)."""
    ends_with_parent: bool = False
    """End everything at once when the process that started the stack dies: for `make` and for tests."""

    def __post_init__(self) -> None:
        if self.brokers not in (1, 3):
            raise StackError(f"A stack has 1 broker or 3, not {self.brokers}.")
        if self.partitions < 1 or self.ingress_processes < 0:
            raise StackError("The numbers of partitions and of ingress processes must be at least 1 and 0.")
        if self.settlement_cut_off is not None and not _CUT_OFF.fullmatch(self.settlement_cut_off):
            raise StackError(f"{self.settlement_cut_off} is no cut-off of the form HH:MM@ZONE.")
        unknown = self.flow_processes.keys() - set(FLOWS)
        if unknown:
            raise StackError(f"There is no flow {', '.join(sorted(unknown))}; the flows are {', '.join(FLOWS)}.")

    def processes_of(self, flow: str) -> int:
        """How many processes of a flow to run."""
        return self.flow_processes.get(flow, 1)
