"""The supervisor on fake children: order, restarts, stops, and that nothing is ever left behind."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.stack.child import restart_delay_seconds
from tests.harness.stack import RunningStack, start_stack, wait_for

FAKE_STACK = str(Path(__file__).with_name("fake_stack.py"))


@contextlib.contextmanager
def fake_stack(scenario: str = "plain", *, wait: bool = True) -> Iterator[RunningStack]:
    with start_stack(command=(sys.executable, FAKE_STACK, scenario), wait=wait) as stack:
        yield stack


def timeline(stack: RunningStack, what: str) -> list[str]:
    """The names of the children that started or were asked to end, in order."""
    lines = (stack.directory / "timeline").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[0] == what]


def test_children_start_after_what_they_need() -> None:
    with fake_stack() as stack:
        assert timeline(stack, "start")[-1] == "service"
        assert set(stack.processes) == {"log", "database", "outside", "service"}
        assert "task" not in stack.processes
        assert (stack.directory / "stack.json").stat().st_mode & 0o777 == 0o600


def test_interrupt_to_the_process_group_stops_in_order() -> None:
    with fake_stack() as stack:
        stack.stop(signal.SIGINT)
        assert timeline(stack, "end") == ["service", "outside", "database", "log"]
        assert not (stack.directory / "stack.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_in_order_too(number: signal.Signals) -> None:
    with fake_stack() as stack:
        stack.stop(number)
        assert timeline(stack, "end") == ["service", "outside", "database", "log"]


def test_a_killed_child_comes_back_on_its_port_under_another_pid() -> None:
    with fake_stack() as stack:
        before = stack.description
        former = stack.kill("database")
        stack.wait_for_restart("database", former_pid=former, within_seconds=5)
        after = stack.description
        assert after["services"] == before["services"]
        others = {"log", "outside", "service"}
        assert {name: after["processes"][name] for name in others} == {
            name: before["processes"][name] for name in others
        }


def test_a_child_that_ignores_the_signal_is_killed() -> None:
    with fake_stack("stubborn-service") as stack:
        began = time.monotonic()
        stack.stop()
        assert 2 <= time.monotonic() - began < 6
        assert timeline(stack, "end") == ["service", "outside", "database", "log"]


def test_a_second_interrupt_ends_everything_at_once() -> None:
    with fake_stack("stubborn-service") as stack:
        os.killpg(stack.supervisor.pid, signal.SIGINT)
        time.sleep(0.8)
        began = time.monotonic()
        stack.stop(signal.SIGINT)
        assert time.monotonic() - began < 1
        assert timeline(stack, "end") == ["service"]


def test_a_paused_child_can_be_stopped() -> None:
    with fake_stack() as stack:
        stack.kill("service", signal.SIGSTOP)
        began = time.monotonic()
        stack.stop()
        assert time.monotonic() - began < 2


def test_nothing_is_left_when_the_supervisor_is_killed() -> None:
    with fake_stack() as stack:
        stack.supervisor.kill()
        stack.supervisor.wait()
        wait_for(lambda: not stack.processes_left(), what="the end of all children", within_seconds=3)


def test_everything_ends_when_the_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, FAKE_STACK, "plain", "--directory", str(tmp_path / "stack"), "--end-with-parent"]
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"], stdout=subprocess.DEVNULL
    )
    stack = RunningStack(directory=tmp_path / "stack", supervisor=parent, mark="none")
    wait_for(lambda: stack.directory.joinpath("stack.json").exists(), what="stack.json", within_seconds=20)
    pids = stack.processes.values()
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), what="the end", within_seconds=3)
    wait_for(lambda: not stack.directory.joinpath("stack.json").exists(), what="the clean-up", within_seconds=3)


def test_what_a_child_leaves_behind_is_ended() -> None:
    with fake_stack("grandchild") as stack:
        former = stack.kill("outside")
        stack.wait_for_restart("outside", former_pid=former)
        grandchildren = [c for c in stack.processes_left().values() if "time.sleep(600)" in c]
        assert len(grandchildren) <= 1
        stack.stop()


@pytest.mark.parametrize(
    ("scenario", "sentence"),
    [
        ("never-ready", "service did not come up"),
        ("ends", "the reason why it ends"),
        ("failing-task", "what the task says"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing(scenario: str, sentence: str) -> None:
    with fake_stack(scenario, wait=False) as stack:
        assert stack.supervisor.wait(20) == 1
        assert sentence in stack.output
        assert "Traceback" not in stack.output
        assert not stack.processes_left()
        assert not (stack.directory / "stack.json").exists()


def test_an_interrupt_during_the_start_stops_what_was_started() -> None:
    with fake_stack("slow-start", wait=False) as stack:
        wait_for(lambda: (stack.directory / "timeline").exists(), what="a child", within_seconds=10)
        stack.stop()


def test_a_second_stack_in_the_directory_is_refused_and_the_first_goes_on() -> None:
    with fake_stack() as stack:
        command = [sys.executable, FAKE_STACK, "plain", "--directory", str(stack.directory)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert second.returncode == 1
        assert "already running" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
        assert (stack.directory / "stack.json").exists()


def test_the_directory_can_be_used_again_after_a_crash_of_the_supervisor() -> None:
    with fake_stack() as stack:
        ports = stack.description["services"]
        stack.supervisor.kill()
        stack.supervisor.wait()
        command = (sys.executable, FAKE_STACK, "plain")
        with start_stack(command=command, directory=stack.directory) as second:
            assert second.description["services"].keys() == ports.keys()


def test_status_and_down_from_another_process() -> None:
    def control(command: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "sandbox.stack", command, "--directory", str(stack.directory)]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)

    with fake_stack() as stack:
        running = control("status")
        assert running.returncode == 0, running.stdout
        assert "service" in running.stdout
        stopped = control("down")
        assert stopped.returncode == 0, stopped.stderr
        assert stack.supervisor.wait(5) == 0
        assert control("status").returncode == 3
        assert control("down").returncode == 0
        assert timeline(stack, "end") == ["service", "outside", "database", "log"]


def test_works_with_all_standard_streams_closed(tmp_path: Path) -> None:
    command = [sys.executable, FAKE_STACK, "plain", "--directory", str(tmp_path / "stack"), "--end-with-parent"]
    closed = f"exec {shlex.join(command)} <&- >&- 2>&-"
    supervisor = subprocess.Popen(["/bin/sh", "-c", closed], start_new_session=True)
    stack = RunningStack(directory=tmp_path / "stack", supervisor=supervisor, mark="none")
    wait_for(lambda: (stack.directory / "stack.json").exists(), what="stack.json", within_seconds=20)
    assert set(stack.processes) == {"log", "database", "outside", "service"}
    os.killpg(supervisor.pid, signal.SIGINT)
    assert supervisor.wait(20) == 0


def test_goes_on_when_nobody_reads_its_output_any_more(tmp_path: Path) -> None:
    command = [sys.executable, FAKE_STACK, "plain", "--directory", str(tmp_path / "stack"), "--end-with-parent"]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert supervisor.stdout is not None
    supervisor.stdout.close()
    stack = RunningStack(directory=tmp_path / "stack", supervisor=supervisor, mark="none")
    wait_for(lambda: (stack.directory / "stack.json").exists(), what="stack.json", within_seconds=20)
    stack.wait_for_restart("log", former_pid=stack.kill("log"))
    os.killpg(supervisor.pid, signal.SIGINT)
    assert supervisor.wait(20) == 0


def test_restarts_are_delayed_more_each_time_but_never_long() -> None:
    delays = [restart_delay_seconds(failures) for failures in range(1, 12)]
    assert delays == sorted(delays)
    assert delays[0] <= 0.2
    assert delays[-1] == 5.0
