"""The formats that are known, and which one a file is of."""

from __future__ import annotations

from collections.abc import Mapping

from topology.settlement_files.csv_rows import CsvRows
from topology.settlement_files.nested_json import NestedJson
from topology.settlement_files.port import SettlementFormat

__all__ = ["BEGINNING_BYTES", "FORMATS", "format_of"]

BEGINNING_BYTES = 512
"""So much of a file tells its format."""

FORMATS: Mapping[str, SettlementFormat] = {known.name: known for known in (CsvRows(), NestedJson())}


def format_of(beginning: bytes) -> SettlementFormat | None:
    """The format of a file that begins like that; None where none is known."""
    return next((known for known in FORMATS.values() if known.detects(beginning)), None)
