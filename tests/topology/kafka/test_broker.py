"""The broker is killed under a running flow and comes back: a stack of its own, to break."""

from __future__ import annotations

import time
from pathlib import Path

from sandbox.stack import Part
from tests.harness.counting import Counting
from tests.harness.stack import start_stack
from topology.kafka.watchdog import EXIT_STATUS


def test_a_flow_outlives_the_kill_of_its_broker_with_every_input_applied_once(tmp_path: Path) -> None:
    with start_stack(parts=frozenset({Part.KAFKA})) as stack, Counting(stack.kafka, tmp_path) as flow:
        # As its supervisor does: a process that a lost call has stuck ends itself, and is started again.
        member = flow.start()
        with flow.feeding(100):
            flow.wait_for_more(50)
            former_pid = stack.kill("kafka")
            stack.wait_for_restart("kafka", former_pid=former_pid)
            before, deadline = flow.counted_count, time.monotonic() + 60.0
            while flow.counted_count < before + 300:
                assert time.monotonic() < deadline, member.output
                flow.read()
                if member.process.poll() is not None:
                    assert member.process.returncode == EXIT_STATUS, member.output
                    member = flow.start()
        flow.check()
        member.stop()
        flow.check_at_rest()
