"""The life of one stack: its start, its supervision, its stop.

`up` is the supervisor process: it returns when the stack has been stopped. SIGINT, SIGTERM and SIGHUP stop in order, a
second signal ends everything at once; so does the end of the parent, when the options ask for that.
Driven by the command line; writes everything in DIRECTORY.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

from sandbox.stack.composition import Composer, compose
from sandbox.stack.errors import StackError
from sandbox.stack.layout import Layout, Lock, write_privately
from sandbox.stack.logs import rotate
from sandbox.stack.options import StackOptions
from sandbox.stack.preflight import check_machine
from sandbox.stack.process import adopt_orphans, descriptors_are_open, end_with_parent
from sandbox.stack.progress import Progress
from sandbox.stack.supervisor import Supervisor

__all__ = ["up"]

ROTATE_EVERY_SECONDS = 5.0
PARENT_ENDED = signal.SIGUSR1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_WISH_SECONDS = 0.5
"""Signals that come so close together are one wish: make passes SIGTERM on to a child that has had it already."""


def up(options: StackOptions, *, composer: Composer = compose) -> int:
    """Run a stack until it is stopped; 0 when that was asked for, 1 when it could not be started or kept up."""
    descriptors_are_open()
    if options.ends_with_parent:
        # Until the loop listens to the signal its default action applies, which ends this process.
        end_with_parent(PARENT_ENDED)
    progress = Progress()
    layout = Layout(options.directory.resolve())
    lock = Lock(layout.lock)
    try:
        check_machine(layout.directory)
        layout.create()
        lock.acquire()
    except (StackError, OSError) as error:
        progress.failed(str(error))
        return 1
    try:
        stack = Stack(options, layout=layout, progress=progress, composer=composer)
        return asyncio.run(stack.run())
    except (StackError, OSError) as error:
        progress.failed(str(error))
        return 1
    except KeyboardInterrupt:
        # Before the loop listened to signals; nothing has been started.
        return 0
    finally:
        layout.description.unlink(missing_ok=True)
        lock.release()


class Stack:
    """A stack in its directory, which is locked for it."""

    def __init__(self, options: StackOptions, *, layout: Layout, progress: Progress, composer: Composer) -> None:
        layout.description.unlink(missing_ok=True)
        rotate(layout.logs, largest_bytes=0)
        self._layout = layout
        self._progress = progress
        self._composition = composer(options, layout)
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._described = False

    async def run(self) -> int:
        """Start, live, stop."""
        adopt_orphans()
        loop = asyncio.get_running_loop()
        for number in (*STOP_SIGNALS, PARENT_ENDED):
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        with self._progress:
            supervisor = Supervisor(
                self._composition.items,
                layout=self._layout,
                reporter=self._progress,
                on_change=lambda: self._describe(supervisor),
                owns_process=True,
            )
            try:
                return await self._live(supervisor)
            finally:
                await self._stop(supervisor)

    async def _live(self, supervisor: Supervisor) -> int:
        """Until the first signal: start everything, then keep it running."""
        told_to_stop = asyncio.create_task(self._signals.get())
        living = asyncio.create_task(self._start_and_keep(supervisor))
        await asyncio.wait({told_to_stop, living}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            told_to_stop.cancel()
            living.result()
            return 1
        living.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await living
        if told_to_stop.result() == PARENT_ENDED:
            self._signals.put_nowait(PARENT_ENDED)
        return 0

    async def _start_and_keep(self, supervisor: Supervisor) -> None:
        await supervisor.start()
        self._described = True
        self._describe(supervisor)
        self._progress.all_ready(self._composition.addresses, answer=self._layout.directory / "payment.json")
        rotating = asyncio.create_task(self._rotate_logs())
        try:
            await supervisor.keep()
        finally:
            rotating.cancel()

    async def _stop(self, supervisor: Supervisor) -> None:
        """In order; at once when a further signal comes meanwhile."""
        self._described = False
        self._layout.description.unlink(missing_ok=True)
        stopping = asyncio.create_task(supervisor.stop())
        hurry = asyncio.create_task(self._second_wish())
        await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if stopping.done():
            stopping.result()
        else:
            stopping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stopping
            await supervisor.kill()
        await supervisor.close()
        self._progress.stopped()

    async def _second_wish(self) -> None:
        """Return when everything is to end at once."""
        began = time.monotonic()
        while await self._signals.get() != PARENT_ENDED and time.monotonic() - began < SAME_WISH_SECONDS:
            pass

    def _describe(self, supervisor: Supervisor) -> None:
        if self._described:
            write_privately(self._layout.description, self._composition.addresses.describe(supervisor.pids))

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_EVERY_SECONDS)
            rotate(self._layout.logs)
