"""What the endpoints work with, put together once: the ports of the outside world and what stands on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from ingress.client_secret import ClientSecretKey
from ingress.exchange import Exchange
from ingress.keys import Keyring
from ingress.look_ups import LookUps
from ingress.metrics import Metrics
from ingress.patience import Patience
from ingress.ports import Clock, CommandLog, EventLog, Merchants, ReadModel, ReplyTopic
from ingress.read_index import ReadIndex
from ingress.routing import Routing

__all__ = ["Dependencies", "Services"]


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """What the application is given."""

    log: CommandLog
    replies: ReplyTopic
    events: EventLog
    read_model: ReadModel
    merchants: Merchants
    keyring: Keyring
    client_secret_key: ClientSecretKey
    clock: Clock
    route: tuple[str, ...]
    """Processors for authorizations, in order of preference, where a merchant has no route of its own."""
    processors: frozenset[str]
    """Processors that are configured: routes lead to no others, and only their notifications are taken."""
    public_url: str
    """Base URL of this API as its clients know it."""
    metrics: Metrics = field(default_factory=Metrics)
    resources: Sequence[Callable[[], AbstractAsyncContextManager[object]]] = ()
    """Opened in this order when the application starts, closed in the other when it ends."""


class Services:
    """The dependencies and what is made of them."""

    def __init__(self, given: Dependencies) -> None:
        self.given = given
        self._patience = Patience()
        self.exchange = Exchange(log=given.log, replies=given.replies, events=given.events)
        self.routing = Routing(given.merchants, route=given.route, processors=given.processors, metrics=given.metrics)
        self.look_ups = LookUps(
            read_model=given.read_model, events=given.events, clock=given.clock, patience=self._patience
        )
        self.read_index = ReadIndex(
            read_model=given.read_model, events=given.events, metrics=given.metrics, patience=self._patience
        )

    def hurry(self) -> None:
        """The process is about to end: whoever waits, now or from now on, is answered with what is known."""
        self.exchange.hurry()
        self._patience.hurry()

    def status_url(self, payment_intent_id: str) -> str:
        """Where a PaymentIntent's status is read."""
        return f"{self.given.public_url}/paymentIntent/{payment_intent_id}/status"
