"""What happens under one reference, told in steps that read as sentences, and what it comes to.

`captured`, `in doubt`, `failed` are what reconciliation says of the capture; `line` is the processor's, with `900`,
`eur` or `fee` where it differs, `again` where it is the one before, and a number of its own otherwise; `window ends`
is a moment past the grace. `known: …` is what the read model answers to the oldest question that has
none: `nothing`, `in doubt`, `captured`, `missed` (captured, and its window has ended without a line), `settled`
(captured, and a line of it used up), `elsewhere` (captured, under another reference), `failed`, `found captured` (by
the answer to another call), `voided`, `judged` (this very line); `a day later` where it says so.
"""

from __future__ import annotations

from collections import deque

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.payment import TransactionStatus, TransactionType
from schemas.processing import ProcessorResult
from schemas.settlement import Capture, OpenCapture, Settlement, SettlementLine
from schemas.times import Micros, later
from sinks.postgres import Asked, Finding, FoundTransaction
from topology.settling.findings import Judged
from topology.settling.matching import Due, Given, match
from topology.settling.windows import Calendars

__all__ = ["INTENT", "START", "TRANSACTION", "Reference", "capture", "found", "line"]

INTENT = PaymentIntentId("pi_" + "1" * 32)
TRANSACTION = TransactionId("tx_" + "2" * 32)
ELSEWHERE = TransactionId("tx_" + "3" * 32)
START = Micros(1_790_000_000_000_000)
"""Monday, 21 September 2026, 14:13:20 UTC."""

_CAPTURES = {
    "captured": TransactionStatus.succeeded,
    "in doubt": TransactionStatus.pending,
    "failed": TransactionStatus.failed,
}


def capture(status: TransactionStatus = TransactionStatus.succeeded, *, at: Micros = START) -> Capture:
    """A capture of 10.00 usd."""
    return Capture(
        processor="cardnet",
        processor_reference="" if status is TransactionStatus.pending else "cn_1",
        payment_intent_id=INTENT,
        transaction_id=TRANSACTION,
        status=status,
        amount_minor=1_000,
        currency="usd",
        at=at,
    )


def line(
    number: int = 1,
    *,
    amount_minor: int = 1_000,
    currency: str = "usd",
    kind: str = "capture",
    reference: str | None = TRANSACTION,
    at: Micros = START,
) -> SettlementLine:
    """A line of file 7, by default the one that settles the capture."""
    return SettlementLine(
        processor="cardnet",
        processor_reference="cn_1",
        kind=kind,
        settlement_date=20_717,
        file_sequence=7,
        file_hash=b"\x07" * 32,
        line_number=number,
        gross_minor=amount_minor,
        currency=currency,
        fee_minor=25,
        net_minor=amount_minor - 25,
        payout_currency=currency,
        at=at,
        reference=reference,
    )


def found(known: str) -> Finding:
    """What the read model answers."""
    if known == "nothing":
        return Finding()
    return Finding(
        transaction=FoundTransaction(
            payment_intent_id=INTENT,
            id=ELSEWHERE if known == "elsewhere" else TRANSACTION,
            type=TransactionType.void if known == "voided" else TransactionType.capture,
            amount_minor=1_000,
            currency="usd",
            captured_minor=None if known in ("in doubt", "failed", "voided") else 1_000,
            is_captured=known in ("captured", "missed", "settled", "judged", "elsewhere"),
            is_open=known == "in doubt",
            is_settled=known in ("settled", "judged"),
            was_missed=known == "missed",
        ),
        line_is_judged=known == "judged",
    )


class Reference:
    """What waits under one reference, and all that came of it."""

    def __init__(self) -> None:
        self.kept: OpenCapture | None = None
        self.settlements: list[Settlement] = []
        self.results: list[ProcessorResult] = []
        self.asked: deque[tuple[Asked, Micros]] = deque()
        self.now = START
        self._lines = 0

    def tell(self, *steps: str) -> Reference:
        """Go on, an hour a step."""
        for step in steps:
            self.now = later(self.now, seconds=3_600)
            matched = match(self.kept, self._given(step), at=self.now, calendars=Calendars())
            self.kept = matched.kept
            self.settlements += matched.settlements
            if matched.result is not None:
                self.results.append(matched.result)
            if matched.asked is not None:
                assert matched.kept is not None
                self.asked.append((matched.asked, matched.kept.due_at))
        return self

    def outcomes(self) -> list[str]:
        return [settlement.outcome for settlement in self.settlements]

    def waiting(self) -> str:
        """What waits: nothing, a capture, a line, or both with how many lines."""
        if self.kept is None:
            return "nothing"
        lines = (self.kept.line is not None) + len(self.kept.further_lines)
        parts = [self.kept.capture and self.kept.capture.status.value, lines and f"{lines} lines"]
        return ", ".join(part for part in parts if part)

    def _given(self, step: str) -> Given:
        kind, _, rest = (part.strip() for part in step.partition(":"))
        if kind in _CAPTURES:
            return capture(_CAPTURES[kind], at=self.now)
        if kind == "window ends":
            self.now = later(self.now, seconds=10 * 86_400)
            return Due(self.now)
        if rest.endswith("a day later"):
            self.now = later(self.now, seconds=86_400)
            rest = rest.removesuffix("a day later").strip()
        if kind == "known":
            asked, due_at = self.asked.popleft()
            return Judged(asked, due_at, found(rest))
        assert kind.startswith("line"), step
        return self._line(kind.split()[1:])

    def _line(self, words: list[str]) -> SettlementLine:
        if "again" not in words:
            self._lines += 1
        amounts = [int(word) for word in words if word.isdigit()]
        return line(
            self._lines,
            amount_minor=amounts[0] if amounts else 1_000,
            currency="eur" if "eur" in words else "usd",
            kind=next((word for word in words if word in ("fee", "refund", "chargeback")), "capture"),
            at=self.now,
        )
