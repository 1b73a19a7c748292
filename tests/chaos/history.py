"""What clients asked and heard: one line of JSON per operation, written before it is asked and when it is answered.

A line without an answer is an operation of which the client knows nothing: it may have been carried out or not.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO

__all__ = ["Operation", "Progress", "Recorder", "read_history"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One request. Times are seconds of the one steady clock of this machine."""

    client: str
    number: int
    method: str
    path: str
    key: str | None
    body: Json | None
    asked_at: float
    heard_at: float | None = None
    status: int | None = None
    answer: Json | None = None
    is_replay: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the client heard something that says what came of it: neither silence, nor 202, nor 503."""
        return self.status is not None and self.status not in (202, 408, 429) and self.status < 500

    @property
    def intent(self) -> str | None:
        """The PaymentIntent that it is about, where its path says so."""
        parts = self.path.split("/")
        return parts[2] if len(parts) > 2 and parts[1] == "paymentIntent" else None

    @property
    def kind(self) -> str | None:
        """What a POST asks for: create, pay, capture, void or cancel."""
        if self.path == "/paymentIntent":
            return "create"
        if self.path.endswith("/cancel"):
            return "cancel"
        if self.path.endswith("/transaction"):
            return str((self.body or {}).get("type", "pay"))
        return None


_FIELDS = tuple(field.name for field in fields(Operation))


class Recorder:
    """Appends operations to a file, each as soon as it is known."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def note(self, operation: Operation) -> None:
        """An operation that is about to be asked, or has been answered."""
        self._file.write(json.dumps({name: getattr(operation, name) for name in _FIELDS}) + "\n")
        self._file.flush()


class Progress:
    """Whether clients get anywhere, from what they note in their files."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._read = dict.fromkeys(files, 0)

    def __call__(self) -> bool:
        """Whether anything was created or paid since the last time that this was asked."""
        made = 0
        for file, offset in self._read.items():
            with contextlib.suppress(FileNotFoundError), file.open("rb") as content:
                content.seek(offset)
                new = content.read()
                made += new.count(b'"status": 201')
                self._read[file] = offset + len(new)
        return made > 0


def read_history(files: Iterable[Path]) -> list[Operation]:
    """All operations of all clients, the last word on each, in the order in which they were asked.

    The last line of a client that was killed may be cut short; it is what the client never knew.
    """
    found: dict[tuple[str, int], Operation] = {}
    for file in files:
        for line in file.read_text().splitlines():
            try:
                operation = Operation(**json.loads(line))
            except json.JSONDecodeError:
                continue
            found[operation.client, operation.number] = operation
    return sorted(found.values(), key=lambda operation: operation.asked_at)
