"""The card network as its users meet it: a process on free ports, asked over HTTP (and ISO 8583: `iso_client`)."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

__all__ = ["NetworkProcess", "unique"]

_REPOSITORY = Path(__file__).parents[3]
_START_SECONDS_MAX = 20


def unique(prefix: str = "tx") -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NetworkProcess:
    """Starts, asks, kills. `options` go to the command line; a start after an end reuses port and ledger."""

    def __init__(self, database: Path, *options: str) -> None:
        self.database = database
        self.options = options
        self.port = free_port()
        self.iso_port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.base_url, timeout=10)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "NetworkProcess":
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)

    def start(self) -> None:
        command = [sys.executable, "-m", "sandbox.card_network", "--port", str(self.port)]
        command += ["--iso-port", str(self.iso_port)]
        environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
        self.process = subprocess.Popen(
            [*command, "--database", str(self.database), *self.options], env=environment, cwd=_REPOSITORY
        )
        deadline = time.monotonic() + _START_SECONDS_MAX
        while True:
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                assert self.process.poll() is None, "the card network ended at once"
            assert time.monotonic() < deadline, "the card network does not answer"
            time.sleep(0.02)

    def end(self, signal_number: signal.Signals) -> int:
        """Send the signal and wait for the end; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal_number)
        return self.process.wait(timeout=10)

    def authorization(self, token: str = "tok_visa", **changes: object) -> dict[str, object]:
        """The body of an authorization; `changes` replace fields."""
        return {
            "reference": unique(),
            "payment_intent": "pi_1",
            "amount_minor": 1999,
            "currency": "usd",
            "token": token,
            **changes,
        }

    def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        response = self.client.post(path, json=body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def authorize(self, token: str = "tok_visa", **changes: object) -> dict[str, Any]:
        return self.post("/authorizations", self.authorization(token, **changes))

    def capture(self, authorization_reference: str, **changes: object) -> dict[str, Any]:
        body: dict[str, object] = {
            "reference": unique(),
            "authorization_reference": authorization_reference,
            "payment_intent": "pi_1",
            "amount_minor": 1999,
            "currency": "usd",
        }
        return self.post("/captures", {**body, **changes})

    def void(self, authorization_reference: str, **changes: object) -> dict[str, Any]:
        body: dict[str, object] = {
            "reference": unique(),
            "authorization_reference": authorization_reference,
            "payment_intent": "pi_1",
        }
        return self.post("/voids", {**body, **changes})

    def look_up(self, reference: str) -> dict[str, Any] | None:
        response = self.client.get(f"/transactions/{reference}")
        if response.status_code == 404:
            assert response.json() == {"error": "not_found"}
            return None
        answer: dict[str, Any] = response.json()
        return answer

    def ledger(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.client.get("/ledger").json()
        return rows

    def row(self, reference: object) -> dict[str, Any] | None:
        """The ledger's row of one reference."""
        rows = [row for row in self.ledger() if row["reference"] == reference]
        assert len(rows) <= 1
        return rows[0] if rows else None
