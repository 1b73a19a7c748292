"""What settlement is told of captures, once for each state that one comes to."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.identifiers import TransactionId
from schemas.partitioner import partition
from schemas.payment import CaptureMethod
from schemas.settlement import Capture
from schemas.topics import CAPTURES
from tests.topology.domain.script import Payment
from tests.topology.reconciliation.rig import APPROVED, Rig
from topology.pending.captures import capture_in

APPROVE = ("attempt", "authorization: approved ref=cn_1")


def told(*steps: str, manual: bool = False) -> list[str]:
    """The status of each capture that settlement was told of, in order."""
    capture = CaptureMethod.manual if manual else CaptureMethod.automatic
    rig = Rig(payment=Payment(route=("a",), capture=capture)).tell(*steps)
    return [record.status for record in rig.driver.read(CAPTURES)]


@pytest.mark.parametrize(
    ("steps", "manual", "expected"),
    [
        ((*APPROVE, "capture: approved ref=cn_2"), False, ["succeeded"]),
        ((*APPROVE, "capture: unknown"), False, ["pending"]),
        ((*APPROVE, "capture: unknown", "capture: lookup approved"), False, ["pending", "succeeded"]),
        ((*APPROVE, "capture: unknown", "capture: lookup unknown"), False, ["pending"]),
        ((*APPROVE, "capture: unknown", "capture: declined gone"), False, ["pending", "failed"]),
        ((*APPROVE, "capture: declined open"), False, ["failed"]),
        ((*APPROVE, "capture 400", "capture: approved"), True, ["succeeded"]),
        ((*APPROVE, "void", "void: approved"), True, []),
        (("attempt", "authorization: declined"), False, []),
        (APPROVE, False, []),
    ],
    ids=[
        "captured", "in doubt", "in doubt, then captured", "in doubt still", "in doubt, then failed", "failed",
        "captured in part", "voided", "declined", "not captured yet",
    ],
)  # fmt: skip
def test_each_state_is_told_once(steps: tuple[str, ...], manual: bool, expected: list[str]) -> None:
    assert told(*steps, manual=manual) == expected


def test_it_is_known_by_our_own_reference_on_its_own_partition() -> None:
    rig = Rig().tell(*APPROVE, "capture: approved ref=cn_2")
    capture = rig.payment.latest("capture")
    ((number, key, _value),) = rig.driver.log[CAPTURES.name]
    assert key == f"a:{capture.id}"
    assert number == partition(key, 4)
    (record,) = rig.driver.read(CAPTURES)
    assert record == Capture(
        processor="a",
        processor_reference="cn_2",
        payment_intent_id=rig.payment.intent.id,
        transaction_id=TransactionId(capture.id),
        status=capture.status,
        amount_minor=1_000,
        currency="usd",
        at=capture.completed_at or rig.clock.now(),
        livemode=False,
    )


@pytest.mark.parametrize(("said", "told"), [("", 400), (" 300", 300), (" 500", 400)])
def test_it_is_over_what_was_received(said: str, told: int) -> None:
    """Which the merchant has been shown: a line over anything else is a mismatch."""
    rig = Rig(payment=Payment(route=("a",), capture=CaptureMethod.manual))
    rig.tell(*APPROVE, "capture 400", f"capture: approved{said}")
    (record,) = rig.driver.read(CAPTURES)
    assert record.amount_minor == told == rig.payment.intent.amount_received_minor


def test_it_tells_real_money_from_test_mode() -> None:
    """Which decides the clock that its settlement window goes by."""
    rig = Rig().tell(*APPROVE, "capture: approved")
    event = rig.payment.events[-1]
    for livemode in (False, True):
        told = capture_in(replace(event, payment_intent=replace(event.payment_intent, livemode=livemode)))
        assert told is not None
        assert told.livemode is livemode


def test_one_in_doubt_has_no_reference_of_the_processors() -> None:
    rig = Rig().tell(*APPROVE, "capture: unknown")
    (record,) = rig.driver.read(CAPTURES)
    assert (record.processor_reference, record.at) == ("", rig.payment.events[-1].at)


def test_a_part_has_the_amount_of_the_part() -> None:
    rig = Rig(payment=Payment(route=("a",), capture=CaptureMethod.manual))
    rig.tell(*APPROVE, "capture 400", "capture: approved")
    (record,) = rig.driver.read(CAPTURES)
    assert record.amount_minor == 400


def test_what_was_told_is_not_told_again_after_a_crash() -> None:
    rig = Rig().tell(*APPROVE, "capture: unknown")
    assert len(rig.driver.read(CAPTURES)) == 1
    rig.restart()
    rig.advance(10.0)
    rig.answer(APPROVED)
    rig.feed()
    assert [record.status for record in rig.driver.read(CAPTURES)] == ["succeeded"]
