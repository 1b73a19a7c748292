"""Spans of time as people write them on a command line: `10m`, `24h`, `1d12h`."""

from __future__ import annotations

import re

import typer

__all__ = ["duration_text", "parse_duration"]

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PART = re.compile(r"([0-9]{1,9})([dhms])", re.ASCII)
_WHOLE = re.compile(r"(?:[0-9]{1,9}[dhms])+", re.ASCII)
_SECONDS_MAX = 100 * 366 * _SECONDS["d"]


def parse_duration(text: str) -> int:
    """The seconds of a span, at most a hundred years; raises typer.BadParameter, which is what a command line wants.

    >>> parse_duration("10m"), parse_duration("1d12h"), parse_duration("0s")
    (600, 129600, 0)
    """
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if not _WHOLE.fullmatch(text) or seconds > _SECONDS_MAX:
        raise typer.BadParameter("a span of time is written as 30s, 10m, 24h, 2d or 1d12h")
    return seconds


def duration_text(seconds: float) -> str:
    """A span in its two largest units, rounded down; below zero it is none.

    >>> duration_text(129_661), duration_text(59.9), duration_text(-3)
    ('1d12h', '59s', '0s')
    """
    left, parts = max(0, int(seconds)), []
    for unit, size in _SECONDS.items():
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts[:2]) or "0s"
