"""The host's TCP server: connections, their sign-on, and how answers go back, the unfriendly ways included.

Reads frames, asks `network`, writes answers; runs on the network's event loop, started and stopped by `app`. Requests
of one connection run concurrently, so answers come as they get ready. An answer goes to the connection that was asked
on; where that has closed, or by a fault, to another one of the same acquirer (DE 32).

A time-out is simply no answer: the connection carries other requests too, so nothing happens to it. A request that
arrives late is answered when it has arrived. What is not a message closes the connection, and so does a request before
the sign-on. Nothing of a frame is logged.
"""

import asyncio
import contextlib
import logging
import socket
import sqlite3
import struct

from sandbox.card_network.cards import Delivery
from sandbox.card_network.delivery import pause
from sandbox.card_network.faults import LinkFault
from sandbox.card_network.iso8583 import answers
from sandbox.card_network.iso8583.answers import Outcome
from sandbox.card_network.iso8583.frames import Frame, Unreadable, decode, next_message
from sandbox.card_network.iso8583.reading import (
    KINDS,
    NETWORK_MANAGEMENT,
    BadMessage,
    acquirer_of,
    is_well_formed,
    read_request,
)
from sandbox.card_network.network import CardNetwork, Reply

__all__ = ["IsoServer"]

_logger = logging.getLogger(__name__)
_SIGN_ON, _SIGN_OFF, _ECHO = "001", "002", "301"
_BACKLOG = 1024
# Beyond this, the next request waits unread.
_UNANSWERED_PER_CONNECTION_MAX = 10_000


class _Connection:
    """One caller's connection. `acquirers` are those that it has spoken for."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.signed_on = False
        self.acquirers: set[str] = set()
        self.room = asyncio.Semaphore(_UNANSWERED_PER_CONNECTION_MAX)

    @property
    def is_open(self) -> bool:
        return not self.writer.is_closing()

    async def send(self, frame: bytes) -> None:
        # Waits for a caller who does not read before adding to what lies there.
        await self.writer.drain()
        self.writer.write(frame)

    def reset(self) -> None:
        """End the connection with an RST."""
        if self.is_open:
            endpoint: socket.socket = self.writer.get_extra_info("socket")
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()


class IsoServer:
    """Listens from start() to stop(), on the event loop of `network`."""

    def __init__(self, network: CardNetwork, *, host: str, port: int, stopping: asyncio.Event) -> None:
        self._network = network
        self._host = host
        self._port = port
        self._stopping = stopping
        self._connections: list[_Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._turn = 0

    async def start(self) -> None:
        """Begin to listen; raises OSError where somebody else does."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, backlog=_BACKLOG)

    async def stop(self) -> None:
        """Close all connections at once; what hangs is never answered."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = _Connection(writer)
        self._connections.append(connection)
        try:
            while (message := await next_message(reader)) is not None:
                if not await self._take(connection, decode(message)):
                    break
        except Unreadable as error:
            _logger.info("an ISO 8583 connection is closed: %s", error)
        except OSError:
            pass  # the caller has gone, without a farewell
        finally:
            self._connections.remove(connection)
            self._tasks.discard(task)
            writer.close()

    async def _take(self, connection: _Connection, frame: Frame) -> bool:
        """Begin to answer one frame; whether the connection goes on."""
        if frame.mti == NETWORK_MANAGEMENT:
            return await self._manage(connection, frame)
        if frame.mti not in KINDS:
            raise Unreadable("a message type that the host does not take")
        if not connection.signed_on:
            return False
        self._note_acquirer(connection, frame)
        await connection.room.acquire()
        task = asyncio.create_task(self._answer(connection, frame))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: connection.room.release())
        return True

    async def _manage(self, connection: _Connection, frame: Frame) -> bool:
        function = frame.elements.get(70)
        if function == _SIGN_ON:
            connection.signed_on = True
            self._note_acquirer(connection, frame)
        if not connection.signed_on:
            return False
        known = function in (_SIGN_ON, _SIGN_OFF, _ECHO)
        if function == _SIGN_OFF:
            connection.signed_on = False
        code = answers.OK if known else answers.FORMAT_ERROR
        await connection.send(answers.answer(frame, Outcome(response_code=code)))
        return True

    def _note_acquirer(self, connection: _Connection, frame: Frame) -> None:
        acquirer = frame.elements.get(32)
        if acquirer is not None and is_well_formed(32, acquirer):
            connection.acquirers.add(acquirer_of(acquirer))

    async def _answer(self, connection: _Connection, frame: Frame) -> None:
        try:
            asked = read_request(frame)
        except BadMessage as error:
            _logger.info("an ISO 8583 request is refused: %s", error)
            await self._send(connection, frame, answers.answer(frame, Outcome(response_code=answers.FORMAT_ERROR)))
            return
        fault = self._network.dice.throw_link(KINDS[frame.mti])
        if fault.loses_request:
            assert fault.doubtful_code is not None
            outcome = Outcome(response_code=fault.doubtful_code)
            await self._send(connection, frame, answers.answer(frame, outcome), fault=fault)
            return
        try:
            reply = await self._network.ask(asked.request, asked.message)
        except sqlite3.Error:
            # The writer has logged it; nothing is booked.
            outcome = Outcome(response_code=answers.SYSTEM_MALFUNCTION)
            await self._send(connection, frame, answers.answer(frame, outcome))
            return
        await self._deliver(connection, frame, reply, fault)

    async def _deliver(self, connection: _Connection, frame: Frame, reply: Reply, fault: LinkFault) -> None:
        if reply.later is not None:
            booked = await reply.later
            reply = Reply(booking=booked.booking, reference_reused=booked.booking is None)
        if reply.delivery is Delivery.reset:
            connection.reset()
            return
        if reply.delivery is Delivery.hang:
            return
        if reply.delivery is Delivery.slow:
            await pause(self._network.dice.plan.slow_seconds, stopping=self._stopping)
        if fault.doubtful_code is not None:
            outcome = Outcome(response_code=fault.doubtful_code)
        elif reply.booking is None:
            outcome = Outcome(response_code=answers.DUPLICATE)
        else:
            outcome = answers.outcome_of(reply.booking)
        if reply.delivery is Delivery.stray:
            await self._send(connection, frame, answers.stray(frame))
        told = answers.answer(frame, outcome)
        await self._send(connection, frame, told * (2 if reply.delivery is Delivery.twice else 1), fault=fault)

    async def _send(
        self, connection: _Connection, frame: Frame, told: bytes, *, fault: LinkFault | None = None
    ) -> None:
        """Write an answer on the connection that was asked on, or on another of the same acquirer; else nowhere."""
        target: _Connection | None = connection
        if not connection.is_open or (fault is not None and fault.other_connection):
            other = self._other(connection, acquirer_of(frame.elements.get(32, "")))
            target = other if other is not None or not connection.is_open else connection
        if target is not None:
            with contextlib.suppress(OSError):
                await target.send(told)

    def _other(self, connection: _Connection, acquirer: str) -> _Connection | None:
        others = [
            each
            for each in self._connections
            if each is not connection and each.is_open and each.signed_on and acquirer in each.acquirers
        ]
        if not others:
            return None
        self._turn += 1
        return others[self._turn % len(others)]
