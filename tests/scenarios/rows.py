"""What a row of the scenario table says, and how a Transaction is written in it.

A row's steps are sentences that `player` understands:

    create                    a PaymentIntent, in place of the one that each row begins with
    pay [tok_…]               an attempt, not waited for; with the row's card unless another is named
    capture [400], void, cancel
    … ! code                  the request before is refused by that code
    challenge complete|fail   the customer at the bank's page; with `! 409` it is too late
    until STATUS              of the PaymentIntent, in the log
    until TYPE STATUS         of the latest Transaction of that type
    until not_found TYPE      a look-up has not found the latest Transaction of that type
    until booked TYPE         the network has the latest Transaction of that type in its books
    until booked declined TYPE    … and has refused it
    until said NAME           an event of that type, or by that timer or operator, is in the log
    until breaker open        processing holds back what would go to the first processor of the route
    until restarted NAME      another process runs under that name than when the row began
    line ACTION [of TYPE] …   an order for the settlement file: omit, double, change, add, with name=value
    unsettled N               for N seconds nothing is said of the payment's settlement
    resolve TYPE OUTCOME      a person decides the latest Transaction of that type
    crash before call         processing dies between the commit of the next call's entry and the call
    rush N                    so many other payments of the same merchant at once
    rest N                    nothing for N seconds
    next                      of rows that are played one by one: the next may begin
    all: clock BY             the test clock is put forward: 16m, 25h, 9d; saturday: to this time of a Saturday;
                              wednesday -1h: to an hour before the cut-off of a Wednesday
    all: ACTION               once, when all rows of the phase that say so have come here (`stage`)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.payment import Transaction

__all__ = ["MERCHANTS", "PROTOCOLS", "Phase", "Row", "shown"]

MERCHANTS: Mapping[str, str] = {
    "cardnet": "mer_http",
    "isonet": "mer_iso",
    "isonet,cardnet": "mer_both",
}
"""By route: the merchant whose payments take it."""

PROTOCOLS: Mapping[str, str] = {"cardnet": "HTTP", "isonet": "ISO 8583", "isonet,cardnet": "ISO 8583, else HTTP"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One scenario: what is done, and how it must have ended.

    `history` are all Transactions of the PaymentIntent in the order of their opening (`shown`), `status` is the
    PaymentIntent's. `also` names events that must be in the log besides: by their type, or by the timer or the operator
    that caused them. `settlements` are the outcomes of all settlement lines of this payment, `strays` the references of
    lines that belong to no payment and are judged with it.
    """

    name: str
    route: str
    history: tuple[str, ...]
    status: str
    card: str = "tok_visa"
    capture_method: str = "automatic"
    amount: int = 2_000
    steps: tuple[str, ...] = ("pay",)
    faults: Mapping[str, object] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    processor: str | None = None
    """Where the authorization ended, if not at the first processor of the route."""
    asked: int | None = None
    """How often the network was asked for the authorization, where that matters."""
    settlements: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    settled_on: str | None = None
    """The weekday of the settlement date."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Rows that are played at the same time, while these faults are in force.

    `one_by_one`: each row has faults of its own, and begins when the one before has said `next`. `beside`: the phases
    after it begin as soon as its file has been imported, for it only waits from then on. `at_rest`: it begins when all
    before it has ended. `file_days_ago`: its settlement file is that of an old date, for there is one a date.
    """

    title: str
    rows: tuple[Row, ...]
    faults: Mapping[str, object] = field(default_factory=dict)
    one_by_one: bool = False
    beside: bool = False
    at_rest: bool = False
    file_days_ago: int | None = None


def shown(transaction: Transaction) -> str:
    """A Transaction as a row has it: type, reason of a void, status, code."""
    reason = "" if transaction.void_reason is None else f"({transaction.void_reason}) "
    code = "" if transaction.code is None else f" {transaction.code}"
    return f"{transaction.type} {reason}{transaction.status}{code}"
