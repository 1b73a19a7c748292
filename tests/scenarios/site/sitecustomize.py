"""Prepares each process of the processing flow that has this folder on its PYTHONPATH for `tests.scenarios.crash`.

Python imports it at the start. Whatever other `sitecustomize` the environment has is hidden by this one, so it is run
as well.
"""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

_VARIABLE = "PAYSTREAM_TEST_CRASH_DIRECTORY"


def _run_hidden() -> None:
    here = Path(__file__).parent
    hidden = PathFinder.find_spec("sitecustomize", [path for path in sys.path if Path(path) != here])
    if hidden is not None and hidden.loader is not None:
        hidden.loader.exec_module(importlib.util.module_from_spec(hidden))


_run_hidden()
if _VARIABLE in os.environ and sys.orig_argv[-2:] == ["flow", "processing"]:
    from tests.scenarios.crash import crash_where_armed

    crash_where_armed(Path(os.environ[_VARIABLE]))
