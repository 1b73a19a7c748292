"""The network itself: takes requests, lets faults happen, books, and says what the caller gets to see.

Writes the ledger through `writer`, reads it through a connection of its own; `arrivals` recognises repeats and
`decisions` holds the rules. `app` speaks HTTP and `iso8583` the other protocol.

Its clock can be put forward, so that holds run out and settlement dates pass; it never goes back.

A late request (tok_arrivesLate) is still on its way while it waits here: it lives in memory, and a network that ends
meanwhile never gets it. A void that is booked before it arrives refuses it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.card_network import decisions
from sandbox.card_network.arrivals import Booked, IsoMessage, Rules, book
from sandbox.card_network.booking import Booking, Hold, Kind
from sandbox.card_network.cards import CARDS, Arrival, Delivery
from sandbox.card_network.faults import Dice, WireProtocol
from sandbox.card_network.ledger import Books, Ledger
from sandbox.card_network.requests import AuthorizationRequest, Request, kind_of
from sandbox.card_network.writer import LedgerWriter

__all__ = ["CardNetwork", "Reply"]

Clock = Callable[[], int]


def clock_micros() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the caller gets: a booking, delivered in some way, or nothing; `reference_reused` if that is refused.

    `later` is a request that is still on its way, and what is booked when it arrives: over HTTP the caller has gone by
    then, over ISO 8583 it is answered.
    """

    booking: Booking | None = None
    delivery: Delivery = Delivery.at_once
    reference_reused: bool = False
    later: "asyncio.Task[Booked] | None" = None


class CardNetwork:
    """Lives on one event loop, between start() and stop()."""

    def __init__(
        self, ledger: Ledger, *, dice: Dice, deduplicates_authorizations: bool, clock: Clock = clock_micros
    ) -> None:
        self.ledger = ledger
        self.dice = dice
        self.deduplicates_authorizations = deduplicates_authorizations
        self._machine_clock = clock
        self._ahead_micros = ledger.clock_ahead_micros()
        self._writer = LedgerWriter(ledger)
        self._books = Books(ledger.connect())
        self._on_the_way: set[asyncio.Task[Booked]] = set()

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

    def clock(self) -> int:
        """The network's time, in microseconds since 1970, UTC."""
        return self._machine_clock() + self._ahead_micros

    @property
    def ahead_seconds(self) -> int:
        """By how much its clock is ahead of the machine's."""
        return self._ahead_micros // 1_000_000

    async def advance_clock(self, micros: int) -> None:
        """Put the clock forward for good: it stays there after a restart."""
        self._ahead_micros += micros
        ahead_micros = self._ahead_micros
        await self._writer.submit(lambda books: books.set_clock(ahead_micros))

    async def adjust_settlement(self, processor: str, settlement_date: str, adjustment: bytes) -> None:
        """Note what is to be wrong in a settlement file."""
        await self._writer.submit(lambda books: books.adjust(processor, settlement_date, adjustment))

    def look_up(self, reference: str) -> Booking | None:
        return self._books.find(reference)

    def look_up_authorization(self, processor_reference: str) -> Booking | None:
        booking = self._books.find_by_processor_reference(processor_reference)
        return booking if booking is not None and booking.kind is Kind.authorization else None

    async def ask(self, request: Request, message: IsoMessage | None = None) -> Reply:
        """One arrival of a request, with all that may befall it on its way; `message` if it came by ISO 8583."""
        protocol = WireProtocol.http if message is None else WireProtocol.iso8583
        fault = self.dice.throw(kind_of(request), protocol)
        await self._travel()
        if fault.loses_request:
            return Reply(delivery=fault.delivery or Delivery.hang)
        if isinstance(request, AuthorizationRequest):
            arrival = self._arrival_of(request, deduplicates=self.deduplicates_authorizations and message is None)
            if arrival is not Arrival.at_once:
                later = self._send_late(request, message) if arrival is Arrival.late else None
                return Reply(delivery=Delivery.hang, later=later)
        booked = await self._book(request, message, declined_by_fault=fault.declines)
        await self._travel()
        if booked.booking is None:
            return Reply(reference_reused=True)
        card = CARDS.get(booked.token or "")
        delivery = card.delivery_of(booked.booking.kind) if card is not None and booked.fresh else Delivery.at_once
        return Reply(booking=booked.booking, delivery=fault.delivery or delivery)

    async def decide_challenge(self, processor_reference: str, *, passed: bool) -> tuple[Booking | None, bool]:
        """Close an open challenge; the authorization as it then stands, and whether it was this that decided it."""

        def job(books: Books) -> tuple[Booking | None, bool]:
            authorization = books.find_by_processor_reference(processor_reference)
            if authorization is None or authorization.hold is not Hold.challenged:
                return authorization, False
            decided = decisions.complete_challenge(authorization, passed=passed, at_micros=self.clock())
            books.replace(decided)
            return decided, True

        return await self._writer.submit(job)

    async def _travel(self) -> None:
        latency_seconds = self.dice.plan.latency_ms / 1000
        if latency_seconds:
            await asyncio.sleep(latency_seconds / 2)

    def _arrival_of(self, request: AuthorizationRequest, *, deduplicates: bool) -> Arrival:
        """A card's special way is for an authorization that the network does not know; a repeat is simply answered."""
        card = CARDS.get(request.token)
        if card is None or card.arrival is Arrival.at_once:
            return Arrival.at_once
        if deduplicates and self._books.find(request.reference) is not None:
            return Arrival.at_once
        return card.arrival

    def _send_late(self, request: AuthorizationRequest, message: IsoMessage | None) -> "asyncio.Task[Booked]":
        async def arrive() -> Booked:
            await asyncio.sleep(self.dice.plan.late_seconds)
            return await self._book(request, message, declined_by_fault=False)

        task = asyncio.create_task(arrive())
        self._on_the_way.add(task)
        task.add_done_callback(self._on_the_way.discard)
        return task

    async def _book(self, request: Request, message: IsoMessage | None, *, declined_by_fault: bool) -> Booked:
        rules = Rules(
            deduplicates_authorizations=self.deduplicates_authorizations,
            short_hold_seconds=self.dice.plan.short_hold_seconds,
            clock=self.clock,
        )
        return await self._writer.submit(
            lambda books: book(books, request, message, rules=rules, declined_by_fault=declined_by_fault)
        )
