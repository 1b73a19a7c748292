"""The adapter to a card processor that speaks ISO 8583:1987 over TCP (docs/iso8583.md).

`spec`, `masking` and `frames` are the wire; `numbers`, `currencies`, `messages` and `answers` are pure and say what a
call becomes and what its answer means; `matching`, `link` and `pool` carry messages; `processor` is the port's side.
"""

from __future__ import annotations

from topology.processors.iso8583.messages import Acquirer
from topology.processors.iso8583.numbers import SHARDS_MAX
from topology.processors.iso8583.processor import Iso8583Config, Iso8583Processor

__all__ = ["SHARDS_MAX", "Acquirer", "Iso8583Config", "Iso8583Processor"]
