"""What happens to a request when it arrives: recognised as a repeat or decided, and booked.

Runs inside a transaction of the ledger's writer (`network` submits it); reads and writes the books. How a repeat is
recognised depends on the protocol:

| | a repeat is | another request under the same reference |
|---|---|---|
| HTTP | the same body under the same reference | refused |
| ISO 8583 | a message with the same trace | an authorization: a second hold; a capture or reversal: refused |

On ISO 8583 an authorization is never recognised as a repeat, whatever its trace: asked twice, it holds twice. A capture
or reversal names its authorization by that one's trace. One that nobody knows is named by the trace itself, so that an
authorization that comes after its reversal finds it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from sandbox.card_network import decisions
from sandbox.card_network.booking import HTTP_PROCESSOR, ISO_PROCESSOR, Booking, Kind
from sandbox.card_network.cards import CARDS
from sandbox.card_network.decisions import Decision
from sandbox.card_network.ledger import Books
from sandbox.card_network.requests import AuthorizationRequest, CaptureRequest, Request, is_same_request, kind_of
from sandbox.card_network.traces import Original, Trace

__all__ = ["Booked", "IsoMessage", "Rules", "book"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IsoMessage:
    """What the ISO 8583 link says about a request besides. `original` is the authorization of a capture or reversal."""

    trace: Trace
    merchant: str | None = None
    original: Original | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """`fresh`: this arrival was decided, not answered from the ledger. No booking: the reference was reused."""

    booking: Booking | None
    token: str | None = None
    """Of the card whose money it is about, where that is known."""
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the network is set to."""

    deduplicates_authorizations: bool
    short_hold_seconds: float
    clock: Callable[[], int]


def book(
    books: Books, request: Request, message: IsoMessage | None, *, rules: Rules, declined_by_fault: bool
) -> Booked:
    """One arrival."""
    if message is None:
        known = books.find(request.reference)
        if known is not None:
            return _asked_again(books, known, request, rules, deduplicates=rules.deduplicates_authorizations)
        return _decide(books, request, None, rules=rules, declined_by_fault=declined_by_fault)
    kind = kind_of(request)
    same_trace = books.reference_of(kind, message.trace)
    if same_trace is not None and same_trace != request.reference:
        return Booked(booking=None)
    known = books.find(request.reference)
    if known is not None:
        if same_trace is None:
            if kind is not Kind.authorization or known.kind is not kind:
                return Booked(booking=None)
            books.note_message(kind, message.trace, request.reference)
        return _asked_again(books, known, _like(request, known), rules, deduplicates=False)
    if message.original is not None:
        original = books.reference_of_original(message.original)
        assert not isinstance(request, AuthorizationRequest)
        request = msgspec.structs.replace(request, authorization_reference=original or message.original.name)
    books.note_message(kind, message.trace, request.reference)
    return _decide(books, request, message, rules=rules, declined_by_fault=declined_by_fault)


def _like(request: Request, known: Booking) -> Request:
    """The request with its authorization named as the booking has it: what its trace meant may be known by now."""
    if isinstance(request, AuthorizationRequest) or known.authorization_reference is None:
        return request
    return msgspec.structs.replace(request, authorization_reference=known.authorization_reference)


def _asked_again(books: Books, known: Booking, request: Request, rules: Rules, *, deduplicates: bool) -> Booked:
    if not is_same_request(request, known):
        return Booked(booking=None)
    requests = books.count_request(known.reference)
    if known.kind is not Kind.authorization or deduplicates:
        return Booked(booking=known)
    second = decisions.hold_again(known, hold_number=requests, at_micros=rules.clock())
    return Booked(booking=second, token=known.token, fresh=True)


def _decide(
    books: Books, request: Request, message: IsoMessage | None, *, rules: Rules, declined_by_fault: bool
) -> Booked:
    decision, token = _decision(books, request, message, rules=rules, declined_by_fault=declined_by_fault)
    booking = decision.booking
    if message is None:
        booking = replace(booking, processor=HTTP_PROCESSOR)
    else:
        booking = replace(
            booking,
            processor=ISO_PROCESSOR,
            processor_reference=message.trace.retrieval,
            merchant=message.merchant,
        )
    books.insert(booking)
    if decision.authorization is not None:
        books.replace(decision.authorization)
    return Booked(booking=booking, token=token, fresh=True)


def _decision(
    books: Books, request: Request, message: IsoMessage | None, *, rules: Rules, declined_by_fault: bool
) -> tuple[Decision, str | None]:
    """What is decided, and the token of the card that it is about."""
    at_micros = rules.clock()
    if isinstance(request, AuthorizationRequest):
        voided = books.has_void_of(request.reference)
        if message is not None:
            voided = voided or books.has_void_of(message.trace.original.name)
        booking = decisions.authorize(
            request,
            card=CARDS.get(request.token),
            voided_before_arrival=voided,
            declined_by_fault=declined_by_fault,
            at_micros=at_micros,
            short_hold_seconds=rules.short_hold_seconds,
            can_challenge=message is None,
        )
        return Decision(booking=booking), request.token
    found = books.find(request.authorization_reference)
    authorization = found if found is not None and found.kind is Kind.authorization else None
    token = authorization.token if authorization is not None else None
    if isinstance(request, CaptureRequest):
        return decisions.capture(
            request, authorization=authorization, declined_by_fault=declined_by_fault, at_micros=at_micros
        ), token
    return decisions.void(
        request, authorization=authorization, declined_by_fault=declined_by_fault, at_micros=at_micros
    ), token
