"""What a run exercised is counted from its evidence: by hand-made operations, and nothing out of nothing."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.coverage import MUST_BE_DONE, MUST_OCCUR, lacking, observed
from tests.chaos.evidence import Booking, Evidence, Leg, Settled, Settlement, State, Step
from tests.chaos.history import Operation

HOLD = Leg(id="tx_1", type="authorization", status="succeeded", amount=5)
CAPTURE = Leg(id="tx_2", type="capture", status="pending", amount=3, hold="tx_1")
STEP = Step(
    partition=0,
    offset=1,
    intent="pi_1",
    sequence=4,
    type="event",
    status="processing",
    amount=5,
    currency="usd",
    capture_method="manual",
    received=0,
    legs=(HOLD, CAPTURE),
)
NOTHING = Evidence(history=(), steps=(), rows={}, bookings=())
PAY = Operation(
    client="c",
    number=1,
    method="POST",
    path="/paymentIntent/pi_1/transaction",
    key="k",
    body={"payment_method": "tok_timeoutThenApproved"},
    asked_at=1.0,
    heard_at=3.0,
    status=201,
    answer={},
)


def seen(*history: Operation) -> dict[str, int]:
    return dict(observed(replace(NOTHING, history=history)))


def test_nothing_is_observed_in_nothing() -> None:
    assert observed(NOTHING) == {}
    assert MUST_OCCUR


def test_a_payment_counts_once_for_whatever_it_came_through() -> None:
    found = observed(replace(NOTHING, steps=(STEP, replace(STEP, sequence=5))))
    assert found == {"status processing": 1, "leg pending": 1, "leg partial capture": 1}


def test_a_line_that_decided_a_capture_is_told_from_a_persons_word() -> None:
    line = replace(STEP, evidence="settlement file 7 (abc), line 3")
    assert observed(replace(NOTHING, steps=(STEP, line)))["capture decided by its line"] == 1
    assert "capture decided by its line" not in observed(replace(NOTHING, steps=(replace(STEP, evidence="a call"),)))


def test_what_a_seed_lacks_is_a_finding() -> None:
    assert lacking(MUST_OCCUR, MUST_BE_DONE) == []
    without = MUST_BE_DONE - {"pause flow-settlement", "kill settlement-import"}
    assert lacking(MUST_OCCUR - {"challenge"}, {*without, "kill ingress"}) == [
        "evidence: there was no challenge",
        "faults: there was no kill settlement-import",
        "faults: there was no pause flow-settlement",
    ]


def test_processors_are_told_apart() -> None:
    def of(leg: Leg) -> dict[str, int]:
        return dict(observed(replace(NOTHING, steps=(replace(STEP, legs=(replace(leg, processor="isonet"),)),))))

    assert of(replace(CAPTURE, status="succeeded"))["captured by isonet"] == 1
    assert of(CAPTURE)["in doubt at isonet"] == 1
    assert of(replace(CAPTURE, type="void", status="succeeded"))["voided at isonet"] == 1
    advice = Booking(
        reference="tx_2", intent="pi_1", type="capture", is_approved=True, amount=3, requests=2, processor="isonet"
    )
    bookings = (advice, replace(advice, requests=1), replace(advice, type="authorization"))
    assert observed(replace(NOTHING, bookings=bookings)) == {"repeated to isonet": 1}


def test_what_settlement_came_to_is_counted() -> None:
    one = Settled(processor="cardnet", reference="tx_2", outcome="settled")
    settlement = Settlement(adjustments=(), files={}, lines=(), settled=(one, one), rows=None, mismatches=None)
    assert observed(replace(NOTHING, settlement=settlement)) == {"settlement settled": 2}


def test_a_race_is_two_that_are_open_at_once() -> None:
    other = replace(PAY, number=2)
    assert seen(PAY, replace(other, asked_at=2.0))["race of a pay"] == 1
    assert "race of a pay" not in seen(PAY, replace(other, asked_at=4.0))
    assert "race of a pay" not in seen(replace(PAY, heard_at=None, status=None), replace(other, asked_at=2.0))
    cancel = replace(other, path="/paymentIntent/pi_1/cancel", key="x", body={}, asked_at=2.0)
    assert seen(PAY, cancel)["race of a cancel"] == 1


def test_late_is_long_after_the_answer_and_forgotten_what_the_fold_no_longer_has() -> None:
    late = replace(PAY, number=2, asked_at=20.0, heard_at=21.0, is_replay=True)
    assert seen(PAY, late) == {"card that times out": 2, "late pay": 1, "replayed": 1}
    evidence = replace(NOTHING, history=(PAY, late))
    before, after = State(sequence=None, written_at=19.0), State(sequence=None, written_at=22.0)
    assert observed(replace(evidence, states={"pi_1": before}))["forgotten pay"] == 1
    assert "forgotten pay" not in observed(replace(evidence, states={"pi_1": after}))


def test_what_clients_hear_is_told_apart() -> None:
    answers = (replace(PAY, number=number, status=status) for number, status in enumerate((None, 202, 503, 409)))
    found = seen(*answers)
    assert (found["unknown"], found["accepted"], found["unavailable"], found["refused"]) == (1, 1, 1, 1)
