"""What counts as a card number in a text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.card_numbers import has_card_number


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "4242 - 4242 - 4242 - 4242",
        "4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2",
        "card:4242424242424242.",
        "(4242424242424242)",
        "tok_4242424242424242",
        "378282246310005",
        "3782 822463 10005",
        "5555555555554444",
        "2223003122003222",
        "6011111111111117",
        "4222222222222",
        "4000000000000000006",
        "4242 4242 4242 4242 12/27 123",
        "123 4242424242424242",
        "4242424242424242 4242",
        "４２４２４２４２４２４２４２４２",
        "4242\u00a04242\u00a04242\u00a04242",
        "4242–4242–4242–4242",
        "4242\t4242\t4242\t4242",
        "4242\n4242\r\n4242\v\f4242",
        "4242\x1f4242\u00854242\u20284242",
        "4242\u22124242\u20434242\u02d74242",
        "4242\u200b4242\u200b4242\u200b4242",
        "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢",
        "a 4242424242424242 z",
        "a1 4242424242424242",
    ],
)
def test_refused(text: str) -> None:
    assert has_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order 12345",
        "4242424242424241",
        "4242 4242 4242 4241",
        "1234567812345670",
        "7992739871300000",
        "424242424242",
        "42424242424242424242",
        "a4242424242424242",
        "4242424242424242a",
        "é4242424242424242",
        "4242.4242.4242.4242",
        "4242_4242_4242_4242",
        "4242/4242/4242/4242",
        "4242+4242+4242+4242",
        "tok_visa",
        "12 15 22 31 44 51 62 70 81",
    ],
)
def test_allowed(text: str) -> None:
    assert not has_card_number(text)


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    assert has_card_number(f"{text} 4242424242424242 {text}") or any(character.isdigit() for character in text)


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    began = time.perf_counter()
    for text in (
        "1 " * 32_000,
        "123 " * 16_000,
        "4" * 64_000,
        "1" + " " * 64_000 + "x",
        "1" + "\n" * 64_000,
        "４ " * 20_000,
    ):
        has_card_number(text)
    assert time.perf_counter() - began < 2
