"""Settlement on real parts: the network's report settles what was captured, and every mismatch has its name.

The read model is asked about lines without an open capture once its watermark has passed them, which takes a minute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from sandbox.card_network.booking import Booking, Kind, Status
from sandbox.card_network.settlement_lines import lines as settlement_lines
from sandbox.card_network.settlement_report import report
from schemas.identifiers import TransactionId
from tests.harness.api import Json, Merchant, ledger, merchant
from tests.harness.stack import RunningStack, wait_for
from tests.paystream.test_cli import paystream

pytestmark = pytest.mark.timeout(400)

_JUDGED_WITHIN_SECONDS = 200.0


@pytest.fixture(scope="module")
def shop(running_stack: RunningStack) -> Iterator[Merchant]:
    with merchant(running_stack.ingress, running_stack.api_key) as client:
        yield client


def paid(shop: Merchant, amount: int) -> str:
    """A payment that was captured."""
    intent = str(shop.create(amount)["id"])
    answer = shop.pay(intent)
    assert answer.json()["payment_intent"]["status"] == "succeeded", answer.text
    return intent


def booked(stack: RunningStack, intent: str, kind: Kind = Kind.capture) -> Booking:
    """A line's worth of what the network has in its books."""
    (row,) = [row for row in ledger(stack.card_network) if row["payment_intent"] == intent and row["type"] == kind]
    return Booking(
        reference=row["reference"],
        kind=Kind.capture,
        status=Status.approved,
        payment_intent=intent,
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        processor_reference=f"cn_{row['reference'][3:27]}",
        at_micros=int(datetime.now(UTC).timestamp()) * 1_000_000,
    )


def imported(stack: RunningStack, path: Path, text: str) -> str:
    """What the command said of a file."""
    path.write_text(text)
    answer = paystream("settlement", "import", str(path), PAYSTREAM_KAFKA_BOOTSTRAP=stack.kafka)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def settlement_of(shop: Merchant, intent: str, *, within_seconds: float = 30.0) -> Json:
    """The settlement that its status shows, once it does."""

    def found() -> Json | None:
        return next((each for each in shop.status(intent)["transactions"] if each["type"] == "settlement"), None)

    return wait_for(found, what=f"a settlement of {intent}", within_seconds=within_seconds)


def test_the_networks_own_report_settles_what_was_captured(
    running_stack: RunningStack, shop: Merchant, tmp_path: Path
) -> None:
    intents = [paid(shop, amount) for amount in (1_000, 2_500, 1_999)]
    today = datetime.now(UTC).date().isoformat()
    text = httpx.get(f"{running_stack.card_network}/settlement-report", params={"date": today}, timeout=60).text
    assert "imported now, 0 before" in imported(running_stack, tmp_path / "report.csv", text)
    for intent, amount in zip(intents, (1_000, 2_500, 1_999), strict=True):
        settlement = settlement_of(shop, intent)
        assert (settlement["status"], settlement["amount"], settlement["code"]) == ("succeeded", amount, None)
        assert shop.status(intent)["status"] == "succeeded"
    assert "; 0 imported now" in imported(running_stack, tmp_path / "report.csv", text)


def test_every_mismatch_has_its_name(running_stack: RunningStack, shop: Merchant, tmp_path: Path) -> None:
    less, other, twice = (booked(running_stack, paid(shop, 1_000)) for _ in range(3))
    voided = str(shop.create(1_000, capture_method="manual")["id"])
    shop.pay(voided)
    shop.post(f"/paymentIntent/{voided}/cancel", {}, prefer="wait=30")
    held = booked(running_stack, voided, Kind.authorization)
    nobody = replaced(less, reference=TransactionId("tx_" + "0" * 32))
    lines = [replaced(less, amount_minor=900), replaced(other, currency="eur"), twice, twice, held, nobody]
    text = written(lines, on=date(2021, 3, 1))
    said = imported(running_stack, tmp_path / "mismatches.csv", text)
    assert "6 imported now" in said
    expected = {
        (less.reference, "amount"),
        (other.reference, "currency"),
        (twice.reference, "settled_twice"),
        (held.reference, "settled_not_captured"),
        (nobody.reference, "missing_here"),
    }
    statement = "SELECT reference, name FROM reconciliation_mismatches WHERE reference = ANY(%s)"
    references = [reference for reference, _name in expected]
    with psycopg.connect(running_stack.postgres, autocommit=True) as database:
        wait_for(
            lambda: set(database.execute(statement, (references,)).fetchall()) == expected,
            what="the mismatches",
            within_seconds=_JUDGED_WITHIN_SECONDS,
        )
    assert settlement_of(shop, less.payment_intent)["code"] == "amount"


def replaced(booking: Booking, **changes: Any) -> Booking:
    return dataclasses.replace(booking, **changes)


def written(lines: Sequence[Booking], *, on: date) -> str:
    """A report of that date, whose file nobody else imports."""
    return "".join(report(settlement_lines(lines, (), grouped=False), processor="cardnet", settlement_date=on))
