"""What is asked of the read model, and what it answers. Pure values; `judge` carries them, `matching` reads them."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.identifiers import TransactionId
from schemas.settlement import Capture, SettlementLine
from schemas.times import Micros
from sinks.postgres import Asked, Finding
from topology.settling.references import reference_of, settlement_id_of

__all__ = ["Judged", "Question", "about_capture", "about_line"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be asked about the capture, or the first line, that waits under a key.

    `asked.settlement_id` is the line's; None: it is the capture's window that has ended, at `due_at`.
    """

    key: str
    partition: int
    asked: Asked
    due_at: Micros


@dataclass(frozen=True, slots=True)
class Judged:
    """The answer to a question."""

    asked: Asked
    due_at: Micros
    finding: Finding


def about_line(line: SettlementLine) -> Asked:
    """What a line that met no capture is looked up by."""
    return Asked(
        processor=line.processor,
        reference=reference_of(line),
        processor_reference=line.processor_reference,
        settlement_id=settlement_id_of(line),
    )


def about_capture(capture: Capture) -> Asked:
    """What a capture is looked up by whose line has not come in time."""
    return Asked(
        processor=capture.processor,
        reference=TransactionId(capture.transaction_id),
        processor_reference=capture.processor_reference or None,
        settlement_id=None,
    )
