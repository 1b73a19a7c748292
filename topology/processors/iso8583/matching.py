"""Which call an answer belongs to: by response type, DE 7, 11, 32, 37 and 41, whatever connection it comes in on.

Used on the loop by the processor, which waits, and by the pool, which hands in what arrives. What nobody waits for is
counted and dropped; of a late answer to an authorization the approval code (DE 38) is kept for a while, for the
reversal that follows a time-out.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final, NamedTuple

from topology.processors.iso8583.answers import approval_code
from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.metrics import UNMATCHED
from topology.processors.iso8583.numbers import Trace
from topology.processors.iso8583.spec import AUTHORIZATION, answering

__all__ = ["Awaited", "Key", "Matching", "awaited_by"]

_LATE_MAX: Final = 20_000


class Key(NamedTuple):
    """By what an answer is told apart."""

    mti: str
    de7: str | None
    de11: str | None
    de32: str | None
    de37: str | None
    de41: str | None


Awaited = asyncio.Future[Message]


def awaited_by(request: Message) -> Key:
    """The key of a request's answer."""
    return _key(answering(request.mti), request)


def _key(mti: str, message: Message) -> Key:
    return Key(mti, message.get(7), message.get(11), message.get(32), message.get(37), message.get(41))


class Matching:
    """The calls of one processor that wait for their answers."""

    def __init__(self, processor: str, *, late_max: int = _LATE_MAX) -> None:
        self._processor = processor
        self._awaited: dict[Key, Awaited] = {}
        self._late: OrderedDict[Key, str | None] = OrderedDict()
        self._late_max = late_max

    def __len__(self) -> int:
        return len(self._awaited)

    def await_answer(self, key: Key) -> Awaited | None:
        """A place to wait in; None while another call waits for this very answer."""
        if key in self._awaited:
            return None
        awaited: Awaited = asyncio.get_running_loop().create_future()
        self._awaited[key] = awaited
        return awaited

    def forget(self, key: Key) -> None:
        """Nobody waits for this answer any more."""
        del self._awaited[key]

    def remember(self, key: Key) -> None:
        """An authorization has timed out: should its answer come late, its approval code is wanted."""
        self._late[key] = None
        if len(self._late) > self._late_max:
            self._late.popitem(last=False)

    def arrived(self, message: Message) -> None:
        """Hand a message to whoever waits for it."""
        key = _key(message.mti, message)
        awaited = self._awaited.get(key)
        if awaited is not None and not awaited.done():
            awaited.set_result(message)
            return
        late = key in self._late
        if late:
            self._late[key] = approval_code(message) or self._late[key]
        UNMATCHED.labels(self._processor, "late" if late else "nobody").inc()

    def late_approval_code(self, authorization: Trace, *, acquirer_id: str, terminal_id: str) -> str | None:
        """DE 38 of an authorization whose approval came after its time-out, if it came while we remembered."""
        mti = answering(AUTHORIZATION)
        key = Key(mti, authorization.de7, authorization.de11, acquirer_id, authorization.de37, terminal_id)
        return self._late.get(key)
