"""The checker on runs made by hand: a good one passes, and each broken promise is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import Booking, Evidence, Leg, Row, State, Step
from tests.chaos.history import Operation

HOLD = Leg(id="tx_1", type="authorization", status="succeeded", amount=5)
CAPTURE = Leg(id="tx_2", type="capture", status="succeeded", amount=5, hold="tx_1")


def opened(leg: Leg) -> Leg:
    return replace(leg, status="created")


def step(sequence: int, status: str, *legs: Leg, received: int = 0, intent: str = "pi_1") -> Step:
    return Step(
        partition=0,
        offset=2 * sequence,
        intent=intent,
        sequence=sequence,
        type="event",
        status=status,
        amount=5,
        currency="usd",
        capture_method="automatic",
        received=received,
        legs=legs,
        content=f"{intent} at {sequence}",
        document=f"event {sequence} of {intent}",
    )


STEPS = (
    step(1, "requires_payment_method"),
    step(2, "processing", opened(HOLD)),
    step(3, "processing", HOLD, opened(CAPTURE)),
    step(4, "succeeded", HOLD, CAPTURE, received=5),
)
ROW = Row(
    intent="pi_1", sequence=4, status="succeeded", amount=5, received=5, legs=(HOLD, CAPTURE), content="pi_1 at 4"
)
BOOKINGS = (
    Booking(reference="tx_1", intent="pi_1", type="authorization", is_approved=True, amount=5, requests=1),
    Booking(reference="tx_2", intent="pi_1", type="capture", is_approved=True, amount=5, requests=2),
)


def shown(sequence: int, status: str) -> dict[str, object]:
    return {"id": "pi_1", "object": "payment_intent", "sequence": sequence, "status": status}


def operation(
    number: int, path: str, *, status: int | None, answer: dict[str, object] | None, **more: object
) -> Operation:
    known: dict[str, object] = {
        "client": "c",
        "number": number,
        "method": "POST",
        "path": path,
        "key": f"k{number}",
        "body": {},
        "asked_at": float(number),
        "heard_at": number + 0.5,
    }
    return Operation(status=status, answer=answer, **{**known, **more})  # type: ignore[arg-type]


CREATED = operation(1, "/paymentIntent", status=201, answer=shown(1, "requires_payment_method"))
PAID = operation(
    2,
    "/paymentIntent/pi_1/transaction",
    status=201,
    answer={"id": "tx_1", "object": "transaction", "status": "succeeded", "payment_intent": shown(4, "succeeded")},
)
READ = operation(3, "/paymentIntent/pi_1/status", status=200, answer=shown(4, "succeeded"), method="GET", key=None)
UNKNOWN = operation(4, "/paymentIntent", status=None, answer=None, heard_at=None)
GOOD = Evidence(
    history=(CREATED, PAID, READ, UNKNOWN),
    steps=STEPS,
    rows={"pi_1": ROW},
    bookings=BOOKINGS,
    states={"pi_1": State(sequence=4, written_at=1.0, content="pi_1 at 4")},
    audited={("pi_1", number): f"event {number} of pi_1" for number in (1, 2, 3, 4)},
)
AUDITED = GOOD.audited or {}
FORGOTTEN = {"pi_1": State(sequence=None, written_at=2.0)}
MANUAL = [replace(one, capture_method="manual") for one in STEPS]
CANCELED = operation(5, "/paymentIntent/pi_1/cancel", status=200, answer=shown(1, "requires_payment_method"))


def capture(*, told_as: str = "tx_2", **body: object) -> Operation:
    told: dict[str, object] = {"id": told_as, "object": "transaction", "status": "succeeded"}
    return replace(PAID, number=6, key="k6", body={"type": "capture", **body}, answer=told)


def test_a_good_run_has_no_findings() -> None:
    assert check(GOOD) == []
    assert check(replace(GOOD, states=FORGOTTEN)) == []


VOID = Leg(id="tx_3", type="void", status="succeeded", amount=5, hold="tx_1")
REVERSAL = replace(VOID, processor="isonet")
UNASKED = Evidence(history=(), steps=(), rows=None, bookings=(), history_is_whole=False)
FAULTS: dict[str, tuple[Evidence, str]] = {
    "a create that is lost": (replace(GOOD, steps=(), rows={}, bookings=()), "lost: pi_1"),
    "a second capture": (
        replace(GOOD, bookings=(*BOOKINGS, replace(BOOKINGS[1], reference="tx_9"))),
        "charged twice: pi_1",
    ),
    "a capture that the network does not know": (replace(GOOD, bookings=BOOKINGS[:1]), "ledger: pi_1 received 5"),
    "another amount": (
        replace(GOOD, bookings=(BOOKINGS[0], replace(BOOKINGS[1], amount=4))),
        "ledger: pi_1 received 5, the network took 4",
    ),
    "a charge of nobody": (
        replace(GOOD, bookings=(*BOOKINGS, replace(BOOKINGS[0], intent="pi_2", reference="tx_8"))),
        "ledger: the network was asked for pi_2",
    ),
    "a hold under a reference of nobody": (
        replace(GOOD, bookings=(*BOOKINGS, replace(BOOKINGS[0], reference="tx_8"))),
        "ledger: tx_8 is booked for pi_1",
    ),
    "a hold for each time that it is asked": (
        replace(GOOD, bookings=(replace(BOOKINGS[0], requests=2), BOOKINGS[1]), repeats_are_holds=True),
        "held twice: tx_1 of pi_1 was asked 2 times",
    ),
    "an authorization that was asked twice by ISO 8583": (
        replace(GOOD, bookings=(replace(BOOKINGS[0], requests=2, processor="isonet"), BOOKINGS[1])),
        "held twice: tx_1 of pi_1 was asked 2 times",
    ),
    "one that was declined both times": (
        replace(
            UNASKED,
            steps=(STEPS[0], STEPS[1], step(3, "requires_payment_method", replace(HOLD, status="declined"))),
            bookings=(replace(BOOKINGS[0], requests=2, processor="isonet", is_approved=False),),
        ),
        "held twice: tx_1 of pi_1 was asked 2 times",
    ),
    "a reversal whose acknowledgement was not heard": (
        replace(
            UNASKED,
            steps=(
                *STEPS[:2],
                step(3, "processing", opened(HOLD), opened(REVERSAL)),
                step(4, "requires_payment_method", replace(HOLD, status="failed"), replace(REVERSAL, status="failed")),
            ),
            bookings=(replace(BOOKINGS[0], reference="tx_3", type="void", processor="isonet"),),
        ),
        "reversal: tx_3 of pi_1 is acknowledged by the network, failed here",
    ),
    "what another processor booked": (
        replace(
            GOOD,
            steps=(*STEPS[:3], step(4, "succeeded", HOLD, replace(CAPTURE, processor="isonet"), received=5)),
            bookings=(BOOKINGS[0], replace(BOOKINGS[1], processor="cardnet")),
        ),
        "ledger: tx_2 was asked of isonet, cardnet booked it",
    ),
    "a call that left before its Transaction was on record": (
        replace(
            GOOD,
            steps=[replace(one, written_at=100.0 + one.sequence) for one in STEPS],
            bookings=(replace(BOOKINGS[0], at=101.5), replace(BOOKINGS[1], at=103.5)),
        ),
        "early: tx_1 of pi_1 was booked 0.500 s before it was on record",
    ),
    "a gap": (replace(GOOD, steps=(*STEPS[:2], STEPS[3])), "sequence: pi_1 has [1, 2, 4]"),
    "a repeat": (replace(GOOD, steps=(*STEPS, replace(STEPS[3], offset=99))), "sequence: pi_1 has [1, 2, 3, 4, 4]"),
    "an impossible step": (
        replace(GOOD, steps=(*STEPS, step(5, "processing", HOLD, CAPTURE, received=5))),
        "history: pi_1 went from succeeded to processing",
    ),
    "a decided transaction that changes": (
        replace(GOOD, steps=(*STEPS, step(5, "succeeded", replace(HOLD, status="failed"), CAPTURE, received=5))),
        "history: tx_1 was succeeded and is failed",
    ),
    "a state that nobody was ever in": (
        replace(GOOD, history=(CREATED, replace(PAID, answer={"id": "tx_1", "payment_intent": shown(4, "canceled")}))),
        "told: pi_1 was canceled at 4",
    ),
    "a sequence that never was": (
        replace(GOOD, history=(CREATED, replace(READ, answer=shown(7, "succeeded")))),
        "told: c heard of sequence 7",
    ),
    "an older read": (
        replace(GOOD, history=(CREATED, PAID, replace(READ, answer=shown(3, "processing")))),
        "stale: c was shown sequence 3 of pi_1 after 4",
    ),
    "a 404 of what had been made": (
        replace(GOOD, history=(CREATED, replace(READ, status=404, answer=None))),
        "stale: c heard 404 of pi_1",
    ),
    "two ids under one key": (
        replace(GOOD, history=(CREATED, replace(CREATED, number=9, answer={**shown(1, "x"), "id": "pi_2"}))),
        "key: /paymentIntent under k1 has the ids",
    ),
    "done twice under one key": (
        replace(GOOD, history=(CREATED, replace(CREATED, number=9, asked_at=9.0))),
        "key: /paymentIntent under k1 was done for the first time 2 times",
    ),
    "a row that is behind": (
        replace(GOOD, rows={"pi_1": replace(ROW, sequence=3, status="processing")}),
        "read model: pi_1 is processing at 3",
    ),
    "a row that is missing": (replace(GOOD, rows={}), "read model: pi_1 is missing"),
    "a row of nobody": (
        replace(GOOD, rows={"pi_1": ROW, "pi_2": replace(ROW, intent="pi_2")}),
        "read model: pi_2 is not in the log",
    ),
    "what is never decided": (
        replace(GOOD, steps=STEPS[:3], rows={"pi_1": replace(ROW, sequence=3, status="processing", received=0)}),
        "undecided: pi_1 is processing",
    ),
    "a hold that nobody ends": (
        replace(GOOD, steps=(STEPS[0], STEPS[1], step(3, "canceled", HOLD)), bookings=BOOKINGS[:1]),
        "hold: tx_1 of pi_1 is approved at the network, succeeded here, and nothing ends it",
    ),
    "money that nobody ever received": (
        replace(GOOD, history=(CREATED, replace(READ, answer={**shown(4, "succeeded"), "amount_received": 6}))),
        "told: amount_received of pi_1 was 6 for c, is 5",
    ),
    "a transaction that never stood so": (
        replace(GOOD, history=(CREATED, replace(PAID, answer={**PAID.answer, "status": "declined"}))),  # type: ignore[dict-item]
        "told: tx_1 was declined for c, is succeeded",
    ),
    "a transaction in a status that never stood so": (
        replace(
            GOOD,
            history=(
                replace(
                    READ,
                    answer={**shown(4, "succeeded"), "transactions": [{"id": "tx_1", "status": "pending"}]},
                ),
            ),
        ),
        "told: tx_1 was pending for c, is succeeded",
    ),
    "an answer that nobody foresaw": (
        replace(GOOD, history=(CREATED, replace(UNKNOWN, status=500))),
        "error: c heard 500 of POST /paymentIntent as its 4",
    ),
    "done, and refused when asked again": (
        replace(GOOD, history=(CREATED, PAID, replace(PAID, number=9, status=404, answer={}, asked_at=9.0))),
        "key: /paymentIntent/pi_1/transaction under k2 was done, and heard 404 afterwards",
    ),
    "a changelog that is behind": (
        replace(GOOD, states={"pi_1": State(sequence=3, written_at=1.0)}),
        "state: pi_1 is at 3 in the changelog, and at 4 in the log",
    ),
    "a changelog without it": (replace(GOOD, states={}), "state: pi_1 is not in the changelog"),
    "forgotten before its end": (
        replace(GOOD, steps=STEPS[:3], states=FORGOTTEN),
        "state: pi_1 is forgotten, and is processing",
    ),
    "a gap in the audit log": (
        replace(GOOD, audited={place: one for place, one in AUDITED.items() if place[1] != 3}),
        "read model: sequence 3 of pi_1 is in the audit log or in the log, not in both",
    ),
    "another event in the audit log": (
        replace(GOOD, audited={**AUDITED, ("pi_1", 2): "another"}),
        "read model: sequence 2 of pi_1 is another event in the audit log",
    ),
    "a row that differs in some field": (
        replace(GOOD, rows={"pi_1": replace(ROW, content="another")}),
        "read model: pi_1 is not in all fields",
    ),
    "a row over another amount": (replace(GOOD, rows={"pi_1": replace(ROW, amount=6)}), "read model: pi_1 is"),
    "a state that differs in some field": (
        replace(GOOD, states={"pi_1": State(sequence=4, written_at=1.0, content="another")}),
        "state: pi_1 is in the changelog not in all fields",
    ),
    "an amount that was never asked for": (
        replace(GOOD, history=(replace(CREATED, body={"amount": 4}), PAID)),
        "asked: amount of pi_1 was to be 4, is 5",
    ),
    "another way of capturing": (
        replace(GOOD, history=(replace(CREATED, body={"capture_method": "manual"}), PAID)),
        "asked: capture_method of pi_1 was to be manual, is automatic",
    ),
    "one payment for two keys": (
        replace(GOOD, history=(CREATED, replace(CREATED, number=9, key="k9"), PAID)),
        "asked: pi_1 was given for k9 and for k1",
    ),
    "a payment that nobody asked for": (
        replace(GOOD, history=(CREATED, PAID), steps=(*STEPS, step(1, "requires_payment_method", intent="pi_2"))),
        "asked: 2 payments are in the log, 1 were asked for",
    ),
    "a payment that was refused": (
        replace(GOOD, history=(CREATED, replace(PAID, status=409, answer={}))),
        "asked: pi_1 has 1 of what 0 times may have been asked for: pay",
    ),
    "a payment without an attempt": (
        replace(GOOD, history=(CREATED,)),
        "asked: pi_1 has 1 of what 0 times may have been asked for: pay",
    ),
    "a capture that nobody asked for": (
        replace(GOOD, steps=MANUAL),
        "asked: pi_1 has 1 of what 0 times may have been asked for: capture",
    ),
    "a capture of another amount": (
        replace(GOOD, history=(CREATED, PAID, capture(amount=3)), steps=MANUAL),
        "asked: tx_2 of pi_1 is over 5, asked for was 3",
    ),
    "a capture in the place of a void": (
        replace(GOOD, history=(CREATED, PAID, replace(capture(), body={"type": "void"}))),
        "asked: tx_2 of pi_1 is a capture, asked for was a void",
    ),
    "a transaction that is not there": (
        replace(GOOD, history=(CREATED, PAID, capture(told_as="tx_7"))),
        "asked: tx_7 was told of pi_1",
    ),
    "an attempt over another amount": (
        replace(GOOD, steps=[replace(one, amount=4) for one in STEPS]),
        "asked: pi_1 is over 4, its attempts are over [5]",
    ),
    "a cancel without effect": (
        replace(GOOD, history=(CREATED, PAID, CANCELED)),
        "asked: pi_1 was canceled for c, and is succeeded",
    ),
    "a create that is answered with the past": (
        replace(GOOD, history=(CREATED, PAID, replace(CREATED, number=9, asked_at=9.0, is_replay=True))),
        "stale: c was shown sequence 1 of pi_1 after 4 had been told",
    ),
    "a leap over processing": (
        replace(GOOD, steps=(*STEPS[:2], step(3, "requires_capture", HOLD), step(4, "succeeded", HOLD, received=5))),
        "history: pi_1 went from requires_capture to succeeded",
    ),
    "a transaction that was never created": (
        replace(GOOD, steps=(STEPS[0], step(2, "processing", HOLD))),
        "history: tx_1 of pi_1 begins as succeeded",
    ),
    "an amount that changes on the way": (
        replace(GOOD, steps=(*STEPS[:3], replace(STEPS[3], amount=6))),
        "history: pi_1 was over (5, 'usd', 'automatic') and is over (6, 'usd', 'automatic')",
    ),
    "a transaction that changes on the way": (
        replace(GOOD, steps=(*STEPS[:2], step(3, "processing", replace(HOLD, amount=6), opened(CAPTURE)))),
        "history: tx_1 was ('authorization', 5, None) and is ('authorization', 6, None)",
    ),
    "a success without money": (
        replace(GOOD, steps=(*STEPS[:3], step(4, "succeeded", HOLD))),
        "money: pi_1 is succeeded and has received 0",
    ),
    "money that came in without success": (
        replace(GOOD, steps=(*STEPS[:3], step(4, "requires_payment_method", HOLD, CAPTURE, received=5))),
        "money: pi_1 is requires_payment_method and has received 5",
    ),
    "a capture of what was declined": (
        replace(GOOD, steps=(*STEPS[:2], step(3, "processing", replace(HOLD, status="declined"), opened(CAPTURE)))),
        "money: pi_1 captures what was not authorized",
    ),
    "a hold of another amount": (
        replace(GOOD, bookings=(replace(BOOKINGS[0], amount=500), BOOKINGS[1])),
        "ledger: tx_1 is over 5, the network booked 500",
    ),
    "a booking of another kind": (
        replace(GOOD, bookings=(replace(BOOKINGS[0], type="void"), BOOKINGS[1])),
        "ledger: tx_1 is a authorization, the network booked a void",
    ),
    "a failure without evidence": (
        replace(UNASKED, steps=(*STEPS[:2], step(3, "requires_payment_method", replace(HOLD, status="failed")))),
        "unproved: the authorization tx_1 of pi_1 is failed",
    ),
    "a dead letter": (replace(GOOD, dead_letters=("corrupt",)), "dead letter: corrupt"),
}


@pytest.mark.parametrize(("evidence", "finding"), FAULTS.values(), ids=FAULTS)
def test_a_broken_promise_is_found(evidence: Evidence, finding: str) -> None:
    assert any(one.startswith(finding) for one in check(evidence)), check(evidence)


def test_what_is_booked_once_it_is_on_record_is_not_early() -> None:
    steps = [replace(one, written_at=100.0 + one.sequence) for one in STEPS]
    bookings = (replace(BOOKINGS[0], at=101.995), replace(BOOKINGS[1], at=1_000.0))
    assert check(replace(GOOD, steps=steps, bookings=bookings)) == []


def test_of_two_that_were_open_at_once_either_may_take_itself_for_the_first() -> None:
    assert check(replace(GOOD, history=(CREATED, PAID, replace(CREATED, number=9, asked_at=1.2)))) == []


def test_a_hold_that_was_voided_or_waits_for_the_merchant_has_an_end() -> None:
    voided = (*STEPS[:2], step(3, "processing", HOLD, opened(VOID)), step(4, "canceled", HOLD, VOID))
    bookings = (BOOKINGS[0], replace(BOOKINGS[0], reference="tx_3", type="void"))
    assert check(replace(UNASKED, steps=voided, bookings=bookings)) == []
    waiting = (STEPS[0], STEPS[1], step(3, "requires_capture", HOLD))
    assert check(replace(UNASKED, steps=waiting, bookings=BOOKINGS[:1])) == []


def test_of_a_history_that_is_not_whole_nothing_is_known_about_what_was_asked() -> None:
    assert check(replace(GOOD, history=(), history_is_whole=False)) == []
    assert any(one.startswith("asked: ") for one in check(replace(GOOD, history=())))
