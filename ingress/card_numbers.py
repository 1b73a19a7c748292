"""Whether a text holds a card number: nothing that the merchant sends may, because it would be kept for years.

The rule: a run of 13 to 19 digits that starts with 2 to 6 and passes Luhn, spaces and dashes aside, not touching a
letter or digit. Digits and dashes of any script count, and any white space, line ends too. A number that stands beside
other numbers ("4242 4242 4242 4242 12 27") is found too, where all its groups have at least three digits, as those on
cards do; without that limit any list of small numbers would be refused every now and then.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["has_card_number"]

_RUN = re.compile(r"[0-9](?:[\s-]*[0-9])*")
_GROUP = re.compile(r"[0-9]+")
_GROUP_LENGTH_MIN = 3
_LENGTHS = range(13, 20)
# Dashes to the eye that Unicode does not put among the dashes (Pd): modifiers, bullet, swung dash, minus signs.
_MORE_DASHES = frozenset("\u02d7\u2043\u2053\u207b\u208b\u2212\u2796")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def has_card_number(text: str) -> bool:
    """Whether the text holds a card number.

    >>> has_card_number("order 4242-4242 4242 4242"), has_card_number("a4242424242424242")
    (True, False)
    """
    plain = text if text.isascii() else "".join(map(_plain, text))
    return any(_is_card_number(digits) for run in _RUN.finditer(plain) for digits in _candidates(plain, run))


def _plain(character: str) -> str:
    """The ASCII digit or dash that a character stands for; any other character as it is."""
    decimal = unicodedata.decimal(character, None)
    if decimal is not None:
        return str(decimal)
    if character in _MORE_DASHES:
        return "-"
    return {"Pd": "-", "Cf": ""}.get(unicodedata.category(character), character)


def _candidates(text: str, run: re.Match[str]) -> Iterator[str]:
    """What in a run of digits, spaces and dashes may be a number of its own: the whole, and its long groups."""
    groups = list(_GROUP.finditer(text, run.start(), run.end()))
    if run.start() > 0 and text[run.start() - 1].isalpha():
        groups = groups[1:]
    if run.end() < len(text) and text[run.end()].isalpha():
        groups = groups[:-1]
    digits = [group[0] for group in groups]
    if len(digits) and sum(map(len, digits)) in _LENGTHS:
        yield "".join(digits)
    for first, group in enumerate(digits):
        if len(group) < _GROUP_LENGTH_MIN:
            continue
        number = ""
        for part in digits[first:]:
            number += part
            if len(part) < _GROUP_LENGTH_MIN or len(number) > _LENGTHS[-1]:
                break
            if len(number) in _LENGTHS:
                yield number


def _is_card_number(digits: str) -> bool:
    if digits[0] not in "23456":
        return False
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = ord(digit) - ord("0")
        total += _DOUBLED[value] if position % 2 else value
    return total % 10 == 0
