"""Settlement beside a shop, in one process: for schedules to the step.

The network's file is the real one, fetched from its process; import, settlement flow and judge are the real ones, on
the shop's log and clock. The file's log and the read model are in memory, so that a schedule can say when an import
dies and how far the read model has come.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self
from unittest.mock import patch

from schemas.codec import decode
from schemas.identifiers import TransactionId
from schemas.payment import PaymentEvent, PaymentIntent, Transaction, TransactionStatus, TransactionType, VoidReason
from schemas.settlement import Settlement as Record
from schemas.settlement import SettlementFile, SettlementLine, SettlementOutcome
from schemas.times import Micros
from schemas.topics import CAPTURES, PROCESSOR_RESULTS, SETTLEMENT_LINES, SETTLEMENTS
from sinks.postgres import Asked, Finding, FoundTransaction
from tests.chaos.collect_settlement import line_of, settled_of
from tests.chaos.evidence import Adjustment, Settlement
from tests.chaos.settling import adjust, days_of, lines_of
from tests.chaos.shop import Shop
from tests.harness.driver import FlowDriver
from tests.harness.stack import wait_for
from tests.ingress.fakes import PARTITIONS
from tests.sandbox.card_network.network_process import NetworkProcess
from topology import settlement
from topology.settlement import Calendars, ReadModelJudge, SettlementSide
from topology.settlement_files import import_file, importing
from topology.settling.references import settlement_id_of

__all__ = ["Desk", "ImportDied"]

_SETTLES_WITHIN_SECONDS = 20.0
# The judge waits until the read model has come so far beyond a question.
_BEYOND_A_QUESTION_SECONDS = 3.0
_BEYOND_WINDOWS_SECONDS = 6.5 * 86_400
_MATCHED = (SettlementOutcome.settled, SettlementOutcome.amount, SettlementOutcome.currency)


class ImportDied(Exception):
    """The process of an import has ended, as it was told to."""


class _FileLog:
    """What imports have written (`topology.settlement_files.FileLog`)."""

    def __init__(self) -> None:
        self.lines: list[SettlementLine] = []
        self.dies_after: int | None = None
        self._files: dict[tuple[str, int], SettlementFile] = {}
        self._writes = 0

    def begin(self, processor: str, file_sequence: int) -> SettlementFile | None:
        return self._files.get((processor, file_sequence))

    def write(self, lines: Sequence[tuple[str, bytes]], file: SettlementFile) -> None:
        for _, value in lines:
            line = decode(value)
            assert isinstance(line, SettlementLine)
            self.lines.append(line)
        self._files[file.processor, file.file_sequence] = file
        self._writes += 1
        if self._writes == self.dies_after:
            raise ImportDied

    def close(self) -> None:
        """Nothing to let go."""


class _ReadModel:
    """What the settlement flow asks of the read model, from the shop's log (`topology.settling.judge.Reader`)."""

    def __init__(self, shop: Shop, written: Sequence[Record]) -> None:
        self._shop = shop
        self._written = written
        self._stands_at: tuple[Micros, int, int] | None = None

    def stand(self) -> None:
        """It stays where it has come to now."""
        self._stands_at = self._shop.clock.now(), len(self._shop.logged()), len(self._written)

    def go_on(self) -> None:
        """It comes to the end of the log again."""
        self._stands_at = None

    def watermark(self, *, partitions: int) -> Micros | None:
        """Of all partitions alike."""
        assert partitions == PARTITIONS
        return self._shop.clock.now() if self._stands_at is None else self._stands_at[0]

    def find(self, asked: Sequence[Asked]) -> list[Finding]:
        """As PostgreSQL would find it."""
        _, events, settlements = self._stands_at or (None, None, None)
        return [self._find(one, self._shop.logged()[:events], self._written[:settlements]) for one in asked]

    def close(self) -> None:
        """Nothing to let go."""

    def _find(self, asked: Asked, events: Sequence[PaymentEvent], written: Sequence[Record]) -> Finding:
        judged = {settlement_id_of(one.line) for one in written if one.line is not None}
        intents = {event.payment_intent.id: event.payment_intent for event in events}
        found = [
            _found(intent, one, written)
            for intent in intents.values()
            for one in intent.transactions
            if one.id == asked.reference and one.processor == asked.processor
        ]
        return Finding(transaction=found[0] if found else None, line_is_judged=asked.settlement_id in judged)


def _found(intent: PaymentIntent, one: Transaction, written: Sequence[Record]) -> FoundTransaction:
    # An authorization is charged once, by whichever of its Transactions.
    charged = [other.id for other in intent.transactions if _authorization_of(other) == _authorization_of(one)]
    outcomes = [settled.outcome for settled in written if settled.transaction_id == one.id]
    is_captured = one.type is TransactionType.capture and one.status is TransactionStatus.succeeded
    received_minor = intent.amount_received_minor or None if _was_found_captured(intent, one) else None
    return FoundTransaction(
        payment_intent_id=intent.id,
        id=one.id,
        type=one.type,
        amount_minor=one.amount_minor,
        currency=one.currency,
        captured_minor=one.amount_minor if is_captured else received_minor,
        is_captured=is_captured,
        is_open=one.status in (TransactionStatus.created, TransactionStatus.pending),
        is_settled=any(settled.outcome in _MATCHED and settled.transaction_id in charged for settled in written),
        was_missed=SettlementOutcome.missing_at_processor in outcomes,
    )


