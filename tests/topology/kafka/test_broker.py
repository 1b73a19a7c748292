"""The broker is killed under a running flow and comes back: a stack of its own, to break."""

from __future__ import annotations

from pathlib import Path

from sandbox.stack import Part
from tests.harness.counting import Counting
from tests.harness.stack import start_stack


def test_a_flow_outlives_the_kill_of_its_broker_with_every_input_applied_once(tmp_path: Path) -> None:
    with start_stack(parts=frozenset({Part.KAFKA})) as stack, Counting(stack.kafka, tmp_path) as flow:
        # As its supervisor does, `flow` starts it again when a lost call has stuck it and it has ended itself.
        member = flow.start()
        with flow.feeding(100):
            flow.wait_for_more(50)
            former_pid = stack.kill("kafka")
            stack.wait_for_restart("kafka", former_pid=former_pid)
            flow.wait_for_more(300)
        flow.check()
        member.stop()
        flow.check_at_rest()
