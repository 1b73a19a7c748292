"""Whether anybody was refused: a pure function of what clients heard.

A merchant that asks for what may be asked hears of success, or of a refusal that has a reason in its payment (409).
Where an outcome takes longer than the client waits, the API says 202. Everything else refuses. No answer at all does so
too: no process is asked any more by the time that it is told to end, and what was asked before it still answers. A few
503s are passed over, if the API's own time had run out by then: that is its word for a machine which was too slow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from tests.chaos.history import Operation

__all__ = ["heard", "refusals", "without_flaws_of_base"]

_NO_REFUSAL = frozenset({200, 201, 202, 409})
# The shortest times after which the API may say 503 for want of time: of a look-up before a create, and of a command
# that could not be handed to the log. A read has longer.
_CREATE_RAN_OUT_SECONDS = 2.0
_RAN_OUT_SECONDS = 8.0
# More is no hiccup of a machine.
_RAN_OUT_SHARE_MAX = 0.02

# Of a repeat, the ingress of BASE may say that it was none: where it shares its partition of replies with another
# process, and where it answers from the read model because it is about to end. Goes once BASE is a version without.
_FLAWS_OF_BASE = re.compile(r"key: \S+ under \S+ was done for the first time \d+ times")


def without_flaws_of_base(findings: Iterable[str]) -> list[str]:
    """The findings for which the upgrade is to blame, and not the old version by itself."""
    return [finding for finding in findings if not _FLAWS_OF_BASE.fullmatch(finding)]


def refusals(history: Iterable[Operation], *, until: float) -> list[str]:
    """Every refusal of a client for no reason of its own, as a sentence.

    `until`: when clients began to be stopped, less the time for which they wait; later requests may lack an answer.
    """
    operations = list(history)
    found = [
        f"refused: {_who(one)} heard {one.status} {_code(one)} after {_seconds(one):.2f} s"
        for one in operations
        if one.status is not None and one.status not in _NO_REFUSAL and not _ran_out_of_time(one)
    ]
    found += [
        f"silence: {_who(one)} never heard an answer"
        for one in operations
        if one.status is None and one.asked_at < until
    ]
    late = sum(_ran_out_of_time(one) for one in operations)
    if late > _RAN_OUT_SHARE_MAX * len(operations):
        found.append(f"refused: {late} of {len(operations)} heard 503 because time had run out")
    return found


def heard(history: Iterable[Operation]) -> Counter[str]:
    """How many heard what: the status, or `silence`."""
    return Counter("silence" if one.status is None else str(one.status) for one in history)


def _ran_out_of_time(one: Operation) -> bool:
    limit_seconds = _CREATE_RAN_OUT_SECONDS if one.path == "/paymentIntent" else _RAN_OUT_SECONDS
    return one.status == 503 and _seconds(one) >= limit_seconds


def _who(one: Operation) -> str:
    return f"{one.client} with {one.method} {one.path} at {one.asked_at:.1f}"


def _seconds(one: Operation) -> float:
    assert one.heard_at is not None, "an answer has a time"
    return one.heard_at - one.asked_at


def _code(one: Operation) -> str:
    return str((one.answer or {}).get("code", "without a code"))
