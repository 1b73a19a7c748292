"""The process that is told to die dies after the commit and before the call, once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.scenarios import crash

_PROGRAM = """
from types import SimpleNamespace
from schemas.processing import CallKind, InFlightCall
from topology.calls.engine import Order
from topology.calls.side import ProcessingConfig, ProcessingSide
from topology.processors.port import Capabilities
call = InFlightCall(transaction_id="tx_1", call=CallKind.authorize, processor="p", in_flight=True, amount_minor=1,
                    currency="usd", sequence=1)
order = Order(payment_intent_id="pi_1", partition=0, asked=call, kind=CallKind.authorize, deadline_seconds=1)
engine = SimpleNamespace(submit=lambda orders: print("called", len(orders)), take=lambda limit: [])
processor = SimpleNamespace(name="p", capabilities=Capabilities())
side = ProcessingSide([processor], ProcessingConfig(), partitions=1, engine=engine)
side.drain(1)
side.committed([order])
"""


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    """What the flow does after a commit, in a process that is prepared as the stack's are."""
    return subprocess.run(
        # The last words are those by which such a process is known.
        [sys.executable, "-c", _PROGRAM, "flow", "processing"],
        env=dict(crash.environment(directory)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_armed_payment_is_committed_and_not_called(tmp_path: Path) -> None:
    crash.arm(tmp_path, "pi_1")
    first = run(tmp_path)
    assert (first.returncode, first.stdout) == (-signal.SIGKILL, "")
    again = run(tmp_path)
    assert (again.returncode, again.stdout) == (0, "called 1\n"), again.stderr


def test_another_payment_is_called(tmp_path: Path) -> None:
    crash.arm(tmp_path, "pi_2")
    assert run(tmp_path).stdout == "called 1\n"
