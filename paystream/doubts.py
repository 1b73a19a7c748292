"""What `paystream reconcile` does: lists what has no outcome, shows what led there, takes a person's word for one.

Reads the read model; writes nothing but a PaymentCommand or, of a mismatch, a MismatchResolved, which go through the
log like everybody's. Each function prints, and ends the process by typer.Exit where it is not done: 1 refused or not
found, 2 wrong usage, 3 it is not known what came of it. Driven by `paystream.reconcile`, which knows the command line.
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
from paystream.resolution import NOT_IN_DOUBT, Unusable, Word, command_of, explain, preview, resolution_of
from paystream.topic_access import LogUnavailable, write
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
from schemas.settlement import MismatchResolved
from schemas.times import Micros, later, to_rfc3339
from schemas.topics import SETTLEMENTS
from sinks.postgres.errors import ReadModelUnavailable
from sinks.postgres.mismatches import Mismatch
from sinks.postgres.operators import OperatorReadModel, Payment, Selection
from topology.settling.references import key_of_settlement

__all__ = ["list_open", "resolve", "show"]

REFUSED, USAGE, UNKNOWN = 1, 2, 3
# What was created so long ago and never answered is listed; anything younger is on its way.
_UNANSWERED_AFTER_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.2

Id = TypeVar("Id")


def list_open(
    *, processor: str | None, merchant: str | None, older_than: str, with_resolved: bool, limit: int, as_json: bool
) -> None:
    """Print what is in doubt, unanswered or not taken back yet, the oldest first; and what settlement found, the newest
    first, so that what is new is seen however much lies there."""
    now = _now()
    wanted = Selection(
        opened_before=later(now, seconds=-parse_duration(older_than)),
        unanswered_before=later(now, seconds=-_UNANSWERED_AFTER_SECONDS),
        processor=processor,
        merchant_id=None if merchant is None else _parsed(parse_merchant_id, merchant),
        with_resolved=with_resolved,
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
    tables.print_mismatches(mismatches, limit=limit)


def show(identifier: str, *, as_json: bool) -> None:
    """Print a payment with its Transactions and everything that happened to it; before it the mismatch, where the id is
    one's, which may be of no payment."""
    mismatch, payment = _known(identifier)
    if as_json:
        of_it = {} if mismatch is None else {"mismatch": describe_mismatch(mismatch)}
        _print_json(of_it if payment is None else of_it | describe(payment))
        return
    if mismatch is not None:
        tables.print_mismatch(mismatch)
    if payment is not None:
        tables.print_payment(payment)


def resolve(
    identifier: str,
    *,
    outcome: Outcome | None,
    authorization_state: AuthorizationState | None,
    evidence: str,
    operator: str,
    is_meant: bool,
    wait_seconds: float,
) -> None:
    """Say what a person's word would do, ask whether it is meant, send it, and print what came of it. Of a mismatch
    there is no outcome to be told."""
    transaction_id = _parsed(parse_transaction_id, identifier)
    mismatch, payment = _known(transaction_id)
    if mismatch is not None:
        if outcome is not None or authorization_state is not None:
            _fail("it is a mismatch, and has no outcome to be told: say who explains it, and how", code=USAGE)
        _explain_mismatch(mismatch, evidence, operator, is_meant=is_meant, wait_seconds=wait_seconds)
        return
    assert payment is not None, "neither, and gone on"
    if outcome is None:
        _fail("it is a Transaction: say what became of it, --outcome approved or declined", code=USAGE)
    word = Word(
        transaction_id=transaction_id,
        outcome=outcome,
        authorization_state=authorization_state,
        evidence=evidence,
        operator=operator,
    )
    intent = payment.intent
    try:
        command = command_of(word, intent, at=_now())
    except Unusable as error:
        _fail(str(error), code=USAGE)
    for sentence in preview(intent, command):
        typer.echo(tables.plain(sentence))
    if not is_meant:
        _confirm(f"Record that {word.transaction_id} was {word.outcome}, by {word.operator!r}?")
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


def _explain_mismatch(mismatch: Mismatch, evidence: str, operator: str, *, is_meant: bool, wait_seconds: float) -> None:
    """Write a person's word about a mismatch, and wait until the read model has it. The first word in the log counts,
    so whose that was is told by the read model alone."""
    try:
        said = resolution_of(mismatch, evidence=evidence, operator=operator, at=_now())
    except Unusable as error:
        _fail(str(error), code=USAGE)
    if mismatch.resolved_at is not None:
        _report_mismatch(mismatch, said, how="had been")
        return
    typer.echo(tables.plain(f"{mismatch.outcome} {mismatch.id} would count as resolved; no payment changes by that"))
    if not is_meant:
        _confirm(f"Record that {mismatch.id} is explained, by {operator!r}?")
    try:
        write(process_settings("kafka_bootstrap")["kafka_bootstrap"], SETTLEMENTS, [(key_of_settlement(said), said)])
    except LogUnavailable as error:
        _fail(f"it is not known whether it was written: {error}. The same again does no harm", code=UNKNOWN)
    found = _until_explained(mismatch, within_seconds=wait_seconds)
    if found is None:
        _fail(
            "it is written, but the read model does not show it yet: whether it is the first word about it is not"
            f" known. See `paystream reconcile show {mismatch.id}`, or give the same command again",
            code=UNKNOWN,
        )
    _report_mismatch(found, said, how="is")


def _until_explained(mismatch: Mismatch, *, within_seconds: float) -> Mismatch | None:
    """The mismatch with what a person says of it; None where that has not come in time."""
    until = time.monotonic() + within_seconds
    while time.monotonic() < until:
        try:
            with _read_model() as model:
                found = model.mismatch(mismatch.id)
        except ReadModelUnavailable:
            return None
        if found is not None and found.resolved_by is not None:
            return found
        time.sleep(_LOOK_AGAIN_SECONDS)
    return None


def _report_mismatch(found: Mismatch, said: MismatchResolved, *, how: str) -> None:
    """Say whether it was this word that resolved it."""
    assert found.resolved_at is not None
    if (found.resolved_by, found.evidence) == (said.actor_id, said.evidence):
        typer.echo(f"{found.outcome} {found.id} {how} resolved by this very word")
        return
    by = "a line that came after all" if found.resolved_by is None else repr(found.resolved_by)
    _fail(f"refused: already_resolved. It was resolved at {to_rfc3339(found.resolved_at)}, by {by}", code=REFUSED)


def _confirm(question: str) -> None:
    """Ask, where there is somebody to ask."""
    if not _is_somebody_here():
        _fail("nobody is here to confirm it: say --yes", code=USAGE)
    typer.confirm(tables.plain(question), abort=True)


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


def _known(identifier: str) -> tuple[Mismatch | None, Payment | None]:
    """The mismatch of an id, and the payment of that or of a Transaction's or its own; ends the process where there is
    neither."""
    payment_intent_id: PaymentIntentId | None
    mismatch: Mismatch | None = None
    try:
        with _read_model() as model:
            if is_transaction_id(identifier):
                mismatch = model.mismatch(TransactionId(identifier))
                payment_intent_id = (
                    model.owner(TransactionId(identifier)) if mismatch is None else mismatch.payment_intent_id
                )
            else:
                payment_intent_id = _parsed(parse_payment_intent_id, identifier)
            payment = None if payment_intent_id is None else model.payment(payment_intent_id)
    except ReadModelUnavailable as error:
        _fail(f"the read model does not answer: {error}", code=UNKNOWN)
    if mismatch is None and payment is None:
        _fail("the read model knows no payment, Transaction or mismatch of that id, or not yet", code=REFUSED)
    return mismatch, payment


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
