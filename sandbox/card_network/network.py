"""The network itself: takes requests, lets faults happen, books, and says what the caller gets to see.

Writes the ledger through `writer`, reads it through a connection of its own; `decisions` holds the rules and `app`
speaks HTTP. Nothing here knows which protocol a request came in by.

A late request (tok_arrivesLate) is still on its way while it waits here: it lives in memory, and a network that ends
meanwhile never gets it. A void that is booked before it arrives refuses it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.card_network import decisions
from sandbox.card_network.booking import Booking, Hold, Kind
from sandbox.card_network.cards import CARDS, Arrival, Delivery
from sandbox.card_network.clock import AdvancingClock
from sandbox.card_network.decisions import Decision
from sandbox.card_network.faults import Dice
from sandbox.card_network.ledger import Books, Ledger
from sandbox.card_network.requests import (
    AuthorizationRequest,
    CaptureRequest,
    Request,
    is_same_request,
    kind_of,
)
from sandbox.card_network.writer import LedgerWriter

__all__ = ["CardNetwork", "Reply"]

Clock = Callable[[], int]


def clock_micros() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the caller gets: a booking, delivered in some way, or nothing; `reference_reused` if that is refused."""

    booking: Booking | None = None
    delivery: Delivery = Delivery.at_once
    reference_reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Booked:
    """`fresh`: this arrival was decided, not answered from the ledger. No booking: the reference was reused."""

    booking: Booking | None
    fresh: bool = False


class CardNetwork:
    """Lives on one event loop, between start() and stop()."""

    def __init__(
        self, ledger: Ledger, *, dice: Dice, deduplicates_authorizations: bool, clock: Clock = clock_micros
    ) -> None:
        self.ledger = ledger
        self.dice = dice
        self.deduplicates_authorizations = deduplicates_authorizations
        self.clock = self._clock = AdvancingClock(clock)
        self._writer = LedgerWriter(ledger)
        self._books = Books(ledger.connect())
        self._on_the_way: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._writer.start()

    async def stop(self) -> None:
        """Book what was accepted. Late requests that have not arrived are lost."""
        for task in self._on_the_way:
            task.cancel()
        await self._writer.stop()
        self._books.connection.close()

    @property
    def ready(self) -> bool:
        return self._writer.running

    def look_up(self, reference: str) -> Booking | None:
        return self._books.find(reference)

    def look_up_authorization(self, processor_reference: str) -> Booking | None:
        booking = self._books.find_by_processor_reference(processor_reference)
        return booking if booking is not None and booking.kind is Kind.authorization else None

    async def ask(self, request: Request) -> Reply:
        """One arrival of a request, with all that may befall it on its way."""
        fault = self.dice.throw(kind_of(request))
        await self._travel()
        if fault.loses_request:
            return Reply(delivery=fault.delivery or Delivery.hang)
        if isinstance(request, AuthorizationRequest):
            arrival = self._arrival_of(request)
            if arrival is Arrival.late:
                self._send_late(request)
            if arrival is not Arrival.at_once:
                return Reply(delivery=Delivery.hang)
        booked = await self._book(request, declined_by_fault=fault.declines)
        await self._travel()
        if booked.booking is None:
            return Reply(reference_reused=True)
        card = CARDS.get(booked.booking.token or "")
        delivery = card.delivery if card is not None and booked.fresh else Delivery.at_once
        return Reply(booking=booked.booking, delivery=fault.delivery or delivery)

    async def decide_challenge(self, processor_reference: str, *, passed: bool) -> tuple[Booking | None, bool]:
        """Close an open challenge; the authorization as it then stands, and whether it was this that decided it."""

        def job(books: Books) -> tuple[Booking | None, bool]:
            authorization = books.find_by_processor_reference(processor_reference)
            if authorization is None or authorization.hold is not Hold.challenged:
                return authorization, False
            decided = decisions.complete_challenge(authorization, passed=passed, at_micros=self._clock())
            books.replace(decided)
            return decided, True

        return await self._writer.submit(job)

    async def _travel(self) -> None:
        latency_seconds = self.dice.plan.latency_ms / 1000
        if latency_seconds:
            await asyncio.sleep(latency_seconds / 2)

    def _arrival_of(self, request: AuthorizationRequest) -> Arrival:
        """A card's special way is for an authorization that the network does not know; a repeat is simply answered."""
        card = CARDS.get(request.token)
        if card is None or card.arrival is Arrival.at_once:
            return Arrival.at_once
        if self.deduplicates_authorizations and self._books.find(request.reference) is not None:
            return Arrival.at_once
        return card.arrival

    def _send_late(self, request: AuthorizationRequest) -> None:
        async def arrive() -> None:
            await asyncio.sleep(self.dice.plan.late_seconds)
            await self._book(request, declined_by_fault=False)

        task = asyncio.create_task(arrive())
        self._on_the_way.add(task)
        task.add_done_callback(self._on_the_way.discard)

    async def _book(self, request: Request, *, declined_by_fault: bool) -> _Booked:
        def job(books: Books) -> _Booked:
            known = books.find(request.reference)
            if known is not None:
                return self._asked_again(books, known, request)
            decision = _decide(books, request, declined_by_fault=declined_by_fault, at_micros=self._clock())
            books.insert(decision.booking)
            if decision.authorization is not None:
                books.replace(decision.authorization)
            return _Booked(booking=decision.booking, fresh=True)

        return await self._writer.submit(job)

    def _asked_again(self, books: Books, known: Booking, request: Request) -> _Booked:
        if not is_same_request(request, known):
            return _Booked(booking=None)
        requests = books.count_request(known.reference)
        if known.kind is not Kind.authorization or self.deduplicates_authorizations:
            return _Booked(booking=known)
        second = decisions.hold_again(known, hold_number=requests, at_micros=self._clock())
        return _Booked(booking=second, fresh=True)


def _decide(books: Books, request: Request, *, declined_by_fault: bool, at_micros: int) -> Decision:
    if isinstance(request, AuthorizationRequest):
        booking = decisions.authorize(
            request,
            card=CARDS.get(request.token),
            voided_before_arrival=books.has_void_of(request.reference),
            declined_by_fault=declined_by_fault,
            at_micros=at_micros,
        )
        return Decision(booking=booking)
    found = books.find(request.authorization_reference)
    authorization = found if found is not None and found.kind is Kind.authorization else None
    if isinstance(request, CaptureRequest):
        return decisions.capture(
            request, authorization=authorization, declined_by_fault=declined_by_fault, at_micros=at_micros
        )
    return decisions.void(
        request, authorization=authorization, declined_by_fault=declined_by_fault, at_micros=at_micros
    )
