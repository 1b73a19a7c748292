"""Whether anybody was refused: a pure function of what clients heard.

A merchant that asks for what may be asked hears of success, or of a refusal that has a reason in its payment (409).
Where an outcome takes longer than the client waits, the API says 202. Everything else refuses, a 503 too, unless the
API's own time had run out by then: that is its word for a machine which was too slow, and no matter of the upgrade.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from tests.chaos.history import Operation

__all__ = ["heard", "refusals", "without_flaws_of_base"]

_NO_REFUSAL = frozenset({200, 201, 202, 409})
# The shortest time after which the API may say that the read model is behind: that of a look-up before a create.
_TIME_RAN_OUT_SECONDS = 2.0

# Of a repeat, the ingress of BASE may say that it was none: where it shares its partition of replies with another
# process, and where it answers from the read model because it is about to end. Goes once BASE is a version without.
_FLAWS_OF_BASE = re.compile(r"key: \S+ under \S+ was done for the first time \d+ times")


def without_flaws_of_base(findings: Iterable[str]) -> list[str]:
    """The findings for which the upgrade is to blame, and not the old version by itself."""
    return [finding for finding in findings if not _FLAWS_OF_BASE.fullmatch(finding)]


def refusals(history: Iterable[Operation]) -> list[str]:
    """Every answer that refused a client for no reason of its own, as a sentence."""
    return [
        f"refused: {one.client} heard {one.status} {_code(one)} of {one.method} {one.path} after {_seconds(one):.2f} s"
        for one in history
        if one.status is not None and one.status not in _NO_REFUSAL and not _ran_out_of_time(one)
    ]


def heard(history: Iterable[Operation]) -> Counter[str]:
    """How many heard what: the status, or `silence`."""
    return Counter("silence" if one.status is None else str(one.status) for one in history)


def _ran_out_of_time(one: Operation) -> bool:
    return one.status == 503 and _seconds(one) >= _TIME_RAN_OUT_SECONDS


def _seconds(one: Operation) -> float:
    assert one.heard_at is not None, "an answer has a time"
    return one.heard_at - one.asked_at


def _code(one: Operation) -> str:
    return str((one.answer or {}).get("code", "without a code"))
