"""How long requests wait for the read model, and that they wait no longer once the process is about to end.

The server cuts off what is still open a few seconds after it was told to stop, with a 500; a request that waits by
`within` has given up by then, and answers as it does whenever its time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Patience"]

_LAST_SECONDS = 1.5
"""How long a wait may go on then: enough where nothing is wrong, and one after a look-up still ends before the cut."""


class Patience:
    """The waits that are open."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()
        self._hurries = False

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """`asyncio.timeout`, or less in a process that is about to end; raises TimeoutError."""
        async with asyncio.timeout(min(seconds, _LAST_SECONDS) if self._hurries else seconds) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.remove(limit)

    def hurry(self) -> None:
        """The process is about to end."""
        self._hurries = True
        last = asyncio.get_running_loop().time() + _LAST_SECONDS
        for limit in self._limits:
            ends = limit.when()
            if not limit.expired() and (ends is None or ends > last):
                limit.reschedule(last)
