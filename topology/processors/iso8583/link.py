"""One connection to the host: signs on before it is used, is asked for an echo when nothing is heard, signs off.

The host may ask for an echo too, and is answered. Nothing else of network management is the host's to begin.

It does not know what it carries: messages are handed to `arrived`, and that it can or cannot be written to is told by
`changed`. A connection on which a message cannot be read, or an echo is not answered, is dropped. Driven by the pool.
"""

from __future__ import annotations

import asyncio
import typing
from collections.abc import Callable
from dataclasses import dataclass

from topology.processors.iso8583.frames import BadFrame, FrameReader, frame_of, message_in
from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.spec import ECHO, NETWORK_MANAGEMENT, SIGN_OFF, SIGN_ON, answering

__all__ = ["Link", "LinkTimes", "SignOnRefused"]

_SIGN_OFF_SECONDS_MAX = 0.5
_ACCEPTED = "00"
_NOT_TAKEN = "30"
_TAKEN = (ECHO, SIGN_ON)
_ECHOED = (7, 11, 32, 41, 70)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTimes:
    """How patient a connection is. An echo is sent after `idle_seconds` without a byte from the host."""

    connect_seconds_max: float = 5.0
    answer_seconds_max: float = 5.0
    idle_seconds: float = 15.0


class SignOnRefused(ConnectionError):
    """The host did not accept the sign-on, or did not answer it."""


class Link(asyncio.Protocol):
    """A connection. `network_message` makes the next network management message of a kind, with numbers of its own."""

    def __init__(
        self,
        *,
        network_message: Callable[[str], Message],
        arrived: Callable[[Message], None],
        changed: Callable[[], None],
        times: LinkTimes,
        write_buffer_bytes_max: int,
    ) -> None:
        self._network_message = network_message
        self._arrived = arrived
        self._changed = changed
        self._times = times
        self._write_buffer_bytes_max = write_buffer_bytes_max
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._asked: dict[tuple[str | None, str | None], asyncio.Future[Message]] = {}
        self._heard_at = self._loop.time()
        self._is_full = False
        self.signed_on = False
        self.lost = asyncio.Event()
        self.cause = "closed_by_host"
        """Why it ended: the first reason counts."""
        self._is_dropped = False

    @property
    def is_usable(self) -> bool:
        """Whether a message may be written now."""
        transport = self._transport
        return self.signed_on and not self._is_full and transport is not None and not transport.is_closing()

    def write(self, frame: bytes) -> None:
        """Write a message; only to a connection that is usable."""
        assert self._transport is not None
        self._transport.write(frame)

    async def sign_on(self) -> None:
        """Sign on; from then on it is usable. Raises SignOnRefused."""
        answer = await self._ask(SIGN_ON, self._times.answer_seconds_max)
        if answer is None or answer.get(39) != _ACCEPTED:
            self.drop("sign_on_refused")
            raise SignOnRefused("not answered" if answer is None else "refused")
        self.signed_on = True
        self._changed()

    async def keep(self) -> None:
        """Until it is lost: an echo whenever nothing was heard for a while, and the end where that is not answered."""
        idle_seconds = self._times.idle_seconds
        while not self.lost.is_set():
            quiet_seconds = self._loop.time() - self._heard_at
            if quiet_seconds >= idle_seconds:
                if await self._ask(ECHO, self._times.answer_seconds_max) is None:
                    self.drop("echo_unanswered")
                    return
                quiet_seconds = 0.0
            try:
                async with asyncio.timeout(idle_seconds - quiet_seconds):
                    await self.lost.wait()
            except TimeoutError:
                continue

    async def sign_off(self) -> None:
        """Say good-bye, wait a moment for the answer, and close."""
        if self.signed_on and not self.lost.is_set():
            self.signed_on = False
            self._changed()
            await self._ask(SIGN_OFF, _SIGN_OFF_SECONDS_MAX)
        self.drop("signed_off")

    def drop(self, cause: str) -> None:
        """End the connection at once."""
        if self._transport is not None and not self._is_dropped and not self.lost.is_set():
            self._is_dropped = True
            self.cause = cause
            self.signed_on = False
            self._transport.abort()
            self._changed()

    async def _ask(self, code: str, seconds_max: float) -> Message | None:
        """A network management message and its answer, on this connection; None where none comes in time."""
        if self._transport is None or self._transport.is_closing():
            return None
        message = self._network_message(code)
        key = message.get(7), message.get(11)
        answered: asyncio.Future[Message] = self._loop.create_future()
        self._asked[key] = answered
        try:
            self.write(frame_of(message))
            # Not a time-out that cancels: an answer that has come by then counts, however late it is looked at.
            await asyncio.wait([answered], timeout=seconds_max)
            return answered.result() if answered.done() else None
        except ConnectionError:
            return None
        finally:
            del self._asked[key]
            if not answered.cancel() and not answered.cancelled():
                # Taken note of, also where whoever asked was cancelled meanwhile.
                answered.exception()

    # What the loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        # Those of uvloop are not declared as the class whose methods they have.
        self._transport = typing.cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._write_buffer_bytes_max)

    def data_received(self, data: bytes) -> None:
        """Bytes have come; what they are not is no message of this host's."""
        self._heard_at = self._loop.time()
        try:
            for body in self._reader.feed(data):
                self._received(message_in(body))
        except BadFrame:
            self.drop("unreadable_message")

    def pause_writing(self) -> None:
        """The host does not read as fast as we write: nothing more is written until it has."""
        self._is_full = True
        self._changed()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_full = False
        self._changed()

    def connection_lost(self, _error: Exception | None) -> None:
        """It has ended."""
        self.signed_on = False
        self.lost.set()
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(ConnectionResetError())
        self._changed()

    def _received(self, message: Message) -> None:
        if message.mti == NETWORK_MANAGEMENT:
            self._answer(message)
            return
        answered = self._asked.get((message.get(7), message.get(11)))
        if message.mti == answering(NETWORK_MANAGEMENT) and answered is not None:
            if not answered.done():
                answered.set_result(message)
        else:
            self._arrived(message)

    def _answer(self, asked: Message) -> None:
        """Answer the host's network management; a host that does not read is not written to."""
        if self._transport is None or self._is_full:
            return
        echoed = {number: value for number in _ECHOED if (value := asked.get(number)) is not None}
        code = _ACCEPTED if asked.get(70) in _TAKEN else _NOT_TAKEN
        self.write(frame_of(Message(answering(NETWORK_MANAGEMENT), {**echoed, 39: code})))
