"""uvicorn's HTTP/1.1 protocol with what it lacks: a bound on a request's head, refusals as problem documents, and an
end of the connection that lets a client read why it was refused.

httptools itself collects a head of any size, and uvicorn answers what it cannot parse in plain text. A connection that
is closed while the client still sends is reset, and the answer is lost on the way: so our side of it is closed, and
what still comes is thrown away for a while.
"""

from __future__ import annotations

import asyncio

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ingress.problems import Problem

__all__ = ["BoundedProtocol"]

HEAD_BYTES_MAX = 32 * 1024
_LINGER_SECONDS = 2.0
_LINGER_BYTES_MAX = 64 * 1024 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _in_head = True
    _lingering_bytes: int | None = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and look at what the head has come to."""
        if self._lingering_bytes is not None:
            self._lingering_bytes += len(data)
            if self._lingering_bytes > _LINGER_BYTES_MAX:
                self.transport.close()
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX and self._lingering_bytes is None:
            self._refuse(Problem(431, "headers_too_large", "The head of the request is too large."))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = _LingeringTransport(self)

    def on_message_complete(self) -> None:
        """The request has ended; what comes next is another head."""
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP request."""
        self._refuse(Problem.invalid("request_malformed", "This is no HTTP request that can be read."))

    def close_gently(self) -> None:
        """Close the connection, once the client has had the time to read where it is still sending."""
        reads_all = self._in_head and self._head_bytes == 0
        if reads_all or self.transport.is_closing():
            self.transport.close()
        elif self._lingering_bytes is None:
            self._lingering_bytes = 0
            self.transport.write_eof()
            self.flow.resume_reading()
            self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _refuse(self, problem: Problem) -> None:
        body = msgspec.json.encode(problem.body())
        head = {
            b"content-type": b"application/problem+json",
            b"content-length": str(len(body)).encode(),
            b"connection": b"close",
        }
        fields = b"".join(name + b": " + value + b"\r\n" for name, value in head.items())
        self.transport.write(STATUS_LINE[problem.status] + fields + b"\r\n" + body)
        self.close_gently()


class _LingeringTransport(asyncio.Transport):
    """The connection as a request's answer sees it: written to, and closed gently."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        self._protocol.transport.write(data)

    def close(self) -> None:
        """End the connection."""
        self._protocol.close_gently()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._protocol.transport.is_closing()
