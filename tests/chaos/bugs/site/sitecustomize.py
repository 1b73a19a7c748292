"""Switches on the bug that `PAYSTREAM_TEST_BUG` names, in every Python process that has this folder on its PYTHONPATH.

Python imports it at the start. A bug that cannot be planted ends the process. Whatever other `sitecustomize` the
environment has is hidden by this one, so it is run as well.
"""

import importlib.util
import os
import sys
import traceback
from importlib.machinery import PathFinder
from pathlib import Path

_CANNOT_PLANT = 70


def _plant() -> None:
    from tests.chaos.bugs import BUGS, VARIABLE

    # Never closed: the bug stays for as long as the process lives.
    BUGS[os.environ[VARIABLE]].plant()


def _run_hidden() -> None:
    here = Path(__file__).parent
    hidden = PathFinder.find_spec("sitecustomize", [path for path in sys.path if Path(path) != here])
    if hidden is not None and hidden.loader is not None:
        hidden.loader.exec_module(importlib.util.module_from_spec(hidden))


_run_hidden()
if "PAYSTREAM_TEST_BUG" in os.environ:
    try:
        _plant()
    except BaseException:  # noqa: BLE001
        # Python itself would only mention an exception, and go on.
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(_CANNOT_PLANT)
