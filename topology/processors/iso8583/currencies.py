"""The numbers of currencies, for DE 49: those of ISO 4217 List One, as the `iso4217` package carries the table."""

from __future__ import annotations

from typing import Final

from iso4217 import raw_table

from schemas.money import CURRENCIES

__all__ = ["NUMERIC", "by_number"]


def _numbers() -> dict[str, str]:
    known = {code.lower(): entry["CcyNbr"] for code, entry in raw_table.items() if code}
    return {code: f"{known[code]:03}" for code in CURRENCIES if known.get(code) is not None}


NUMERIC: Final = _numbers()
"""Three digits for each currency, by its lower-case code. One that is not here has no number that we know of."""

_ALPHABETIC: Final = {number: code for code, number in NUMERIC.items()}


def by_number(number: str) -> str | None:
    """The lower-case code of a currency's number.

    >>> by_number("840"), by_number("000")
    ('usd', None)
    """
    return _ALPHABETIC.get(number)
