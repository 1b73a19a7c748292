"""Brings threads together: the last of them to come acts once for all, and then all go on.

Unlike a `threading.Barrier`, one that will not come any more can say so, and the others do not wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Rendezvous"]


class Rendezvous:
    """One meeting of so many threads."""

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self._arrived = 0
        self._has_begun = False
        self._is_over = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def meet(self, act: Callable[[], None], *, within_seconds: float) -> None:
        """Wait for all others; `act` is called by one of them. Raises what it raised, in each; else TimeoutError."""
        deadline = time.monotonic() + within_seconds
        with self._changed:
            self._arrived += 1
            self._changed.notify_all()
            while not self._is_over and not self._is_my_turn():
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"{self._arrived} of {self._parties} came within {within_seconds:.0f} s")
            acts = not self._is_over
            self._has_begun = True
        if acts:
            self._act(act)
        if self._failure is not None:
            raise RuntimeError("what was to be done for all has failed") from self._failure

    def wait_until_over(self, *, within_seconds: float) -> bool:
        """Wait until it has been done, without being one of those who do it; whether it was in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_over or self._parties <= 0, within_seconds)

    def leave(self) -> None:
        """One will not come."""
        with self._changed:
            self._parties -= 1
            self._changed.notify_all()

    def _is_my_turn(self) -> bool:
        return self._arrived >= self._parties and not self._has_begun

    def _act(self, act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 it is told to everybody who waits
            self._failure = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
