"""A payment that operators look at, the read model that shows it, and a log that is the fold itself; no server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import pytest
from typer.testing import CliRunner, Result

from paystream import doubts
from paystream.cli import app
from paystream.command_exchange import NotSent
from paystream.topic_access import LogUnavailable
from schemas.codec import Record, decode, encode
from schemas.commands import CommandReply, PaymentCommand
from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.payment import Transaction
from schemas.settlement import MismatchResolved
from schemas.topics import SETTLEMENTS, Topic
from sinks.postgres.errors import ReadModelUnavailable
from sinks.postgres.mismatches import Mismatch
from sinks.postgres.operators import OpenTransaction, Selection
from sinks.postgres.operators import Payment as Shown
from tests.topology.domain.script import Payment
from topology.domain import is_open

__all__ = ["OperatorWorld"]

REPLY_PARTITION = 3


@dataclass
class OperatorWorld:
    """What the command line meets. `silent`: no reply comes, and what is written is not shown; `away` names what is not
    reached. `said` is what was written of mismatches, by key."""

    payment: Payment = field(default_factory=Payment)
    mismatches: list[Mismatch] = field(default_factory=list)
    asked: list[PaymentCommand] = field(default_factory=list)
    said: list[tuple[str, MismatchResolved]] = field(default_factory=list)
    wanted: list[Selection] = field(default_factory=list)
    away: str = ""
    silent: bool = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> OperatorWorld:
        """Put this world in the place of PostgreSQL and Kafka."""
        monkeypatch.setattr(doubts, "OperatorReadModel", lambda _uri: _ReadModel(self))
        monkeypatch.setattr(doubts, "CommandExchange", lambda _bootstrap: _Exchange(self))
        monkeypatch.setattr(doubts, "write", self.write)
        monkeypatch.setattr(doubts, "_LOOK_AGAIN_SECONDS", 0.01)
        monkeypatch.setenv("PAYSTREAM_POSTGRES_URI", "postgresql://u:geheim@127.0.0.1:1/d")
        monkeypatch.setenv("PAYSTREAM_KAFKA_BOOTSTRAP", "127.0.0.1:1")
        return self

    def write(self, _bootstrap: str, topic: Topic, records: Iterable[tuple[str, Record]]) -> None:
        """In the place of `paystream.topic_access`: it gets into the log, and into the read model, or not at all."""
        if self.away == "log":
            raise LogUnavailable("no broker")
        for key, record in records:
            assert topic == SETTLEMENTS
            assert isinstance(record, MismatchResolved)
            assert decode(encode(record)) == record, "it survives the log"
            self.said.append((key, record))
            if not self.silent:
                self.take(record)

    def take(self, said: MismatchResolved) -> None:
        """The read model has a word; only the first one about a mismatch counts."""
        self.mismatches = [
            replace(one, resolved_at=said.at, resolved_by=said.actor_id, evidence=said.evidence)
            if one.id == said.settlement_id and one.resolved_by is None
            else one
            for one in self.mismatches
        ]

    def run(self, *arguments: str, keys: str | None = None) -> Result:
        """`paystream ARGUMENT…`, as it is typed."""
        return CliRunner().invoke(app, list(arguments), input=keys)

    def resolve(self, kind: str, *options: str, evidence: str = "their books, by mail") -> Result:
        """`paystream reconcile resolve` of the latest Transaction of a kind."""
        transaction = self.payment.latest(kind).id
        said = ("--evidence", evidence, "--operator", "ada", "--yes", "--wait-seconds", "0.1", *options)
        return self.run("reconcile", "resolve", transaction, *said)


class _ReadModel:
    def __init__(self, world: OperatorWorld) -> None:
        self._world = world

    def __enter__(self) -> Self:
        if self._world.away == "read model":
            raise ReadModelUnavailable("nobody answers")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def open_transactions(self, wanted: Selection) -> list[OpenTransaction]:
        self._world.wanted.append(wanted)
        return [self._open(one) for one in self._world.payment.intent.transactions if is_open(one)]

    def mismatches(self, _wanted: Selection) -> list[Mismatch]:
        return self._world.mismatches

    def mismatch(self, mismatch_id: TransactionId) -> Mismatch | None:
        return next((one for one in self._world.mismatches if one.id == mismatch_id), None)

    def owner(self, transaction_id: TransactionId) -> PaymentIntentId | None:
        intent = self._world.payment.intent
        return intent.id if any(one.id == transaction_id for one in intent.transactions) else None

    def payment(self, payment_intent_id: PaymentIntentId) -> Shown | None:
        payment = self._world.payment
        if payment_intent_id != payment.intent.id:
            return None
        return Shown(intent=payment.intent, history=tuple(payment.events), mismatches=tuple(self._world.mismatches))

    def _open(self, one: Transaction) -> OpenTransaction:
        intent = self._world.payment.intent
        return OpenTransaction(
            payment_intent_id=intent.id,
            transaction_id=one.id,
            type=one.type,
            status=one.status,
            void_reason=one.void_reason,
            processor=one.processor,
            amount_minor=one.amount_minor,
            currency=one.currency,
            created_at=one.created_at,
            pending_since=one.created_at,
            lookups_not_found=one.lookups_not_found,
            lookups_unanswered=one.lookups_unanswered,
            repeats=one.repeats,
            merchant_id=intent.merchant_id,
            livemode=intent.livemode,
            payment_status=intent.status,
        )


class _Exchange:
    """Decides as the fold does, and answers as the payments flow does."""

    partition = REPLY_PARTITION

    def __init__(self, world: OperatorWorld) -> None:
        self._world = world

    def __enter__(self) -> Self:
        if self._world.away == "log":
            raise NotSent("no broker")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def ask(self, command: PaymentCommand, *, within_seconds: float) -> CommandReply | None:
        assert within_seconds > 0
        assert decode(encode(command)) == command, "the command survives the log"
        assert command.reply_partition == REPLY_PARTITION
        self._world.asked.append(command)
        decision = self._world.payment.give(command)
        if self._world.silent:
            return None
        return CommandReply(
            command_id=command.id,
            payment_intent_id=command.payment_intent_id,
            sequence=self._world.payment.intent.sequence,
            refusal=decision.refusal,
            payment_intent=self._world.payment.intent,
            transaction_id=decision.transaction_id,
            replayed=decision.replayed,
        )
