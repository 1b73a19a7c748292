"""uvicorn's HTTP/1.1 protocol with what it lacks: bounds on what a request has beside its body, on the requests that
wait and on the time of each step, refusals as problem documents, and an end of the connection that lets a client read
why it was refused.

httptools itself collects a head of any size, uvicorn waits for it for ever, takes trailers for headers, answers what it
cannot parse in plain text and ahead of its turn, and queues any number of requests. A connection that is closed while
the client still sends is reset, and the answer is lost on the way: so our side of it is closed, and what still comes is
thrown away for a while.
"""

from __future__ import annotations

import asyncio

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ingress.middleware import TOO_MANY_CONNECTIONS
from ingress.open_files import OVERFLOW
from ingress.problems import Problem

__all__ = ["BoundedProtocol"]

HEAD_BYTES_MAX = 32 * 1024
"""For a head, and again for all that surrounds a body: the lines between its chunks, and trailers."""
HEAD_FIELDS_MAX = 100
PIPELINED_MAX = 16
"""How many requests may wait for the answers to those before them."""
REQUEST_SECONDS_MAX = 10.0
"""How long a client may take for a head, from the connection's or the head's first byte on, then for the body, and for
taking an answer."""
_LINGER_SECONDS = 2.0
_LINGER_BYTES_MAX = 64 * 1024 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _in_head = True
    """Whether what comes next is of a head, or else of the body of the request in `cycle`."""
    _unexplained_bytes = 0
    """What came of a head that has not ended, or beside a body that has not ended."""
    _overdue: asyncio.TimerHandle | None = None
    """Set while something of a request is still to come, the first one included."""
    _not_taken: asyncio.TimerHandle | None = None
    """Set while the client leaves what we send."""
    _refusal: Problem | None = None
    """To be sent when all that was asked before it is answered."""
    _deaf = False
    """Whether all that comes is thrown away."""
    _thrown_away_bytes = 0
    _lingers = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection among the others, and wait for a request."""
        super().connection_made(transport)
        # What the system does not take at once is waited for, so that no connection holds more than one answer.
        transport.set_write_buffer_limits(high=0)
        self._limit_connections()
        self._await_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._await_nothing()
        self._await_taking(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and look at what the request has come to."""
        if self._deaf:
            self._thrown_away_bytes += len(data)
            if self._thrown_away_bytes > _LINGER_BYTES_MAX:
                self.transport.close()
            return
        self._unset_keepalive_if_required()
        self._unexplained_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            # A Problem is raised by the methods below, which the parser calls; all else is its own view.
            problem = error.__context__
            self._refuse(problem if isinstance(problem, Problem) else _malformed())
            return
        # Of the read in which a head ended, the body's bytes were subtracted without having been counted.
        self._unexplained_bytes = max(self._unexplained_bytes, 0)
        if self._unexplained_bytes > HEAD_BYTES_MAX:
            self._refuse(_too_large())
        elif self._overdue is None and (not self._in_head or self._unexplained_bytes > 0):
            self._await_rest()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field came; a trailer is nobody's."""
        if not self._in_head:
            return
        if len(self.headers) >= HEAD_FIELDS_MAX:
            raise _too_large()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head has ended."""
        # One that came in a single read was not counted.
        if len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers) > HEAD_BYTES_MAX:
            raise _too_large()
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise _malformed()
        # httptools would take the body for the next request.
        if self.parser.should_upgrade() and (b"content-length" in names or b"transfer-encoding" in names):
            raise _malformed()
        if len(self.pipeline) >= PIPELINED_MAX:
            raise Problem(429, "too_many_pipelined", "Too many requests came before the first of them was answered.")
        super().on_headers_complete()
        self.cycle.transport = _LingeringTransport(self)
        self._in_head = False
        self._unexplained_bytes = 0
        self._await_nothing()

    def on_body(self, body: bytes) -> None:
        """Something of the body came."""
        self._unexplained_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has ended; what comes next is another head."""
        self._in_head = True
        self._unexplained_bytes = 0
        self._await_nothing()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request is answered: the next one's turn, or the refusal's."""
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and self._refusal is not None:
            self._send(self._refusal)

    def pause_writing(self) -> None:
        """The client does not take what we send."""
        super().pause_writing()
        self._await_taking(True)

    def resume_writing(self) -> None:
        """The client has taken all."""
        self._await_taking(False)
        super().resume_writing()

    def close_gently(self) -> None:
        """Close the connection, once the client has had the time to read where it is still sending."""
        # What is queued behind an answer that ends the connection is not answered.
        self.pipeline.clear()
        reads_all = self._in_head and self._unexplained_bytes == 0 and not self._deaf
        if reads_all or self.transport.is_closing():
            self.transport.close()
        elif not self._lingers:
            self._lingers = self._deaf = True
            self.transport.write_eof()
            self.flow.resume_reading()
            self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _limit_connections(self) -> None:
        # uvicorn would refuse any request, also one over a connection that was there before there were too many.
        self.limit_concurrency = None
        connections, allowed = len(self.connections), self.config.limit_concurrency
        if allowed is not None and connections > allowed:
            self.app_state = {**self.app_state, TOO_MANY_CONNECTIONS: True}
            if connections > allowed * (1 + OVERFLOW):
                self.transport.abort()

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # Nothing else is spoken here. The request is answered as any other, and what follows it is the next.
                data = data[upgrade.args[0] :]
            else:
                return

    def _await_rest(self) -> None:
        self._overdue = self.loop.call_later(REQUEST_SECONDS_MAX, self._end_overdue)

    def _await_nothing(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _await_taking(self, awaited: bool) -> None:
        if self._not_taken is not None:
            self._not_taken.cancel()
        self._not_taken = self.loop.call_later(REQUEST_SECONDS_MAX, self.transport.abort) if awaited else None

    def _end_overdue(self) -> None:
        """What was to come did not come in time."""
        if self._in_head and self._unexplained_bytes > 0:
            self._refuse(Problem(408, "head_timeout", "The head of the request did not arrive in time."))
        elif self._is_busy():
            # For its body the application has its own limit of time.
            self._await_rest()
        else:
            self.close_gently()

    def _is_busy(self) -> bool:
        """Whether something is to be answered: requests are answered in turn, and `cycle` is the last."""
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, problem: Problem) -> None:
        """Take nothing more, and answer what came last with the problem, in its turn."""
        self._deaf = True
        self._await_nothing()
        if self._in_head and self._is_busy():
            self._refusal = problem
        elif self._in_head:
            self._send(problem)
        elif self.pipeline:
            self.pipeline.popleft()
            self._refusal = problem
        elif self.cycle.response_complete:
            self.close_gently()
        elif self.cycle.response_started:
            self.cycle.keep_alive = False
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._send(problem)

    def _send(self, problem: Problem) -> None:
        """Send the last answer, unless another one has ended the connection."""
        if self._lingers or self.transport.is_closing():
            return
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


def _malformed() -> Problem:
    return Problem.invalid("request_malformed", "This is no HTTP request that can be read.")


def _too_large() -> Problem:
    return Problem(431, "headers_too_large", "The request has too much beside its body.")
