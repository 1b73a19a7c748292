"""A stack of fake children in every stage, run as a script: `fake_stack.py SCENARIO --directory DIR`.

Each child serves HTTP on a port; DIR/timeline notes who started and who was asked to end, in which order.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sandbox.stack.composition import Composition
from sandbox.stack.description import Addresses
from sandbox.stack.layout import Layout
from sandbox.stack.options import StackOptions
from sandbox.stack.ports import choose_ports
from sandbox.stack.probes import http_answers
from sandbox.stack.spec import ChildSpec, StopStage, TaskSpec
from sandbox.stack.stack import up

STAGES = {
    "log": StopStage.LOG,
    "database": StopStage.DATABASE,
    "outside": StopStage.OUTSIDE,
    "service": StopStage.SERVICES,
}
AFTER = {"service": frozenset({"log", "database", "task"}), "task": frozenset({"log"})}
SCENARIOS: dict[str, dict[str, tuple[str, ...]]] = {
    "plain": {},
    "stubborn-service": {"service": ("--stubborn",)},
    "never-ready": {"service": ("--never-ready",)},
    "ends": {"service": ("--ends",)},
    "grandchild": {"outside": ("--grandchild",)},
    "failing-task": {},
    "slow-start": {"log": ("--never-ready",)},
}


def compose(scenario: str, options: StackOptions, layout: Layout) -> Composition:
    """Four children and a task between them."""
    ports = choose_ports(list(STAGES), layout.ports)
    children = [_child(name, SCENARIOS[scenario].get(name, ()), port=ports[name], layout=layout) for name in STAGES]
    status = 5 if scenario == "failing-task" else 0
    task = TaskSpec(
        name="task",
        after=AFTER["task"],
        command=(sys.executable, "-c", f"print('what the task says'); raise SystemExit({status})"),
    )
    addresses = Addresses(
        services={name: f"http://127.0.0.1:{port}" for name, port in ports.items()},
        api_key="key",
        s3_access_key="",
        s3_secret_key="",
    )
    return Composition(addresses=addresses, items=(*children, task))


def _child(name: str, options: tuple[str, ...], *, port: int, layout: Layout) -> ChildSpec:
    program = str(Path(__file__).with_name("fake_child.py"))
    timeline = str(layout.directory / "timeline")
    return ChildSpec(
        name=name,
        command=(sys.executable, program, name, "--port", str(port), "--timeline", timeline, *options),
        probe=http_answers(f"http://127.0.0.1:{port}/readyz"),
        stop_stage=STAGES[name],
        after=AFTER.get(name, frozenset()),
        stop_seconds=2.0,
        ready_within_seconds=3.0 if "--never-ready" in options and name == "service" else 30.0,
    )


def main() -> int:
    """Run the scenario."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--end-with-parent", action="store_true")
    chosen = parser.parse_args()
    options = StackOptions(directory=chosen.directory, ends_with_parent=chosen.end_with_parent)
    return up(options, composer=lambda options, layout: compose(chosen.scenario, options, layout))


if __name__ == "__main__":
    sys.exit(main())
