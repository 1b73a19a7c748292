"""Tells the caller that a challenge has been decided: POST to the URL that came with the authorization.

Best effort: a few tries, in the background, forgotten when the network ends. The message says which authorization,
not how it ended; whoever gets it looks that up. `app` drives it.
"""

import asyncio
import logging

import aiohttp

from sandbox.card_network.booking import Booking

__all__ = ["Notifier"]

_logger = logging.getLogger(__name__)
_TRY_TIMEOUT_SECONDS = 5
_RETRY_DELAYS_SECONDS = (0.2, 1.0, 5.0)


class Notifier:
    """Made and closed on the event loop that it runs on."""

    def __init__(self, *, retry_delays_seconds: tuple[float, ...] = _RETRY_DELAYS_SECONDS) -> None:
        self._retry_delays_seconds = retry_delays_seconds
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TRY_TIMEOUT_SECONDS))
        self._tasks: set[asyncio.Task[None]] = set()

    def notify(self, authorization: Booking) -> None:
        """Start telling, if the caller wanted to be told."""
        if authorization.notify_url is None:
            return
        message = {
            "reference": authorization.reference,
            "processor_reference": authorization.processor_reference,
        }
        task = asyncio.create_task(self._deliver(authorization.notify_url, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _deliver(self, url: str, message: dict[str, str]) -> None:
        problem = ""
        for delay_seconds in (*self._retry_delays_seconds, 0.0):
            try:
                async with self._session.post(url, json=message, allow_redirects=False) as response:
                    if 200 <= response.status < 300:
                        return
                    problem = f"answered {response.status}"
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = type(error).__name__
            await asyncio.sleep(delay_seconds)
        _logger.warning("gave up notifying of %s: %s", message["reference"], problem)
