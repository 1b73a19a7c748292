"""The checker on settlements made by hand, and what is chosen to be wrong in the files of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.chaos.adjusting import choose
from tests.chaos.evidence import Adjustment, Booking, Leg, Line, Settled, Settlement, Step
from tests.chaos.settled import OUTCOMES, check_settlement, expected_outcomes
from tests.chaos.settling import lines_of
from tests.topology.settlement_files.files import csv_file, nested_file

PROCESSORS = ("cardnet", "isonet")


def paid(number: int, processor: str = "cardnet", *, is_captured: bool = True) -> Step:
    """A payment of 5 and its number, captured or voided."""
    hold = Leg(id=f"tx_{number}h", type="authorization", status="succeeded", amount=5 + number, processor=processor)
    kind = "capture" if is_captured else "void"
    end = replace(hold, id=f"tx_{number}", type=kind, hold=hold.id)
    return Step(
        partition=0,
        offset=number,
        intent=f"pi_{number}",
        sequence=4,
        type="event",
        status="succeeded" if is_captured else "canceled",
        amount=5 + number,
        currency="usd",
        capture_method="automatic",
        received=5 + number if is_captured else 0,
        legs=(hold, end),
    )


def booked(step: Step) -> list[Booking]:
    """What the network has of it."""
    return [
        Booking(
            reference=leg.id,
            intent=step.intent,
            type=leg.type,
            is_approved=True,
            amount=leg.amount,
            requests=1,
            currency="usd",
            processor=leg.processor,
        )
        for leg in step.legs
    ]


def settled(step: Step, outcome: str = "settled", *, line: int | None = 1, leg: int = -1) -> Settled:
    """What became of it, as it should be."""
    one = step.legs[leg]
    return Settled(
        processor=one.processor,
        reference=one.id,
        outcome=outcome,
        intent=step.intent,
        transaction=one.id,
        captured=one.amount,
        captured_currency="usd",
        line=line,
        gross=None if line is None else one.amount,
        currency=None if line is None else "usd",
    )


def line(number: int, reference: str) -> Line:
    return Line(processor="cardnet", file="f1", number=number, reference=reference)


ONE, TWO, VOIDED = paid(1), paid(2), paid(3, is_captured=False)
STEPS = (ONE, TWO, VOIDED)
GOOD = Settlement(
    adjustments=(),
    files={"f1": 2},
    lines=(line(1, "tx_1"), line(2, "tx_2")),
    settled=(settled(ONE), settled(TWO, line=2)),
    rows=(settled(ONE), settled(TWO, line=2)),
    mismatches=(),
)


def adjusted(*adjustments: Adjustment, to: Sequence[Settled]) -> Settlement:
    """A run in which these adjustments came to that, and the read model knows of it."""
    mismatches = [(one.reference, one.outcome) for one in to if one.outcome not in ("settled", "unmatched_kind")]
    return replace(GOOD, adjustments=adjustments, settled=tuple(to), rows=tuple(to), mismatches=mismatches)


def an(action: str, reference: str = "tx_1", **more: object) -> Adjustment:
    return Adjustment(action=action, processor="cardnet", reference=reference, **more)  # type: ignore[arg-type]


def findings(settlement: Settlement, steps: Sequence[Step] = STEPS) -> list[str]:
    bookings = [one for step in steps for one in booked(step)]
    return list(check_settlement(settlement, bookings, {step.intent: [step] for step in steps}))


OTHER = settled(TWO, line=2)
NOBODY = Settled(processor="cardnet", reference="tx_n", outcome="missing_here", line=3, gross=7, currency="usd")
CAUSED: dict[str, Settlement] = {
    "nothing": GOOD,
    "a line left out": adjusted(an("omit"), to=[settled(ONE, "missing_at_processor", line=None), OTHER]),
    "a line that is doubled": adjusted(an("double"), to=[settled(ONE), settled(ONE, "settled_twice", line=3), OTHER]),
    "another amount": adjusted(an("change", amount=9), to=[replace(settled(ONE, "amount"), gross=9), OTHER]),
    "another currency": adjusted(
        an("change", currency="eur"), to=[replace(settled(ONE, "currency"), currency="eur"), OTHER]
    ),
    "a line of nobody": adjusted(an("add", "tx_n", amount=7, currency="usd"), to=[settled(ONE), OTHER, NOBODY]),
    "a charge of what was voided": adjusted(
        an("add", "tx_3h", amount=8, currency="usd"),
        to=[settled(ONE), OTHER, settled(VOIDED, "settled_not_captured", leg=0)],
    ),
    "a chargeback": adjusted(
        an("add", kind="chargeback", amount=-6, currency="usd"),
        to=[settled(ONE), OTHER, replace(settled(ONE, "unmatched_kind", line=3), gross=-6)],
    ),
}


@pytest.mark.parametrize("settlement", CAUSED.values(), ids=CAUSED)
def test_what_was_caused_is_no_finding(settlement: Settlement) -> None:
    assert findings(settlement) == []


@pytest.mark.parametrize("cause", [name for name in CAUSED if name != "nothing"])
def test_the_same_uncaused_is_one(cause: str) -> None:
    assert any(one.startswith("settlement: ") for one in findings(replace(CAUSED[cause], adjustments=())))


@pytest.mark.parametrize("cause", [name for name in CAUSED if name != "nothing"])
def test_what_was_caused_and_did_not_come_is_one(cause: str) -> None:
    found = findings(replace(GOOD, adjustments=CAUSED[cause].adjustments))
    assert any(one.startswith("unsettled: ") for one in found), found


FAULTS: dict[str, tuple[Settlement, str]] = {
    "a capture that is never settled": (
        replace(GOOD, settled=(OTHER,), rows=(OTHER,)),
        "unsettled: tx_1 of cardnet should be settled, 1 times",
    ),
    "a capture that is settled twice": (
        replace(GOOD, settled=(*GOOD.settled, settled(ONE, line=3))),
        "settlement: tx_1 of cardnet is settled, 1 times more than anybody caused",
    ),
    "what waits after its window": (replace(GOOD, waiting=("cardnet:tx_1",)), "unsettled: something still waits"),
    "a line that is there twice": (
        replace(GOOD, lines=(*GOOD.lines, line(1, "tx_1"))),
        "file: lines [1] of f1 are in the log more than once",
    ),
    "a line that is lost": (replace(GOOD, lines=GOOD.lines[:1]), "file: f1 has 2 lines, the log 1; [2] are lost"),
    "a line too many": (replace(GOOD, lines=(*GOOD.lines, line(3, "tx_9"))), "file: f1 has 2 lines, the log 3"),
    "lines of a file that is no file": (replace(GOOD, files={}), "file: lines of f1 are in the log"),
    "a settlement over another amount": (
        replace(GOOD, settled=(replace(settled(ONE), gross=7), OTHER)),
        "settlement: the line of tx_1 was over 6 usd, settled was 7 usd",
    ),
    "a settlement beside another capture": (
        replace(GOOD, settled=(replace(settled(ONE), captured=7), OTHER)),
        "settlement: tx_1 is over 6 usd, settlement says 7 usd",
    ),
    "a settlement in another currency": (
        replace(GOOD, settled=(replace(settled(ONE), captured_currency="eur"), OTHER)),
        "settlement: tx_1 is over 6 usd, settlement says 6 eur",
    ),
    "a settlement of another payment": (
        replace(GOOD, settled=(replace(settled(ONE), intent="pi_2"), OTHER)),
        "settlement: tx_1 of pi_1 is told of pi_2",
    ),
    "a settlement of another Transaction": (
        replace(GOOD, settled=(replace(settled(ONE), transaction="tx_2"), OTHER)),
        "settlement: tx_1 of cardnet is told of tx_2",
    ),
    "a settlement by another processor": (
        replace(GOOD, settled=(replace(settled(ONE), processor="isonet"), OTHER)),
        "settlement: tx_1 of isonet is settled, 1 times more",
    ),
    "a settlement that the read model lacks": (
        replace(GOOD, rows=(OTHER,)),
        "read model: tx_1 as settled is missing in the settlements",
    ),
    "a settlement that only the read model has": (
        replace(GOOD, rows=(*(GOOD.rows or ()), settled(ONE, line=9))),
        "read model: tx_1 as settled is in the settlements 1 times too often",
    ),
    "a mismatch that is shown and is none": (
        replace(GOOD, mismatches=(("tx_1", "amount"),)),
        "read model: tx_1 as amount is a mismatch in the log or in the read model, not in both",
    ),
}


@pytest.mark.parametrize(("settlement", "finding"), FAULTS.values(), ids=FAULTS)
def test_a_broken_promise_is_found(settlement: Settlement, finding: str) -> None:
    assert any(one.startswith(finding) for one in findings(settlement)), findings(settlement)


MANY = [
    paid(number, PROCESSORS[number % 2], is_captured=number % 4 < 3) for number in range(100)
]  # Of each processor some are captured; only of isonet some are voided.


def test_a_seed_chooses_every_kind_of_mismatch_and_each_transaction_once() -> None:
    chosen = choose(7, MANY)
    assert chosen == choose(7, reversed(MANY)) != choose(8, MANY)
    assert max(Counter(one.reference for one in chosen).values()) == 1
    assert {one.processor for one in chosen} == set(PROCESSORS)
    outcomes = {outcome for (_, _, outcome), _ in expected_outcomes(chosen, {one.intent: [one] for one in MANY})}
    assert outcomes == OUTCOMES


def test_of_few_payments_fewer_are_made_to_be_wrong() -> None:
    assert [one.action for one in choose(7, [])] == ["add", "add"]
    assert [one.action for one in choose(7, [ONE])] == ["omit", "add", "add"]


def test_a_file_says_how_many_lines_it_has() -> None:
    assert lines_of(csv_file()) == lines_of(nested_file()) == 4
