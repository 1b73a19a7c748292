"""The connections to one host: kept open, each by a task of its own, and chosen in turn.

A connection that is lost is opened again after a wait that grows, with jitter, so that many processes do not come back
at the same moment. Driven by the processor, on its loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from topology.processors.iso8583.link import Link, LinkTimes, SignOnRefused
from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.metrics import CONNECTIONS, LOST

__all__ = ["Pool"]

log = logging.getLogger("paystream.processors")

_RETRY_SECONDS_MIN: Final = 0.1
_RETRY_SECONDS_MAX: Final = 10.0
# One that ends sooner did not work, though it signed on.
_WORKED_SECONDS_MIN: Final = 5.0


class Pool:
    """`connections` of them to `host`:`port`. Whatever arrives on any of them goes to `arrived`."""

    def __init__(
        self,
        processor: str,
        host: str,
        port: int,
        *,
        connections: int,
        network_message: Callable[[str], Message],
        arrived: Callable[[Message], None],
        times: LinkTimes,
        write_buffer_bytes_max: int,
        chance: random.Random | None = None,
    ) -> None:
        self._processor = processor
        self._host = host
        self._port = port
        self._connections = connections
        self._network_message = network_message
        self._arrived = arrived
        self._times = times
        self._write_buffer_bytes_max = write_buffer_bytes_max
        self._chance = chance or random.SystemRandom()
        self._links: list[Link] = []
        self._turn = 0
        self._usable = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._told = ""

    async def open(self, *, wait_seconds_max: float) -> None:
        """Begin to connect; returns as soon as one connection is usable, or the time is up."""
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._connections)]
        if self._keepers:
            await self.wait_usable(asyncio.get_running_loop().time() + wait_seconds_max)

    async def close(self) -> None:
        """Sign off and close everything."""
        for keeper in self._keepers:
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers)
        self._keepers = []

    def choose(self) -> Link | None:
        """A connection that may be written to now, another each time; None while there is none."""
        links = self._links
        for _ in range(len(links)):
            self._turn = (self._turn + 1) % len(links)
            if links[self._turn].is_usable:
                return links[self._turn]
        # Told late: a connection can be closing before the loop says so.
        self._usable.clear()
        return None

    async def wait_usable(self, until: float) -> bool:
        """Wait until a connection is usable, by the loop's clock at most until then."""
        try:
            async with asyncio.timeout_at(until):
                await self._usable.wait()
        except TimeoutError:
            return False
        return True

    async def _keep(self) -> None:
        """One connection, again and again."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            try:
                cause = await self._once()
            except Exception:
                # A bug must not cost the connection for good, and with the others the whole processor.
                log.exception("%s: a connection failed", self._processor)
                cause = "failed"
            LOST.labels(self._processor, cause).inc()
            self._tell(cause)
            failures = 0 if loop.time() - began > _WORKED_SECONDS_MIN else failures + 1
            most = min(_RETRY_SECONDS_MIN * 2 ** min(failures, 10), _RETRY_SECONDS_MAX)
            await asyncio.sleep(self._chance.uniform(_RETRY_SECONDS_MIN / 2, most))

    async def _once(self) -> str:
        """Connect, sign on and keep the connection until it ends; why it did."""
        link = self._new_link()
        try:
            async with asyncio.timeout(self._times.connect_seconds_max):
                await asyncio.get_running_loop().create_connection(lambda: link, self._host, self._port)
        except (OSError, TimeoutError):
            return "not_reached"
        self._links.append(link)
        try:
            await link.sign_on()
            self._tell("")
            await link.keep()
        except SignOnRefused:
            return link.cause
        finally:
            await link.sign_off()
            self._links.remove(link)
            self._changed()
        return link.cause

    def _new_link(self) -> Link:
        return Link(
            network_message=self._network_message,
            arrived=self._arrived,
            changed=self._changed,
            times=self._times,
            write_buffer_bytes_max=self._write_buffer_bytes_max,
        )

    def _changed(self) -> None:
        CONNECTIONS.labels(self._processor).set(sum(link.signed_on for link in self._links))
        if any(link.is_usable for link in self._links):
            self._usable.set()
        else:
            self._usable.clear()

    def _tell(self, cause: str) -> None:
        """Say what is wrong with the host once, and once that it is well again."""
        if cause == self._told:
            return
        if cause:
            log.warning("%s: a connection was lost or not made (%s)", self._processor, cause)
        else:
            log.info("%s: signed on", self._processor)
        self._told = cause
