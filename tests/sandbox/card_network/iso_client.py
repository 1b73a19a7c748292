"""A small caller of the ISO 8583 link: one connection, blocking, that writes down what it is told to."""

from __future__ import annotations

import itertools
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

import iso8583
from iso8583.specs import default_ascii

__all__ = ["ACQUIRER", "Answer", "IsoClient", "authorization", "capture", "original_of", "reversal"]

ACQUIRER = "424242"
TERMINAL = "PAYSTRM1"
_traces = itertools.count(1)
Elements = dict[int, str]


@dataclass(frozen=True)
class Answer:
    """One answer: its type and its data elements."""

    mti: str
    elements: Mapping[int, str]

    @property
    def code(self) -> str:
        """DE 39."""
        return self.elements[39]

    @property
    def told(self) -> tuple[str, str | None]:
        """DE 39 and DE 44."""
        return self.code, self.elements.get(44)


def trace() -> Elements:
    """What names a message: another one at each call."""
    now = time.gmtime()
    return {
        7: time.strftime("%m%d%H%M%S", now),
        11: f"{next(_traces):06}",
        32: ACQUIRER,
        37: uuid.uuid4().hex[:12].upper(),
        41: TERMINAL,
    }


def authorization(token: str = "tok_visa", *, amount: int = 1999, **changes: str) -> Elements:
    """The elements of a 0100; `changes` by name, as `e49="978"`."""
    now = time.gmtime()
    elements = {
        3: "000000",
        4: f"{amount:012}",
        **trace(),
        12: time.strftime("%H%M%S", now),
        13: time.strftime("%m%d", now),
        22: "810",
        25: "59",
        42: "mer_demo       ",
        48: token,
        49: "840",
        62: f"tx_{uuid.uuid4().hex}",
        63: "pi_1",
    }
    return _changed(elements, changes)


def original_of(asked: Elements) -> str:
    """DE 90 of what is about the authorization that was asked."""
    return "0100" + asked[11] + asked[7] + asked[32].zfill(11) + "0" * 11


def capture(asked: Elements, *, amount: int = 1999, **changes: str) -> Elements:
    """The elements of a 0220 for an authorization."""
    elements = {
        3: "000000",
        4: f"{amount:012}",
        **trace(),
        42: asked[42],
        49: asked[49],
        62: f"tx_{uuid.uuid4().hex}",
        63: asked[63],
        90: original_of(asked),
    }
    return _changed(elements, changes)


def reversal(asked: Elements, *, remaining: int | None = None, **changes: str) -> Elements:
    """The elements of a 0400 for an authorization; with `remaining`, of a partial one."""
    elements = {3: "000000", 4: asked[4], **trace(), 42: asked[42], 49: asked[49]}
    elements |= {62: f"tx_{uuid.uuid4().hex}", 63: asked[63], 90: original_of(asked)}
    if remaining is not None:
        elements[95] = f"{remaining:012}" + "0" * 30
    return _changed(elements, changes)


def _changed(elements: Elements, changes: Mapping[str, str]) -> Elements:
    return {**elements, **{int(name[1:]): value for name, value in changes.items()}}


class IsoClient:
    """A connection, signed on unless told otherwise."""

    def __init__(self, port: int, *, signs_on: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        if signs_on:
            assert self.manage("001").code == "00"

    def __enter__(self) -> IsoClient:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, mti: str, elements: Elements) -> None:
        """One frame."""
        message, _ = iso8583.encode({"t": mti, **{str(k): v for k, v in elements.items()}}, default_ascii)
        self.socket.sendall(len(message).to_bytes(2, "big") + message)

    def receive(self) -> Answer:
        """The next answer; ConnectionError at the end of the connection, TimeoutError where none comes."""
        length = int.from_bytes(self._read(2), "big")
        decoded, _ = iso8583.decode(self._read(length), default_ascii)
        return Answer(decoded["t"], {int(k): v for k, v in decoded.items() if k not in ("h", "t", "p", "1")})

    def ask(self, mti: str, elements: Elements) -> Answer:
        """Send, and take the answer that comes next."""
        self.send(mti, elements)
        return self.receive()

    def manage(self, function: str) -> Answer:
        """A 0800."""
        return self.ask("0800", {7: "1020120000", 11: f"{next(_traces):06}", 32: ACQUIRER, 70: function})

    def hears_nothing(self, *, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10)

    def is_closed(self) -> bool:
        """Whether the host closes the connection, without a word."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise ConnectionError("the host has closed the connection")
            data += chunk
        return data
