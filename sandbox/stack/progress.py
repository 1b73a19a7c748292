"""What a person sees while a stack starts, runs and stops: coloured on a terminal, plain lines elsewhere.

Output is never worth a stack: when nobody reads it any more (a closed terminal, a broken pipe), it is dropped.
Driven by `stack` and `supervisor`; writes standard output and standard error.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TextIO, cast
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape

from sandbox.stack.description import Addresses

__all__ = ["Progress"]


class Progress:
    """Prints what happens to the parts of one stack."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._starting: list[str] = []
        self._console = Console(file=cast("IO[str]", _WhileRead(sys.stdout)), highlight=False, soft_wrap=True)
        self._status = self._console.status("") if self._console.is_terminal else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show_status("")

    def starting(self, name: str) -> None:
        self._starting.append(name)
        self._show_status(f"starting {', '.join(self._starting)}")

    def ready(self, name: str, *, seconds: float) -> None:
        if name in self._starting:
            self._starting.remove(name)
        self._print(f"  [green]✓[/] {name:<22} {seconds:5.1f} s")
        self._show_status(f"starting {', '.join(self._starting)}" if self._starting else "")

    def ended(self, name: str, *, status: int, restart_in_seconds: float) -> None:
        what = f"signal {-status}" if status < 0 else f"status {status}"
        self._print(f"  [yellow]![/] {name} ended ({what}); starting it again in {restart_in_seconds:.1f} s")

    def stopping(self, names: Sequence[str]) -> None:
        self._starting.clear()
        self._show_status("")
        self._print(f"stopping {', '.join(names)}")

    def stopped(self) -> None:
        self._show_status("")
        self._print("stopped")

    def all_ready(self, addresses: Addresses, *, answer: Path) -> None:
        """Say where everything is, and what to type."""
        self._show_status("")
        seconds = time.monotonic() - self._began
        places = {
            "ingress": addresses.ingress,
            "card network": addresses.card_network,
            "  ISO 8583": addresses.card_network_iso8583,
            "S3": addresses.s3,
            "Kafka": addresses.kafka,
            "PostgreSQL": addresses.postgres and _without_password(addresses.postgres),
        }
        for name, place in places.items():
            if place is not None:
                self._print(f"  {name:<14} {escape(place)}")
        self._print(f"everything answers after {seconds:.1f} s; Ctrl-C stops it")
        self._print("[bold green]ready[/]")
        if addresses.ingress is not None:
            self._print(escape(example(addresses.ingress, addresses.api_key, answer=answer)))

    def failed(self, message: str) -> None:
        """Say why the stack cannot run, on standard error."""
        self._show_status("")
        if sys.stderr is not None:
            with contextlib.suppress(OSError):
                print(message, file=sys.stderr, flush=True)

    def _print(self, text: str) -> None:
        self._console.print(text)
        self._console.file.flush()

    def _show_status(self, text: str) -> None:
        if self._status is None:
            return
        if text:
            self._status.update(f"[dim]{text}[/]")
            self._status.start()
        else:
            self._status.stop()


class _WhileRead(io.TextIOBase):
    """A text stream that drops what nobody reads; rich would end the process on a broken pipe."""

    encoding = "utf-8"

    def __init__(self, target: TextIO | None) -> None:
        self._target = target

    def write(self, text: str) -> int:
        if self._target is not None:
            try:
                # Also where the locale knows no tick.
                encoding = self._target.encoding or "utf-8"
                self._target.write(text.encode(encoding, "replace").decode(encoding))
            except OSError:
                self._target = None
        return len(text)

    def flush(self) -> None:
        if self._target is not None:
            try:
                self._target.flush()
            except OSError:
                self._target = None

    def isatty(self) -> bool:
        return self._target is not None and self._target.isatty()


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl()


def example(ingress: str, api_key: str, *, answer: Path) -> str:
    """Commands to paste: the first keeps its answer in a file, where the others find the id of the PaymentIntent."""
    authorization = f"-H 'Authorization: Bearer {api_key}'"
    post = f"{authorization} -H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s%N)\""
    intent = f"""{ingress}/paymentIntent/$(sed -nE 's/.*"id": ?"(pi_[^"]+)".*/\\1/p' {shlex.quote(str(answer))})"""
    create = """-d '{"amount": 1999, "currency": "usd", "capture_method": "automatic"}'"""
    pay = """-H 'Prefer: wait=10' -d '{"payment_method": "tok_visa"}'"""
    return "\n".join(
        (
            "# create a PaymentIntent",
            f"curl -sS -w '\\n' {ingress}/paymentIntent {post} {create} | tee {shlex.quote(str(answer))}",
            "# pay it with a test card",
            f"curl -sS -w '\\n' {intent}/transaction {post} {pay}",
            "# see where it stands",
            f"curl -sS -w '\\n' {intent}/status {authorization}",
        )
    )
