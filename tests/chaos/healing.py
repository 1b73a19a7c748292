"""Waits until a stack that is left alone has healed, and gathers what the checker wants to see.

Healed is what breaks no promise any more. Some promises hold only in the end (that all is decided, that the read model
has come up with the log): for these there is a time. Others, once broken, stay so, and nobody waits for them.
Driven by `run`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import psycopg
from confluent_kafka import KafkaException

from tests.chaos.checker import check
from tests.chaos.collect import collect
from tests.chaos.collect_settlement import Files
from tests.chaos.evidence import Evidence
from tests.harness.stack import RunningStack

__all__ = ["heal"]

_HEALS_WITHIN_SECONDS = 120.0
_LOOK_EVERY_SECONDS = 1.0
_IS_HEALED = """
SELECT (SELECT count(*) FROM settlements) >= %s
   AND NOT EXISTS (SELECT FROM transactions WHERE status IN ('created', 'pending', 'requires_action'))
"""
_MAY_COME_RIGHT = ("undecided:", "read model:", "state:", "hold:", "ledger:", "reversal:", "unsettled:", "unproved:")


def heal(stack: RunningStack, histories: Sequence[Path], files: Files | None = None) -> tuple[Evidence, list[str]]:
    """The evidence, and every promise that is broken in it; raises what kept it from being gathered.

    `files` are the settlement files that were imported: then what they come to is a part of it.
    """
    deadline = time.monotonic() + _HEALS_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if _seems_healed(stack, settlements=0 if files is None else files.outcomes):
            with contextlib.suppress(KafkaException, psycopg.Error, httpx.HTTPError, TimeoutError):
                evidence = collect(stack, histories, files)
                violations = check(evidence)
                if not any(one.startswith(_MAY_COME_RIGHT) for one in violations):
                    return evidence, violations
        time.sleep(_LOOK_EVERY_SECONDS)
    evidence = collect(stack, histories, files)
    return evidence, check(evidence)


def _seems_healed(stack: RunningStack, *, settlements: int) -> bool:
    """Whether ingress serves and the read model has so much settled and nothing under way: cheap to ask."""
    try:
        if httpx.get(f"{stack.ingress}/readyz", timeout=5.0).status_code != 200:
            return False
        with psycopg.connect(stack.postgres, connect_timeout=5) as connection:
            found = connection.execute(_IS_HEALED, (settlements,)).fetchone()
    except (httpx.HTTPError, psycopg.Error):
        return False
    return found == (True,)