def _authorization_of(one: Transaction) -> TransactionId:
    return one.authorization_id or one.id


def _was_found_captured(intent: PaymentIntent, one: Transaction) -> bool:
    """Whether no capture stands, and the last call that decided anything was about this Transaction's authorization."""
    called = [
        other
        for other in intent.transactions
        if other.type in (TransactionType.capture, TransactionType.void)
        and other.void_reason is not VoidReason.late_approval
    ]
    has_capture = any(
        other.type is TransactionType.capture and other.status is TransactionStatus.succeeded for other in called
    )
    return not has_capture and bool(called) and _authorization_of(called[-1]) == _authorization_of(one)


class Desk:
    """Whoever settles for a shop, at this network."""

    def __init__(self, shop: Shop, network: NetworkProcess) -> None:
        self.captures_are_held = False
        self._shop = shop
        self._network = network
        self._log = _FileLog()
        self._adjustments: list[Adjustment] = []
        self._files: dict[str, int] = {}
        self._written: list[Record] = []
        self._taken = {CAPTURES.name: 0, SETTLEMENT_LINES.name: 0}
        self.read_model = _ReadModel(shop, self._written)
        self._judge = ReadModelJudge(self.read_model, partitions=PARTITIONS, wall=shop.clock)
        side = SettlementSide(self._judge, Calendars(), partitions=PARTITIONS, clock=shop.clock)
        self._flow = FlowDriver(settlement.FLOW, settlement.build, side=side, clock=shop.clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._flow.side.close()

    def captured(self) -> list[str]:
        """The references of the captures, in the order of the network's books."""
        return list(days_of(self._network.base_url))

    def adjust(self, *adjustments: Adjustment) -> None:
        """Let the file be wrong."""
        for adjustment in adjustments:
            adjust(self._network.client, adjustment, days_of(self._network.base_url))
        self._adjustments.extend(adjustments)

    def import_file(self, *, lines_at_once: int = 10_000, dies_after: int | None = None) -> None:
        """Import the file of the day; `dies_after` so many transactions it raises ImportDied."""
        (day,) = set(days_of(self._network.base_url).values())
        content = self._network.client.get(f"/settlements/{self._shop.bank.name}/{day}.csv").content
        self._files[hashlib.sha256(content).hexdigest()] = lines_of(content.decode())
        self._log.dies_after = dies_after
        with patch.object(importing, "LINES_PER_TRANSACTION", lines_at_once):
            import_file(io.BytesIO(content), self._log, at=self._shop.clock.now())

    def step(self) -> None:
        """The flow reads what there is, and hears what has been answered."""
        captures = [] if self.captures_are_held else self._shop.log[CAPTURES.name]
        for topic, records in ((CAPTURES, captures), (SETTLEMENT_LINES, self._log.lines)):
            new = records[self._taken[topic.name] :]
            if new:
                self._flow.pipe(topic, *new)
                self._taken[topic.name] += len(new)
        self._flow.settle()
        self._written.extend(self._flow.read(SETTLEMENTS))
        self._shop.log[PROCESSOR_RESULTS.name].extend(self._flow.read(PROCESSOR_RESULTS))

    def wait_for_answers(self, *, seconds: float) -> None:
        """Let the judge answer what it will within a time."""
        deadline = time.monotonic() + seconds
        while self._judge.waiting() and time.monotonic() < deadline:
            time.sleep(0.05)

    def settle(self) -> None:
        """The flow goes on until it has nothing to ask and nothing to say."""

        def has_come_to_rest() -> bool:
            # What is answered from here on is not heard by this step.
            was_asking, said = self._judge.waiting() > 0, len(self._written)
            self.step()
            if self._judge.waiting():
                self._shop.clock.advance(_BEYOND_A_QUESTION_SECONDS)
            return not was_asking and not self._judge.waiting() and len(self._written) == said

        wait_for(has_come_to_rest, what="the end of settlement", within_seconds=_SETTLES_WITHIN_SECONDS)

    def end_windows(self) -> None:
        """All windows and their grace go by."""
        self._shop.clock.advance(_BEYOND_WINDOWS_SECONDS)
        self.step()
        self.settle()

    def findings(self) -> list[str]:
        """What the checker has to say of shop and settlement."""
        waiting = [key for key, _value in self._flow.store.items()]
        return self._shop.findings(
            Settlement(
                adjustments=self._adjustments,
                files=self._files,
                lines=[line_of(line) for line in self._log.lines],
                settled=[settled_of(record) for record in self._written],
                rows=None,
                mismatches=None,
                waiting=waiting,
            )
        )
