"""Money: an amount in minor units together with its ISO 4217 currency, never one without the other.

The exponents are those of ISO 4217 (List One): `usd` has 2 decimals, `jpy` none, `kwd` 3.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CURRENCIES", "Money", "UnknownCurrency", "exponent"]

_TWO_DECIMALS = """
aed afn all amd aoa ars aud awg azn bam bbd bdt bmd bnd bob bov brl bsd btn bwp byn bzd cad cdf che chf chw cny cop
cou crc cup cve czk dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gtq gyd hkd hnl htg huf idr ils inr irr
jmd kes kgs khr kpw kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mru mur mvr mwk mxn mxv myr mzn nad ngn
nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sdg sek sgd shp sle sos srd ssp stn svc syp szl
thb tjs tmt top try ttd twd tzs uah usd usn uyu uzs ved ves wst xad xcd xcg yer zar zmw zwg
"""
_NO_DECIMALS = "bif clp djf gnf isk jpy kmf krw pyg rwf ugx uyi vnd vuv xaf xof xpf"
_THREE_DECIMALS = "bhd iqd jod kwd lyd omr tnd"
_FOUR_DECIMALS = "clf uyw"

CURRENCIES: dict[str, int] = {
    currency: decimals
    for decimals, listed in ((2, _TWO_DECIMALS), (0, _NO_DECIMALS), (3, _THREE_DECIMALS), (4, _FOUR_DECIMALS))
    for currency in listed.split()
}
"""The exponent of each currency, by its lower-case ISO 4217 code."""


class UnknownCurrency(ValueError):
    """The text is no lower-case ISO 4217 currency."""


def exponent(currency: str) -> int:
    """How many decimals the currency has; raises UnknownCurrency.

    >>> exponent("jpy"), exponent("usd"), exponent("kwd")
    (0, 2, 3)
    """
    try:
        return CURRENCIES[currency]
    except KeyError:
        raise UnknownCurrency("not a lower-case ISO 4217 currency") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """An amount in minor units of a currency.

    >>> print(Money(amount_minor=1050, currency="usd"))
    10.50 usd
    >>> print(Money(amount_minor=500, currency="jpy"))
    500 jpy
    >>> Money(amount_minor=1, currency="usd") + Money(amount_minor=2, currency="eur")
    Traceback (most recent call last):
    ValueError: usd and eur do not add up
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise TypeError("amount_minor is a whole number of minor units")
        exponent(self.currency)

    def _comparable(self, other: Money) -> None:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not add up")

    def __add__(self, other: Money) -> Money:
        self._comparable(other)
        return Money(amount_minor=self.amount_minor + other.amount_minor, currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        self._comparable(other)
        return Money(amount_minor=self.amount_minor - other.amount_minor, currency=self.currency)

    def __str__(self) -> str:
        decimals = exponent(self.currency)
        sign = "-" if self.amount_minor < 0 else ""
        digits = str(abs(self.amount_minor)).rjust(decimals + 1, "0")
        whole, fraction = (digits[:-decimals], "." + digits[-decimals:]) if decimals else (digits, "")
        return f"{sign}{whole}{fraction} {self.currency}"
