"""Headers that say how long a client waits, and the examples in the documentation of the modules."""

from __future__ import annotations

import doctest
import time
from types import ModuleType

import pytest
from starlette.requests import Request

from ingress import card_numbers, keys
from ingress.requests import preferred_wait_seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=10"], 10),
        (["wait=0"], 0),
        (["wait=30"], 30),
        (["wait=31"], 30),
        (["wait=999999"], 30),
        (["WAIT=5"], 5),
        (["wait = 5"], 5),
        (['wait="5"'], 5),
        (["wait=5; foo=bar"], 5),
        (["respond-async, wait=5"], 5),
        (["respond-async", "wait=5"], 5),
        (["wait=5, wait=6"], 5),
        (["wait=5", "wait=6"], 5),
        (['foo="a, wait=6", wait=5'], 5),
        (['foo="a, wait=6, b"'], None),
        (["wait"], None),
        (["wait="], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=five"], None),
        (["wait=9999999999"], 30),
        (["wait=9999999999999999999999"], 30),
        ([f'wait="{"9" * 5000}"'], 30),
        ([f"wait={'0' * 5000}5"], 5),
        (["wait=000"], 0),
        (["await=5"], None),
        (["return=minimal"], None),
    ],
)
def test_prefer(headers: list[str], seconds: int | None) -> None:
    raw = [(b"prefer", header.encode()) for header in headers]
    assert preferred_wait_seconds(Request({"type": "http", "headers": raw})) == seconds


def test_a_long_preference_takes_no_longer_than_its_length() -> None:
    began = time.perf_counter()
    for header in ('"' + '\\"' * 16_000, '"' + '\\"' * 16_000 + "\\", '"' * 32_001, "wait=" + "0" * 32_000 + "x"):
        assert preferred_wait_seconds(Request({"type": "http", "headers": [(b"prefer", header.encode())]})) is None
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize("module", [card_numbers, keys])
def test_examples(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
