"""What `paystream reconcile` prints for people: tables, with texts of others made harmless to a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paystream.durations import duration_text
from paystream.history import money, steps
from schemas.payment import Transaction
from schemas.times import Micros, to_rfc3339
from sinks.postgres.mismatches import Mismatch
from sinks.postgres.operators import OpenTransaction, Payment

__all__ = ["plain", "print_mismatch", "print_mismatches", "print_open", "print_payment"]

NONE_RECORDED = "none recorded"
_WIDTH = 280


def plain(text: str) -> str:
    """The text without anything that a terminal would act upon."""
    return "".join(one if one.isprintable() else "�" for one in text)


def console() -> Console:
    """Whole lines also where the output is no terminal: an id that is cut short is of no use."""
    wide = Console(highlight=False, markup=False)
    return wide if wide.is_terminal else Console(highlight=False, markup=False, width=_WIDTH)


def print_open(found: Sequence[OpenTransaction], *, now: Micros) -> None:
    """What has no outcome, the oldest first."""
    if not found:
        console().print("Open transactions: none")
        return
    table = _table("Open transactions", "payment", "transaction", "kind", "amount", "merchant", "processor")
    for name in ("open for", "in doubt for", "asked so far"):
        table.add_column(name, overflow="fold")
    for one in found:
        kind = f"{one.type} {one.status}" + ("" if one.void_reason is None else f" ({one.void_reason})")
        _add(
            table,
            one.payment_intent_id,
            one.transaction_id,
            kind,
            money(one.amount_minor, one.currency),
            one.merchant_id,
            one.processor,
            duration_text((now - one.created_at) / 1_000_000),
            "" if one.pending_since is None else duration_text((now - one.pending_since) / 1_000_000),
            _asked(one),
        )
    console().print(table)


def print_mismatches(found: Sequence[Mismatch], *, limit: int | None = None) -> None:
    """What settlement found, the newest first; `limit`: so many were asked for, and there may be more."""
    if not found:
        console().print(f"Mismatches of settlement: {NONE_RECORDED}")
        return
    newest = "" if limit is None or len(found) < limit else f" (the newest {limit}; see --limit and --older-than)"
    table = _table(f"Mismatches of settlement{newest}", "id", "outcome", "processor", "reference", "payment")
    for name in ("transaction", "settled on", "at", "resolved"):
        table.add_column(name, overflow="fold")
    for one in found:
        _add(
            table,
            one.id,
            one.outcome,
            one.processor,
            one.processor_reference,
            one.payment_intent_id or "",
            one.transaction_id or "",
            one.settlement_date or "",
            to_rfc3339(one.at),
            _resolved(one),
        )
    console().print(table)


def print_mismatch(one: Mismatch) -> None:
    """A mismatch: what the processor's file says, what we have, and who explained it."""
    out = console()
    out.print(plain(f"{one.id}: {one.outcome} at {one.processor}, found {to_rfc3339(one.at)}"))
    out.print(plain(f"reference {one.reference or 'none'}, the processor's {one.processor_reference or 'none'}"))
    line = _amount(one.line_amount_minor, one.line_currency)
    if one.line_number is not None:
        line += f", settled on {one.settlement_date} by file {one.file_sequence}, line {one.line_number}"
    out.print(plain(f"the processor's file: {line}"))
    ours = _amount(one.capture_amount_minor, one.capture_currency)
    if one.transaction_id is not None:
        ours += f", {one.transaction_id} of payment {one.payment_intent_id}"
    out.print(plain(f"our books: {ours}"))
    out.print(plain(f"resolved: {_resolved(one) or 'no'}"))
    if one.evidence is not None:
        out.print(plain(f"evidence: {one.evidence}"))


def _amount(amount_minor: int | None, currency: str | None) -> str:
    return NONE_RECORDED if amount_minor is None or currency is None else money(amount_minor, currency)


def _resolved(one: Mismatch) -> str:
    """When, and by whom; a line that came after all says nothing of that."""
    if one.resolved_at is None:
        return ""
    return to_rfc3339(one.resolved_at) + ("" if one.resolved_by is None else f" by {one.resolved_by}")


def print_payment(payment: Payment) -> None:
    """A payment, its Transactions, and what happened to it."""
    intent = payment.intent
    out = console()
    out.print(f"{intent.id}: {intent.status}, {money(intent.amount_minor, intent.currency)}, {intent.capture_method}")
    mode = "live" if intent.livemode else "test"
    out.print(f"merchant {intent.merchant_id} ({mode}), created {to_rfc3339(intent.created_at)}")
    if intent.description:
        out.print(f"description: {plain(intent.description)}")
    _print_transactions(payment)
    table = _table("History", "#", "at", "event", "by", "cause", "what changed")
    for step in steps(payment.history):
        told = (*step.changes, *(() if step.evidence is None else (f"evidence: {step.evidence}",)))
        _add(
            table,
            str(step.sequence),
            to_rfc3339(step.at),
            step.type,
            step.actor,
            step.cause,
            "\n".join(map(plain, told)),
        )
    out.print(table)
    print_mismatches(payment.mismatches)


def _print_transactions(payment: Payment) -> None:
    table = _table("Transactions", "id", "kind", "status", "amount", "processor", "reference", "code", "card", "asked")
    for one in payment.intent.transactions:
        reason = "" if one.void_reason is None else f" ({one.void_reason})"
        _add(
            table,
            one.id,
            f"{one.type}{reason}",
            one.status,
            money(one.amount_minor, one.currency),
            one.processor,
            one.processor_reference or "",
            " ".join(filter(None, (one.code, one.decline_code))),
            _card(one),
            _asked(one),
        )
    console().print(table)


def _card(one: Transaction) -> str:
    card = one.card
    return "" if card is None else f"{card.brand} …{card.last4} {card.exp_month:02}/{card.exp_year}"


def _asked(one: OpenTransaction | Transaction) -> str:
    """What was asked about it so far."""
    counts = {
        "not found": one.lookups_not_found,
        "unanswered": one.lookups_unanswered,
        "repeats": one.repeats,
    }
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    """A row of texts that are taken as they are: nothing in them is a style."""
    table.add_row(*(Text("\n".join(map(plain, cell.split("\n")))) for cell in cells))
