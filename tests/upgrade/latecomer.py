"""A client that comes when all is over: it wants payments canceled that have succeeded long ago.

A fold that has forgotten them says that it does not know them, and ingress has to answer from the read model. What was
asked and heard is a history like that of any client: an answer that denies the payment is found by the verdicts on it.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import httpx

from tests.chaos.history import Operation, Recorder

__all__ = ["Latecomer"]

_ANSWER_SECONDS = 60.0


class Latecomer:
    """One client; `addresses` has the ingress processes that serve at the moment."""

    def __init__(self, addresses: Path, history: TextIO) -> None:
        self._addresses = addresses
        self._recorder = Recorder(history)
        self._numbers = itertools.count(1)
        self._chance = random.Random(1)

    def ask(self, heard: Iterable[Operation], *, at_most: int) -> None:
        """Ask for the end of the payments that are known to have succeeded for longest."""
        succeeded = (shown["id"] for one in heard if (shown := _shown(one)).get("status") == "succeeded")
        for intent in itertools.islice(dict.fromkeys(succeeded), at_most):
            self._cancel(str(intent))

    def _cancel(self, intent: str) -> None:
        known = json.loads(self._addresses.read_text())
        number = next(self._numbers)
        asked = Operation(
            client="latecomer",
            number=number,
            method="POST",
            path=f"/paymentIntent/{intent}/cancel",
            key=f"late-{number}",
            body={},
            asked_at=time.monotonic(),
        )
        self._recorder.note(asked)
        answer = httpx.post(
            f"{self._chance.choice(known['ingress_processes'])}{asked.path}",
            json=asked.body,
            headers={"Authorization": f"Bearer {known['api_key']}", "Idempotency-Key": str(asked.key)},
            timeout=_ANSWER_SECONDS,
        )
        self._recorder.note(replace(asked, heard_at=time.monotonic(), status=answer.status_code, answer=answer.json()))


def _shown(one: Operation) -> dict[str, object]:
    """The PaymentIntent that an answer shows, or nothing."""
    if one.status not in (200, 201) or one.answer is None:
        return {}
    shown = one.answer.get("payment_intent", one.answer)
    return shown if isinstance(shown, dict) else {}
