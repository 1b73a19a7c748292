"""The nemesis on processes that do nothing: a fault counts when it took effect, and only then."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import Fault, FaultKind
from tests.chaos.processes import has_ended, until
from tests.chaos.small_disk import CannotMount, SmallDisk, own_mounts
from tests.harness.stack import RunningStack, stands_still

Start = Callable[[str], subprocess.Popen[bytes]]
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process of one line of Python; it is reaped at once when it ends, as the supervisor does."""
    with contextlib.ExitStack() as stack:

        def begin(code: str) -> subprocess.Popen[bytes]:
            child = stack.enter_context(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
            stack.callback(child.kill)
            threading.Thread(target=child.wait, daemon=True).start()
            return child

        yield begin


def nemesis_of(directory: Path, disks: Mapping[str, SmallDisk] | None = None, /, **pids: int) -> Nemesis:
    """One that knows of these processes."""
    (directory / "stack.json").write_text(json.dumps({"processes": pids, "proxy": "http://127.0.0.1:9"}))
    nobody = subprocess.Popen(["true"])
    nobody.wait()
    return Nemesis(RunningStack(directory=directory, supervisor=nobody, mark=""), directory, disks=disks or {})


def always() -> bool:
    return True


def one(kind: FaultKind, target: str, *, lasts: float = 0.5) -> Fault:
    return Fault(at_seconds=0.0, burst=0, kind=kind, target=target, lasts_seconds=lasts)


def test_who_is_killed_or_stopped_is_gone(tmp_path: Path, start: Start) -> None:
    first, second = start("import time; time.sleep(60)"), start("import time; time.sleep(60)")
    nemesis = nemesis_of(tmp_path, first=first.pid, second=second.pid)
    faults = [one(FaultKind.kill, "first"), one(FaultKind.stop, "second")]
    nemesis.run(faults, is_working=always)
    assert nemesis.done == faults
    assert has_ended(first.pid)
    assert has_ended(second.pid)


def test_what_must_be_done_is_done_once_more_where_it_hit_nobody(tmp_path: Path, start: Start) -> None:
    gone, other = start("pass"), start("import time; time.sleep(60)")
    assert until(lambda: has_ended(gone.pid), seconds=5)
    nemesis = nemesis_of(tmp_path, child=gone.pid, other=other.pid)
    fault = one(FaultKind.kill, "child")
    nemesis.run([fault, one(FaultKind.pause, "other")], is_working=always)
    assert nemesis.missed == [fault]
    child = start("import time; time.sleep(60)")
    again = nemesis_of(tmp_path, child=child.pid, other=other.pid)
    again.done, again.missed = nemesis.done, nemesis.missed
    again.make_up_for([(FaultKind.kill, "child"), (FaultKind.pause, "other"), (FaultKind.kill, "other")])
    assert has_ended(child.pid)
    assert [(fault.kind, fault.target) for fault in again.done] == [("pause", "other"), ("kill", "child")]
    assert not has_ended(other.pid), "that was not planned"


def test_who_is_paused_twice_stands_still_until_both_are_over(tmp_path: Path, start: Start) -> None:
    child = start("import time; time.sleep(60)")
    nemesis = nemesis_of(tmp_path, child=child.pid)
    faults = [one(FaultKind.pause, "child", lasts=0.3), one(FaultKind.pause, "child", lasts=1.5)]
    running = threading.Thread(target=nemesis.run, args=(faults,), kwargs={"is_working": always})
    running.start()
    assert until(lambda: stands_still(child.pid), seconds=5)
    running.join(0.9)
    assert running.is_alive()
    assert stands_still(child.pid)
    running.join()
    assert nemesis.done == faults
    assert until(lambda: not stands_still(child.pid), seconds=5)


def test_children_stand_still_with_their_parent(tmp_path: Path, start: Start) -> None:
    parent = start(
        "import subprocess, time; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); time.sleep(60)"
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    running = threading.Thread(
        target=nemesis_of(tmp_path, parent=parent.pid).run,
        args=([one(FaultKind.pause, "parent", lasts=1.0)],),
        kwargs={"is_working": always},
    )
    running.start()
    try:
        assert until(lambda: stands_still(parent.pid) and stands_still(child), seconds=5)
        running.join()
        assert until(lambda: not stands_still(child), seconds=5)
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_hits_nobody_does_not_count(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.nemesis._STOPS_WITHIN_SECONDS", 0.5)
    monkeypatch.setattr("tests.chaos.nemesis._APPEARS_WITHIN_SECONDS", 0.2)
    gone, deaf = start("pass"), start(DEAF)
    assert deaf.stdout is not None
    deaf.stdout.readline()
    assert until(lambda: has_ended(gone.pid), seconds=5)
    nemesis = nemesis_of(tmp_path, gone=gone.pid, deaf=deaf.pid)
    faults = [
        *(one(kind, "gone") for kind in (FaultKind.kill, FaultKind.pause, FaultKind.twin)),
        *(one(kind, "kafka") for kind in (FaultKind.cut, FaultKind.stall)),
        one(FaultKind.stop, "deaf"),
    ]
    nemesis.run(faults, is_working=always)
    assert nemesis.missed == faults
    assert nemesis.done == []


def test_a_stop_that_a_kill_has_carried_out_does_not_count(tmp_path: Path, start: Start) -> None:
    deaf = start(DEAF)
    assert deaf.stdout is not None
    deaf.stdout.readline()
    nemesis = nemesis_of(tmp_path, deaf=deaf.pid)
    stop, kill = one(FaultKind.stop, "deaf"), replace(one(FaultKind.kill, "deaf"), at_seconds=0.5)
    nemesis.run([stop, kill], is_working=always)
    assert (nemesis.done, nemesis.missed) == ([kill], [stop])


@pytest.mark.parametrize(("says", "counts"), [("all is well", False), ("write: No space left on device", True)])
def test_a_full_disk_counts_where_somebody_suffers(tmp_path: Path, start: Start, says: str, counts: bool) -> None:
    child = start("import time; time.sleep(60)")
    log = tmp_path / "logs" / "child.log"
    log.parent.mkdir()
    log.write_text("No space left on device, said long ago\n")

    class Disk(SmallDisk):
        def fill(self, *, seconds: float) -> bool:
            with log.open("a") as file:
                file.write(says)
            return seconds == 1.0

    nemesis = nemesis_of(tmp_path, {"child": Disk(tmp_path)}, child=child.pid)
    fault = one(FaultKind.fill_disk, "child", lasts=1.0)
    nemesis.run([fault], is_working=always)
    assert nemesis.done == ([fault] if counts else [])


def test_a_burst_waits_until_the_system_works_again(tmp_path: Path, start: Start) -> None:
    children = [start("import time; time.sleep(60)") for _ in range(2)]
    nemesis = nemesis_of(tmp_path, **{f"child{number}": child.pid for number, child in enumerate(children)})
    faults = [replace(one(FaultKind.kill, f"child{number}"), burst=number) for number in range(2)]
    answers = iter([True, False, False, False, not has_ended(children[1].pid)])
    nemesis.run(faults, is_working=lambda: next(answers))
    assert nemesis.done == faults
    assert next(answers, None) is None, "the second burst waited for the fifth answer"


FILL_A_DISK = """
import errno, pathlib, sys, threading, time
from tests.chaos.small_disk import SmallDisk
disk = SmallDisk.mount(pathlib.Path(sys.argv[1]), size_bytes=1 << 20)
victim = disk.folder / "victim"
victim.write_bytes(bytes(300_000))
outcome = []
filling = threading.Thread(target=lambda: outcome.append(disk.fill(seconds=1.0)))
filling.start()
time.sleep(0.5)
# What others give back is taken too.
victim.unlink()
time.sleep(0.2)
try:
    victim.write_bytes(b"x")
except OSError as error:
    outcome.append(errno.errorcode[error.errno])
filling.join()
victim.write_bytes(bytes(300_000))
print(outcome)
"""


def test_a_full_disk_takes_nothing_until_it_is_freed(tmp_path: Path) -> None:
    try:
        before = own_mounts()
    except CannotMount as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    folder = tmp_path / "disk"
    command = [*before, sys.executable, "-c", FILL_A_DISK, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout == "['ENOSPC', True]\n"
    assert list(folder.iterdir()) == [], "it was mounted in a namespace of its own"
