"""Ends a process whose commit, or whose leaving of its group, does not come back.

librdkafka's calls have time-outs, and one of them does not keep it: `send_offsets_to_transaction` waits for ever when
the group's coordinator is not found at once, as after a broker's restart (2.16.0, decision 004). Python cannot
interrupt such a call, so a thread beside it ends the process; the supervisor starts another, which fences what this one
left open. Nothing is lost by that: what was not committed is read again.

Closing a consumer is worse: an assignment that arrives meanwhile is still handed to our callback, and what that asks
of a group that is just being torn down is thrown away unanswered (`rd_kafka_cgrp_op_serve`, 2.16.0). The caller waits
for ever and holds Python's lock, so that no other thread runs either: no watchdog of ours, no `/healthz`. Only a timer
outside Python ends that.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["EXIT_STATUS", "Watchdog", "ending_without_python"]

log = logging.getLogger("paystream.kafka")

EXIT_STATUS = 75
_LOOK_EVERY_SECONDS = 0.25
_STANDARD_ERROR = 2


def _end_process(what: str) -> None:
    log.critical("%s does not come back; ending the process", what)
    logging.shutdown()
    os._exit(EXIT_STATUS)


@contextmanager
def ending_without_python(*, limit_seconds: float) -> Iterator[None]:
    """End the process when what is done inside takes longer, even while no Python code can run; status 1.

    There is one such timer in a process. The log then ends with where each thread stood.
    """
    faulthandler.dump_traceback_later(limit_seconds, exit=True, file=_STANDARD_ERROR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


class Watchdog:
    """Watches one call at a time; `bite` is what happens when it takes longer than it may.

    Time is counted in the watchdog's own looks, so that a process which was paused is not taken for one that is stuck.
    """

    def __init__(self, *, bite: Callable[[str], None] = _end_process) -> None:
        self._bite = bite
        self._watched: _Watched | None = None
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextmanager
    def watching(self, what: str, *, limit_seconds: float) -> Iterator[None]:
        """Watch what is done inside, for at most that long."""
        self._watched = _Watched(what, limit_seconds)
        try:
            yield
        finally:
            self._watched = None

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_SECONDS)
            watched = self._watched
            if watched is None:
                continue
            watched.left_seconds -= _LOOK_EVERY_SECONDS
            if watched.left_seconds < 0:
                self._bite(watched.what)
                return


@dataclass(slots=True)
class _Watched:
    """The call that is under way, and how much longer it may take."""

    what: str
    left_seconds: float
