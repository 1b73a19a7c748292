"""Shorthand for writing rows down: how most payments end, and a row for each route."""

from __future__ import annotations

from typing import Any

from tests.scenarios.rows import Row

__all__ = ["CANCELED", "HELD", "HOLD", "IN_DOUBT", "MANUAL", "PAID", "RPM", "SUCCEEDED", "both", "http", "iso"]

PAID = ("authorization succeeded", "capture succeeded")
IN_DOUBT = ("authorization failed outcome_unknown", "void (doubt) succeeded")
"""Nobody can say what became of the authorization, and the network has acknowledged its void."""

RPM, SUCCEEDED, CANCELED, HELD = "requires_payment_method", "succeeded", "canceled", "requires_capture"
MANUAL: dict[str, Any] = {"capture_method": "manual"}
HOLD = ("pay", "until requires_capture")


def http(name: str, history: tuple[str, ...], status: str, *steps: str, **more: Any) -> Row:
    """A row at the processor that speaks HTTP."""
    return _row(f"{name} (HTTP)", "cardnet", history, status, steps, more)


def iso(name: str, history: tuple[str, ...], status: str, *steps: str, **more: Any) -> Row:
    """A row at the processor that speaks ISO 8583."""
    return _row(f"{name} (ISO)", "isonet", history, status, steps, more)


def both(name: str, history: tuple[str, ...], status: str, *steps: str, **more: Any) -> Row:
    """A row whose route goes on from ISO 8583 to HTTP."""
    return _row(name, "isonet,cardnet", history, status, steps, more)


def _row(
    name: str, route: str, history: tuple[str, ...], status: str, steps: tuple[str, ...], more: dict[str, Any]
) -> Row:
    return Row(name=name, route=route, history=history, status=status, steps=steps or ("pay",), **more)
