"""Compares a payment as it ended with what the simulated card network has in its books of it. Pure.

Takes a PaymentIntent (from wherever somebody sees it: topics, API, Postgres) and the network's bookings of it, and
says each promise that is broken, by its name. The network's books are the outside truth: who was charged, what is
held, what was released. Whatever ended here without success has to be borne out by them:

| ended here | the books have |
|---|---|
| an authorization `failed`, never sent and never in doubt | nothing of it |
| an authorization `declined` | its decline; over another amount: that approval, and its void |
| any other authorization | the void that closed it |
| a capture or a void | its refusal |
| anything at the end of the longest hold (`hold_ended`) | no money held any more |

Driven by the scenario tests and by `bench.doubt`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from sandbox.card_network.booking import HOLD_SECONDS, ISO_PROCESSOR, Hold, Kind, Status
from schemas.identifiers import TransactionId
from schemas.payment import (
    ActorType,
    PaymentEvent,
    PaymentIntent,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
)
from schemas.times import to_datetime

__all__ = [
    "NOT_SENT",
    "Booked",
    "BrokenPromise",
    "Promise",
    "audit",
    "by_payment",
    "doubted_in",
    "ledger_of",
    "resolved_in",
]

NOT_SENT = frozenset(
    {
        "abandoned",
        "adapter_failed",
        "amount_not_representable",
        "circuit_open",
        "currency_not_representable",
        "expired_before_send",
        "no_connection",
        "not_sent",
        "numbers_missing",
        "payment_method_unusable",
        "processor_not_configured",
        "send_before_passed",
        "stopping",
        "too_many_waiting",
    }
)
"""The codes of an authorization that never left. Written down here: what is audited is not asked what it may say."""

_AMOUNT_NOT_APPROVED = "amount_not_approved"
_HOLD_ENDED = "hold_ended"
_OPEN = frozenset({TransactionStatus.created, TransactionStatus.requires_action, TransactionStatus.pending})
_JUDGED = (TransactionType.authorization, TransactionType.capture, TransactionType.void)


class Promise(StrEnum):
    """What is promised, by the name of its breach."""

    charged_twice = "charged_twice"
    undecided = "undecided"
    failed_without_evidence = "failed_without_evidence"
    """Something ended without success here, which the network's books do not bear out."""
    other_amount = "other_amount"
    """Money was taken or held over another amount or currency than Paystream says."""
    not_in_their_books = "not_in_their_books"
    """Something succeeded here that the network did not approve."""
    not_in_ours = "not_in_ours"
    """The network booked what Paystream knows nothing of."""
    held_for_nobody = "held_for_nobody"
    """The network holds money that nobody here can capture, and that nothing releases."""
    held_twice = "held_twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPromise:
    """A promise that is broken, of which payment, and how."""

    promise: Promise
    payment_intent: str
    how: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.payment_intent} {self.how}"


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the network's ledger, as GET /ledger gives it. A void of what never came has no amount."""

    reference: str
    payment_intent: str
    type: Kind
    status: Status
    amount_minor: int | None
    currency: str | None
    at: datetime
    requests: int
    processor: str
    hold: Hold | None = None
    capture_before: datetime | None = None

    @property
    def is_approved(self) -> bool:
        return self.status is Status.approved

    def is_held(self, now: datetime) -> bool:
        """Whether the money of an authorization is held at that moment of the network's time."""
        return self.hold is Hold.held and (self.capture_before is None or now < self.capture_before)


def ledger_of(content: bytes) -> list[Booked]:
    """The body of GET /ledger."""
    return msgspec.json.decode(content, type=list[Booked])


def by_payment(ledger: Sequence[Booked]) -> Mapping[str, Sequence[Booked]]:
    """The bookings of each PaymentIntent."""
    found: defaultdict[str, list[Booked]] = defaultdict(list)
    for booked in ledger:
        found[booked.payment_intent].append(booked)
    return found


def resolved_in(events: Iterable[PaymentEvent]) -> frozenset[TransactionId]:
    """The Transactions that a person has decided."""
    return frozenset(
        event.transaction.id
        for event in events
        if event.actor.type is ActorType.operator and event.transaction is not None
    )


def doubted_in(events: Iterable[PaymentEvent]) -> frozenset[TransactionId]:
    """The Transactions that have ever been in doubt, whatever became of them."""
    return frozenset(
        one.id
        for event in events
        for one in event.payment_intent.transactions
        if one.status is TransactionStatus.pending
    )


