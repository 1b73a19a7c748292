"""Deliberate bugs, by name: the checker is checked by switching them on one at a time.

In this process: `with planted(BUGS[name])`. In a process to be started: `environment(name)` is what it needs beside its
own environment. By hand, a whole stack and its chaos for example:

    python -m tests.chaos.bugs no_fencing python -m tests.chaos.run --seed 1
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos.bugs.calls import CALL_BUGS
from tests.chaos.bugs.fold_and_sink import FOLD_AND_SINK_BUGS
from tests.chaos.bugs.planting import VARIABLE, Bug, Constant, Edit, NoSuchPassage, planted
from tests.chaos.bugs.runtime import RUNTIME_BUGS
from tests.chaos.bugs.settlement import SETTLEMENT_BUGS

__all__ = ["BUGS", "VARIABLE", "Bug", "Constant", "Edit", "NoSuchPassage", "environment", "planted"]

BUGS = {bug.name: bug for bug in (*RUNTIME_BUGS, *CALL_BUGS, *FOLD_AND_SINK_BUGS, *SETTLEMENT_BUGS)}

_SITE = Path(__file__).with_name("site")
_REPOSITORY = Path(__file__).parents[3]


def environment(name: str | None) -> dict[str, str]:
    """What switches a bug on in a Python process and in all that it starts; nothing where no bug is named."""
    if name is None:
        return {}
    path = [str(_SITE), str(_REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {VARIABLE: BUGS[name].name, "PYTHONPATH": os.pathsep.join(path)}
