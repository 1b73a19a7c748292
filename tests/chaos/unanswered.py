"""Captures that the card network carries out and never answers, so that nothing but their settlement line decides them.

By ISO 8583: there is no look-up that could tell of them. They are asked again and again, and never answered either,
until the line has come. Driven by `settling`; what is asked is put on record beside the histories of the clients.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import psycopg

from tests.chaos.client import Client
from tests.chaos.history import Recorder
from tests.chaos.processes import until
from tests.harness.stack import RunningStack

__all__ = ["PAYMENTS", "await_doubt", "leave_unanswered"]

PAYMENTS = 3
_MERCHANT = "mer_iso8583"
_NETWORK_SECONDS = 30.0
# By far longer than a call may take.
_IN_DOUBT_WITHIN_SECONDS = 20.0
_LOOK_EVERY_SECONDS = 0.3
_NO_CAPTURE_IS_ANSWERED = {
    "kinds": ["capture"],
    "timeout_rate": 1.0,
    "lost_request_share": 0.0,
    **dict.fromkeys(("reset_rate", "duplicate_rate", "iso_doubt_rate"), 0.0),
}
_IN_DOUBT = "SELECT count(*) FROM transactions WHERE type = 'capture' AND status = 'pending'"


def leave_unanswered(stack: RunningStack, history: Path, *, seed: int) -> None:
    """From here on no capture is answered: pay so that some are asked for."""
    httpx.post(
        f"{stack.card_network}/faults", json=_NO_CAPTURE_IS_ANSWERED, timeout=_NETWORK_SECONDS
    ).raise_for_status()
    with history.open("a") as file:
        client = Client(
            stack.directory / "stack.json", Recorder(file), name=history.stem, seed=seed, merchant=_MERCHANT
        )
        asyncio.run(client.pay_plainly(PAYMENTS))


def await_doubt(stack: RunningStack) -> None:
    """Wait until so many captures are pending, if they ever are."""
    until(
        lambda: _in_doubt(stack) >= PAYMENTS,
        seconds=_IN_DOUBT_WITHIN_SECONDS,
        look_every_seconds=_LOOK_EVERY_SECONDS,
    )


def _in_doubt(stack: RunningStack) -> int:
    with contextlib.suppress(psycopg.Error), psycopg.connect(stack.postgres, connect_timeout=5) as database:
        row = database.execute(_IN_DOUBT).fetchone()
        return int(row[0]) if row is not None else 0
    return 0