def audit(
    intent: PaymentIntent,
    bookings: Sequence[Booked],
    *,
    now: datetime,
    resolved: Collection[TransactionId] = (),
    doubted: Collection[TransactionId] = (),
) -> Iterator[BrokenPromise]:
    """Every promise that is broken in the end state of a payment; `bookings` are those of this payment.

    `now` is the network's time, by which holds run out. `resolved` are the Transactions that a person has decided, on
    record: that is evidence as well. Of one that was ever `doubted` nobody may say that it was never sent; the state
    does not show all of these, the events do.
    """
    books = {booked.reference: booked for booked in bookings}
    ours = {one.id: one for one in intent.transactions if one.type in _JUDGED}

    def broken(promise: Promise, how: str) -> BrokenPromise:
        return BrokenPromise(promise=promise, payment_intent=intent.id, how=how)

    captures = [one for one in bookings if one.type is Kind.capture and one.is_approved]
    if len(captures) > 1:
        yield broken(Promise.charged_twice, f"by {sorted(one.reference for one in captures)}")
    taken = sum(one.amount_minor or 0 for one in captures)
    if taken != intent.amount_received_minor:
        yield broken(Promise.other_amount, f"received {intent.amount_received_minor}, the network took {taken}")
    for reference in sorted(books.keys() - ours.keys()):
        yield broken(Promise.not_in_ours, f"has no {books[reference].type} {reference}")
    if intent.status is PaymentIntentStatus.processing:
        yield broken(Promise.undecided, "is processing")
    for one in ours.values():
        if one.status in _OPEN:
            yield broken(Promise.undecided, f"has the {one.type} {one.id} {one.status}")
        elif one.status is TransactionStatus.succeeded:
            yield from (broken(promise, how) for promise, how in _of_success(one, books.get(one.id)))
        elif one.id not in resolved and not _Evidence(ours, books, now).proves(one, was_in_doubt=one.id in doubted):
            yield broken(Promise.failed_without_evidence, f"has the {one.type} {one.id} {one.status} ({one.code})")
    yield from (broken(promise, how) for promise, how in _of_holds(intent, ours, bookings, now))


def _of_success(one: Transaction, booked: Booked | None) -> Iterator[tuple[Promise, str]]:
    """What succeeded here was approved there, over the same amount; a void takes the amount as it finds it."""
    if booked is None or not booked.is_approved:
        yield Promise.not_in_their_books, f"has the {one.type} {one.id} succeeded, which the network did not approve"
    elif booked.type.value != one.type.value:
        yield Promise.not_in_their_books, f"has the {one.type} {one.id}, which the network booked as a {booked.type}"
    elif one.type is not TransactionType.void and (booked.amount_minor, booked.currency) != (
        one.amount_minor,
        one.currency,
    ):
        yield (
            Promise.other_amount,
            f"has the {one.type} {one.id} over {one.amount_minor} {one.currency}, the network booked"
            f" {booked.amount_minor} {booked.currency}",
        )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the network's books, and our voids in them, say of a Transaction that ended without success."""

    ours: Mapping[TransactionId, Transaction]
    books: Mapping[str, Booked]
    now: datetime

    def proves(self, one: Transaction, *, was_in_doubt: bool) -> bool:
        """Whether it had to end as it has (the table above). That it is in nobody's books proves nothing by itself."""
        if one.status is TransactionStatus.expired and (
            one.code == _HOLD_ENDED or one.type is not TransactionType.authorization
        ):
            return self._no_hold_stands(one)
        if one.type is not TransactionType.authorization:
            return self._is_refused(one)
        if one.status is TransactionStatus.declined:
            return self._is_refused(one) or (
                one.code == _AMOUNT_NOT_APPROVED and self._is_approved_otherwise(one) and self._is_voided(one)
            )
        if one.status is TransactionStatus.failed and one.code in NOT_SENT and not was_in_doubt:
            return one.id not in self.books
        return self._is_voided(one)

    def _is_refused(self, one: Transaction) -> bool:
        booked = self.books.get(one.id)
        return booked is not None and booked.status is Status.declined

    def _is_approved_otherwise(self, one: Transaction) -> bool:
        booked = self.books.get(one.id)
        asked = one.amount_minor, one.currency
        return booked is not None and booked.is_approved and (booked.amount_minor, booked.currency) != asked

    def _is_voided(self, authorization: Transaction) -> bool:
        """Whether one of its voids has been acknowledged, or refused for there is nothing to void, or has run out."""
        voids = [one for one in self.ours.values() if one.type is TransactionType.void and one.status not in _OPEN]
        return any(
            void.id in self.books or (void.status is TransactionStatus.expired and self._no_hold_stands(void))
            for void in voids
            if void.authorization_id == authorization.id
        )

    def _no_hold_stands(self, one: Transaction) -> bool:
        """Whether the authorization holds nothing any more; one that never came could have for so long at most."""
        booked = self.books.get(one.authorization_id or one.id)
        if booked is not None:
            return not booked.is_held(self.now)
        return to_datetime(one.created_at) + timedelta(seconds=HOLD_SECONDS) <= self.now


def _of_holds(
    intent: PaymentIntent,
    ours: Mapping[TransactionId, Transaction],
    bookings: Sequence[Booked],
    now: datetime,
) -> Iterator[tuple[Promise, str]]:
    """What the network holds can be captured here; and what can be captured here is held there."""
    capturable = None
    if intent.status is PaymentIntentStatus.requires_capture:
        capturable = [one.id for one in ours.values() if one.type is TransactionType.authorization][-1]
    for booked in bookings:
        if booked.type is not Kind.authorization or not booked.is_approved:
            continue
        if booked.requests > 1 and booked.processor == ISO_PROCESSOR:
            # Not deduplicated: each request was a hold.
            yield Promise.held_twice, f"has {booked.requests} holds under {booked.reference}"
        if booked.is_held(now) and booked.reference != capturable:
            yield Promise.held_for_nobody, f"is {intent.status}, and {booked.amount_minor} is held: {booked.reference}"
        elif booked.reference == capturable and booked.amount_minor != intent.amount_capturable_minor:
            yield (
                Promise.other_amount,
                f"can be captured over {intent.amount_capturable_minor}, held is {booked.amount_minor}",
            )
    if capturable is not None and not any(booked.reference == capturable for booked in bookings):
        yield Promise.not_in_their_books, f"can be captured, and nothing is held: {capturable}"
