"""`make bench-doubt` on a small scale, and what its verdict is made of."""

from __future__ import annotations

import pytest

from bench.customers import Load
from bench.doubt import PAYMENTS, Measured, judge, measure
from sandbox.audit import BrokenPromise, Promise
from schemas.payment import PaymentIntent
from tests.sandbox.test_audit import HELD, PAID, payment, transaction

_SMALL = 300


def judged(*states: PaymentIntent, broken: tuple[BrokenPromise, ...] = (), asked: int | None = None) -> Measured:
    return judge(
        {f"pi_{number}": state for number, state in enumerate(states)},
        broken,
        load=Load(commands=30),
        asked=len(states) if asked is None else asked,
        faults={"http": {"arrivals": 30, "reset": 3}},
        seconds=10.0,
        seconds_to_heal=1.0,
    )


def breach(promise: Promise, intent: str = "pi_0") -> BrokenPromise:
    return BrokenPromise(promise=promise, payment_intent=intent, how="is wrong")


def test_a_run_in_which_the_books_agree_keeps_its_promises() -> None:
    measured = judged(PAID, PAID, HELD)
    assert measured.promises_are_kept
    assert measured.ended_as == {"succeeded": 2, "requires_capture": 1}
    assert measured.transactions == {"authorization succeeded": 3, "capture succeeded": 2}
    assert (measured.commands_per_second, measured.iso8583_connections) == (3.0, 64)
    assert measured.fault_rates == {"http": {"reset": 0.1}}
    assert "iso8583: nothing arrived" in measured.fault_rates_missed


@pytest.mark.parametrize("promise", Promise)
def test_any_breach_breaks_the_run(promise: Promise) -> None:
    assert not judged(PAID, broken=(breach(promise),)).promises_are_kept


def test_breaches_are_counted_by_payment_and_told() -> None:
    twice = (breach(Promise.charged_twice), breach(Promise.charged_twice), breach(Promise.charged_twice, "pi_1"))
    others = (breach(Promise.undecided), breach(Promise.held_for_nobody), breach(Promise.failed_without_evidence))
    measured = judged(PAID, PAID, broken=(*twice, *others))
    assert (measured.double_charges, measured.undecided) == (2, 1)
    assert (measured.failed_without_evidence, measured.other_broken_promises) == (1, 1)
    assert measured.broken[0] == "charged_twice: pi_0 is wrong"


def test_a_payment_that_is_not_in_the_log_is_lost() -> None:
    measured = judged(PAID, asked=2)
    assert (measured.lost, measured.promises_are_kept) == (1, False)


def test_what_was_in_doubt_is_seen() -> None:
    pending = payment("processing", transaction(PAID.transactions[0].id, "authorization", "pending"))
    assert judged(pending).transactions == {"authorization pending": 1}


@pytest.mark.timeout(420)
def test_three_hundred_payments_under_faults_keep_every_promise() -> None:
    assert _SMALL < PAYMENTS
    measured = measure(_SMALL, workers=32)
    assert measured.promises_are_kept, measured
    assert measured.payments == _SMALL
    assert set(measured.payments_by_protocol.values()) == {_SMALL // 2}
    # It has been put to the test, or it could not have failed.
    assert all(counts["arrivals"] > _SMALL / 2 for counts in measured.faults.values())
    thrown = {name for counts in measured.faults.values() for name in counts}
    assert thrown >= {"timeout", "timeout_request_lost", "reset", "reset_request_lost", "duplicate"}
    assert measured.transactions["void (doubt) succeeded"] > 0
    assert measured.ended_as["succeeded"] > _SMALL / 2
