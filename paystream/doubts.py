"""What `paystream reconcile` does: lists what has no outcome, shows what led there, takes a person's word for one.

Reads the read model; writes nothing but a PaymentCommand, which goes through the log like everybody's. Each function
prints, and ends the process by typer.Exit where it is not done: 1 refused or not found, 2 wrong usage, 3 it is not
known what came of it. Driven by `paystream.reconcile`, which knows the command line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import typer

from paystream import reconcile_tables as tables
from paystream.command_exchange import CommandExchange, NotHeard, NotSent
from paystream.durations import parse_duration
from paystream.environment import process_settings
from paystream.history import describe, describe_mismatch, describe_open
from paystream.resolution import NOT_IN_DOUBT, Unusable, Word, command_of, explain, preview
from schemas.commands import CommandReply, PaymentCommand
from schemas.identifiers import (
    InvalidIdentifier,
    PaymentIntentId,
    TransactionId,
    is_transaction_id,
    parse_merchant_id,
    parse_payment_intent_id,
    parse_transaction_id,
)
from schemas.payment import PaymentIntent
from schemas.processing import AuthorizationState, Outcome
from schemas.times import Micros, later
from sinks.postgres.errors import ReadModelUnavailable
from sinks.postgres.operators import OperatorReadModel, Payment, Selection

__all__ = ["list_open", "resolve", "show"]

REFUSED, USAGE, UNKNOWN = 1, 2, 3
# What was created so long ago and never answered is listed; anything younger is on its way.
_UNANSWERED_AFTER_SECONDS = 60.0

Id = TypeVar("Id")


def list_open(*, processor: str | None, merchant: str | None, older_than: str, limit: int, as_json: bool) -> None:
    """Print what is in doubt, unanswered or not taken back yet, and what settlement found; the oldest first."""
    now = _now()
    wanted = Selection(
        opened_before=later(now, seconds=-parse_duration(older_than)),
        unanswered_before=later(now, seconds=-_UNANSWERED_AFTER_SECONDS),
        processor=processor,
        merchant_id=None if merchant is None else _parsed(parse_merchant_id, merchant),
        limit=limit,
    )
    try:
        with _read_model() as model:
            found, mismatches = model.open_transactions(wanted), model.mismatches(wanted)
    except ReadModelUnavailable as error:
        _fail(f"the read model does not answer: {error}", code=UNKNOWN)
    if as_json:
        _print_json(
            {
                "transactions": [describe_open(one) for one in found],
                "mismatches": [describe_mismatch(one) for one in mismatches],
            }
        )
        return
    tables.print_open(found, now=now)
    tables.print_mismatches(mismatches)


def show(identifier: str, *, as_json: bool) -> None:
    """Print a payment with its Transactions and everything that happened to it."""
    payment = _payment(identifier)
    if as_json:
        _print_json(describe(payment))
    else:
        tables.print_payment(payment)


def resolve(
    transaction: str,
    *,
    outcome: Outcome,
    authorization_state: AuthorizationState | None,
    evidence: str,
    operator: str,
    is_meant: bool,
    wait_seconds: float,
) -> None:
    """Say what a person's word would do, ask whether it is meant, send it, and print what came of it."""
    word = Word(
        transaction_id=_parsed(parse_transaction_id, transaction),
        outcome=outcome,
        authorization_state=authorization_state,
        evidence=evidence,
        operator=operator,
    )
    intent = _payment(word.transaction_id).intent
    try:
        command = command_of(word, intent, at=_now())
    except Unusable as error:
        _fail(str(error), code=USAGE)
    for sentence in preview(intent, command):
        typer.echo(tables.plain(sentence))
    if not is_meant:
        _confirm(word)
    try:
        reply, silence = _ask(word, intent, wait_seconds=wait_seconds), "no answer came in time"
    except NotHeard as error:
        reply, silence = None, f"the answer cannot be heard ({error})"
    if reply is None:
        _fail(
            f"{silence}: it is not known what came of it. The command may still be carried out;"
            f" see `paystream reconcile show {word.transaction_id}`, or give the same command again",
            code=UNKNOWN,
        )
    _report(reply, command)


def _confirm(word: Word) -> None:
    """Ask, where there is somebody to ask."""
    if not _is_somebody_here():
        _fail("nobody is here to confirm it: say --yes", code=USAGE)
    typer.confirm(f"Record that {word.transaction_id} was {word.outcome}, by {word.operator!r}?", abort=True)


def _is_somebody_here() -> bool:
    return sys.stdin.isatty()


def _ask(word: Word, intent: PaymentIntent, *, wait_seconds: float) -> CommandReply | None:
    """The reply, if one came in time. Raises NotHeard."""
    try:
        with CommandExchange(process_settings("kafka_bootstrap")["kafka_bootstrap"]) as exchange:
            command = command_of(word, intent, at=_now(), reply_partition=exchange.partition)
            return exchange.ask(command, within_seconds=wait_seconds)
    except NotSent as error:
        _fail(f"the log was not reached, and nothing was asked: {error}", code=REFUSED)


def _report(reply: CommandReply, command: PaymentCommand) -> None:
    """Say what came of it. The same word a second time finds no doubt: whether it was the first that ended it, the
    history tells."""
    if reply.refusal == NOT_IN_DOUBT and _was_carried_out(command):
        typer.echo("it had been resolved by this very command")
    elif reply.refusal is not None:
        _fail(f"refused: {reply.refusal}. {explain(reply.refusal)}", code=REFUSED)
    intent = reply.payment_intent
    if intent is None:
        return
    resolved = next((one for one in intent.transactions if one.id == reply.transaction_id), None)
    for one in intent.transactions if resolved is None else (resolved,):
        typer.echo(f"{one.type} {one.id} is {one.status}")
    typer.echo(f"payment {intent.id} is {intent.status}")


def _was_carried_out(command: PaymentCommand) -> bool:
    """Whether the read model has an event of this command; one that is away or behind does not know."""
    try:
        with _read_model() as model:
            payment = model.payment(command.payment_intent_id)
    except ReadModelUnavailable:
        return False
    return payment is not None and any(event.cause == command.id for event in payment.history)


def _payment(identifier: str) -> Payment:
    """The payment of an id, or of a Transaction's; ends the process where there is none."""
    payment_intent_id: PaymentIntentId | None
    try:
        with _read_model() as model:
            if is_transaction_id(identifier):
                payment_intent_id = model.owner(TransactionId(identifier))
            else:
                payment_intent_id = _parsed(parse_payment_intent_id, identifier)
            payment = None if payment_intent_id is None else model.payment(payment_intent_id)
    except ReadModelUnavailable as error:
        _fail(f"the read model does not answer: {error}", code=UNKNOWN)
    if payment is None:
        _fail("the read model knows nothing of that id, or not yet", code=REFUSED)
    return payment


def _read_model() -> OperatorReadModel:
    return OperatorReadModel(process_settings("postgres_uri")["postgres_uri"])


def _now() -> Micros:
    return Micros(time.time_ns() // 1_000)


def _parsed(parse: Callable[[str], Id], text: str) -> Id:
    try:
        return parse(text)
    except InvalidIdentifier as error:
        raise typer.BadParameter(str(error)) from None


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=2))


def _fail(sentence: str, *, code: int) -> NoReturn:
    typer.echo(tables.plain(sentence), err=True)
    raise typer.Exit(code)
