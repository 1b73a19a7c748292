"""Which processors an attempt may go to, and whether the merchant may begin anything: as merchant administration says.

The route is the merchant's for the card's brand, else the merchant's for any other ("*"), else that of the settings. It
goes with the command, and so does whether the merchant is disabled: what is decided here is on record. Driven by
`payment_intents`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingress.metrics import Metrics
from ingress.ports import Merchants
from ingress.problems import Problem
from schemas.identifiers import MerchantId

__all__ = ["ANY_BRAND", "Routing"]

ANY_BRAND = "*"


class Routing:
    """What merchants may do, by a directory of theirs. `processors` are those that are configured here."""

    def __init__(
        self, merchants: Merchants, *, route: tuple[str, ...], processors: frozenset[str], metrics: Metrics
    ) -> None:
        self._merchants = merchants
        self._route = route
        self._processors = processors
        self._metrics = metrics

    def is_disabled(self, merchant_id: MerchantId) -> bool:
        """Whether the merchant may begin nothing new; raises the 503 Problem while that is not known.

        The fold refuses it, which knows what was begun before: that comes to its end, and is answered when asked again.
        """
        if not self._merchants.ready:
            raise Problem.unavailable("not_ready", "It is not known yet which merchants there are.")
        merchant = self._merchants.find(merchant_id)
        return merchant is not None and merchant.disabled

    def route(self, merchant_id: MerchantId, *, brand: str | None) -> tuple[str, ...]:
        """The processors for an attempt, in order of preference; without any the fold refuses it (`no_route`).

        `brand` is None where the card is not known, as it is with a token that stands for no test card.
        """
        merchant = self._merchants.find(merchant_id)
        routes: Mapping[str, tuple[str, ...]] = {} if merchant is None else merchant.routes
        wanted = routes.get(ANY_BRAND, self._route)
        if brand is not None:
            wanted = routes.get(brand, wanted)
        for name in wanted:
            if name not in self._processors:
                self._metrics.processors_skipped.labels(name).inc()
        return tuple(name for name in wanted if name in self._processors)
