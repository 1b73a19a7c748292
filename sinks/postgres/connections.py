"""How connections are made: quick to fail, never left hanging, the same for writer and reader.

A connection is tuned after it is made and not by start-up options, which poolers refuse.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

from psycopg import Connection
from psycopg.conninfo import make_conninfo

__all__ = ["REST_TIMEOUT_SECONDS", "conninfo", "ending_silence", "session"]

REST_TIMEOUT_SECONDS = 5.0
_CONNECT_TIMEOUT_SECONDS = 2
# A peer that vanished without a word is noticed within about ten seconds, sending or waiting.
_VANISHED = {
    "keepalives": 1,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def conninfo(uri: str, *, application: str) -> str:
    """The connection string for a URI; raises psycopg.ProgrammingError where that is none."""
    return make_conninfo(
        uri, application_name=application, connect_timeout=_CONNECT_TIMEOUT_SECONDS, client_encoding="utf8", **_VANISHED
    )


def session(*, statement_timeout_seconds: float, lock_timeout_seconds: float) -> str:
    """The statement that tunes a new session.

    All that this package asks for is found by key, so hash and merge joins, sequential scans and compilation could only
    be mistakes of a planner whose statistics are stale: in a fresh database, or on a staging table, they always are.
    A transaction that rests is a process that was stopped in the middle of a write: the server ends it, and its locks.
    """
    values = {
        "statement_timeout": f"{statement_timeout_seconds * 1000:.0f}ms",
        "lock_timeout": f"{lock_timeout_seconds * 1000:.0f}ms",
        "idle_in_transaction_session_timeout": f"{REST_TIMEOUT_SECONDS * 1000:.0f}ms",
        "timezone": "UTC",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "enable_seqscan": "off",
        "jit": "off",
    }
    calls = [f"set_config('{name}', '{value}', false)" for name, value in values.items()]
    return f"SELECT {', '.join(calls)}"


@contextlib.contextmanager
def ending_silence(connection: Connection, *, seconds: float) -> Iterator[None]:
    """Whatever waits for an answer in here fails after so long: for a peer that keeps the connection and says nothing.

    A server's own time-outs do not come through such a peer (a pooler or a proxy that has lost the server, say), and
    to the kernel it is alive. Raises psycopg.OperationalError, in place of waiting for ever.
    """
    # A descriptor of its own: that of the connection may be another's by the time when this one is over.
    with socket.socket(fileno=os.dup(connection.fileno())) as own:
        timer = threading.Timer(seconds, _shut_down, (own,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _shut_down(own: socket.socket) -> None:
    with contextlib.suppress(OSError):
        own.shutdown(socket.SHUT_RDWR)
