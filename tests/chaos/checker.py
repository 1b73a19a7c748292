"""Decides whether a run kept the promises: a pure function of what clients heard and what lies in the books.

It knows the API, the table of states of DESIGN.md section 5 and the names of statuses, and nothing of how any of it is
done. Each finding names the promise that was broken and where.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from tests.chaos.asked import check_asked
from tests.chaos.evidence import ISO8583, OPEN, Booking, Evidence, Leg, Row, State, Step
from tests.chaos.proved import check_proofs
from tests.chaos.settled import check_settlement
from tests.chaos.told import check_history

__all__ = ["check"]

_NEXT: Mapping[str, frozenset[str]] = {
    "requires_payment_method": frozenset({"requires_payment_method", "processing", "canceled"}),
    "processing": frozenset(
        {"processing", "requires_action", "requires_capture", "succeeded", "requires_payment_method", "canceled"}
    ),
    "requires_action": frozenset({"requires_action", "processing", "requires_capture", "requires_payment_method"}),
    "requires_capture": frozenset({"requires_capture", "processing"}),
    "succeeded": frozenset({"succeeded"}),
    "canceled": frozenset({"canceled"}),
}
_LEG_NEXT: Mapping[str, frozenset[str]] = {
    "created": frozenset(
        {"created", "requires_action", "pending", "succeeded", "declined", "failed", "canceled", "expired"}
    ),
    "requires_action": frozenset(
        {"requires_action", "pending", "succeeded", "declined", "failed", "canceled", "expired"}
    ),
    "pending": frozenset({"pending", "requires_action", "succeeded", "declined", "failed", "canceled", "expired"}),
}
_FINAL = frozenset({"succeeded", "canceled"})
_UNDECIDED = frozenset({"processing"})
# Of processes on one machine; the broker's is in whole milliseconds.
_CLOCKS_APART_SECONDS = 0.01


def check(evidence: Evidence) -> list[str]:
    """Every broken promise, as a sentence; none where all were kept."""
    steps = _by_intent(evidence.steps)
    return [
        *_histories_are_legal(steps),
        *check_history(evidence.history, steps),
        *(check_asked(evidence.history, steps) if evidence.history_is_whole else ()),
        *_the_ledger_agrees(evidence.bookings, steps),
        *check_proofs(evidence.bookings, steps),
        *_nothing_is_held_twice(evidence),
        *_nothing_is_done_before_it_is_on_record(evidence),
        *_the_read_model_is_the_fold(evidence, steps),
        *_the_changelog_is_the_fold(evidence.states, steps),
        *_all_is_decided(steps),
        *(check_settlement(evidence.settlement, evidence.bookings, steps) if evidence.settlement is not None else ()),
        *(f"dead letter: {cause}" for cause in evidence.dead_letters),
    ]


def _by_intent(steps: Sequence[Step]) -> dict[str, list[Step]]:
    """The steps of each PaymentIntent, in the order of the log."""
    found: dict[str, list[Step]] = defaultdict(list)
    for step in sorted(steps, key=lambda step: (step.partition, step.offset)):
        found[step.intent].append(step)
    return dict(found)


def _histories_are_legal(steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    for intent, own in steps.items():
        if len({step.partition for step in own}) > 1:
            yield f"order: {intent} lies on more than one partition"
        if [step.sequence for step in own] != list(range(1, len(own) + 1)):
            yield f"sequence: {intent} has {[step.sequence for step in own]}"
        if own[0].status != "requires_payment_method" or own[0].legs:
            yield f"history: {intent} begins as {own[0].status} with {len(own[0].legs)} transactions"
        for before, after in pairwise(own):
            if after.status not in _NEXT[before.status]:
                yield f"history: {intent} went from {before.status} to {after.status} at sequence {after.sequence}"
            if _terms(before) != _terms(after):
                yield f"history: {intent} was over {_terms(before)} and is over {_terms(after)}"
            yield from _legs_go_on(before, after)
        yield from _money_is_possible(own)


def _terms(step: Step) -> tuple[int, str, str]:
    """What a PaymentIntent is about, which never changes."""
    return step.amount, step.currency, step.capture_method


def _legs_go_on(before: Step, after: Step) -> Iterator[str]:
    now = {leg.id: leg for leg in after.legs}
    known = {leg.id for leg in before.legs}
    for leg in after.legs:
        if leg.id not in known and leg.status != "created":
            yield f"history: {leg.id} of {after.intent} begins as {leg.status} at sequence {after.sequence}"
    for leg in before.legs:
        if leg.id not in now:
            yield f"history: {leg.id} of {after.intent} is gone at sequence {after.sequence}"
        elif leg.status not in OPEN and now[leg.id].status != leg.status:
            yield f"history: {leg.id} was {leg.status} and is {now[leg.id].status} at sequence {after.sequence}"
        elif leg.status in OPEN and now[leg.id].status not in _LEG_NEXT[leg.status]:
            yield f"history: {leg.id} went from {leg.status} to {now[leg.id].status}"
        if leg.id in now and _what(leg) != _what(now[leg.id]):
            yield f"history: {leg.id} was {_what(leg)} and is {_what(now[leg.id])} at sequence {after.sequence}"


def _what(leg: Leg) -> tuple[str, int, str | None]:
    """What a Transaction is, which never changes."""
    return leg.type, leg.amount, leg.hold


def _money_is_possible(own: Sequence[Step]) -> Iterator[str]:
    for step in own:
        captured = sum(leg.amount for leg in step.legs if leg.type == "capture" and leg.status == "succeeded")
        if captured != step.received or captured > step.amount:
            yield f"money: {step.intent} received {step.received} by captures of {captured} at sequence {step.sequence}"
        if (step.received > 0) != (step.status == "succeeded"):
            yield f"money: {step.intent} is {step.status} and has received {step.received} at sequence {step.sequence}"
        holds = {leg.id for leg in step.legs if leg.type == "authorization" and leg.status == "succeeded"}
        if any(leg.type == "capture" and leg.hold not in holds for leg in step.legs):
            yield f"money: {step.intent} captures what was not authorized at sequence {step.sequence}"
        unresolved = [leg for leg in step.legs if leg.status in OPEN and leg.type != "void"]
        if len(unresolved) > 1:
            yield f"money: {step.intent} has {len(unresolved)} unresolved transactions at sequence {step.sequence}"


def _the_ledger_agrees(bookings: Sequence[Booking], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    """The outside truth: one capture at most, of the amount that we say, and no hold that nobody releases."""
    by_intent: dict[str, list[Booking]] = defaultdict(list)
    for booking in bookings:
        by_intent[booking.intent].append(booking)
    for intent in by_intent.keys() | steps.keys():
        booked = by_intent.get(intent, [])
        own = steps.get(intent)
        if own is None:
            yield f"ledger: the network was asked for {intent}, of which the log knows nothing"
            continue
        last = own[-1]
        captures = [one for one in booked if one.type == "capture" and one.is_approved]
        if len(captures) > 1:
            yield f"charged twice: {intent} by {[one.reference for one in captures]}"
        if sum(one.amount for one in captures) != last.received:
            yield f"ledger: {intent} received {last.received}, the network took {sum(one.amount for one in captures)}"
        for reference in sorted({one.reference for one in booked} - {leg.id for leg in last.legs}):
            yield f"ledger: {reference} is booked for {intent}, which has no such transaction"
        yield from _legs_agree(last, {one.reference: one for one in booked})


def _nothing_is_held_twice(evidence: Evidence) -> Iterator[str]:
    """By ISO 8583 an authorization asked again is always another one, so that must not even be tried."""
    for one in evidence.bookings:
        if one.type != "authorization" or one.requests < 2:
            continue
        if one.processor == ISO8583 or (evidence.repeats_are_holds and one.is_approved):
            yield f"held twice: {one.reference} of {one.intent} was asked {one.requests} times, each a hold"


def _nothing_is_done_before_it_is_on_record(evidence: Evidence) -> Iterator[str]:
    """Nobody calls for a Transaction that is not in the log: of a reversal, that is what a time-out waits for."""
    opened: dict[str, float] = {}
    for step in evidence.steps:
        if step.written_at is not None:
            for leg in step.legs:
                opened[leg.id] = min(opened.get(leg.id, step.written_at), step.written_at)
    for one in evidence.bookings:
        if one.at is not None and one.at + _CLOCKS_APART_SECONDS < opened.get(one.reference, 0.0):
            early = opened[one.reference] - one.at
            yield f"early: {one.reference} of {one.intent} was booked {early:.3f} s before it was on record"


def _legs_agree(last: Step, booked: Mapping[str, Booking]) -> Iterator[str]:
    for leg in last.legs:
        booking = booked.get(leg.id)
        is_approved = booking is not None and booking.is_approved
        if booking is not None and booking.type != leg.type:
            yield f"ledger: {leg.id} is a {leg.type}, the network booked a {booking.type}"
        elif booking is not None and leg.status == "succeeded" and leg.type != "void" and booking.amount != leg.amount:
            yield f"ledger: {leg.id} is over {leg.amount}, the network booked {booking.amount}"
        elif booking is not None and booking.processor != leg.processor and booking.processor and leg.processor:
            yield f"ledger: {leg.id} was asked of {leg.processor}, {booking.processor} booked it"
        if leg.status == "succeeded" and not is_approved:
            yield f"ledger: {leg.id} succeeded, and the network did not approve it"
        if leg.type == "void" and is_approved and leg.processor == ISO8583 and leg.status != "succeeded":
            # It answers a reversal the same for longer than a run lasts, so whoever insists hears of it.
            yield f"reversal: {leg.id} of {last.intent} is acknowledged by the network, {leg.status} here"
        if leg.type == "authorization" and is_approved and not _is_seen_to(last, leg):
            yield f"hold: {leg.id} of {last.intent} is approved at the network, {leg.status} here, and nothing ends it"


def _is_seen_to(last: Step, hold: Leg) -> bool:
    """Whether a hold has ended, or the merchant may still capture it."""
    if hold.status == "expired" or (hold.status == "succeeded" and last.status == "requires_capture"):
        return True
    return any(leg.hold == hold.id and leg.status == "succeeded" for leg in last.legs)


def _the_read_model_is_the_fold(evidence: Evidence, steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    if evidence.rows is not None:
        yield from _rows_are_the_fold(evidence.rows, steps)
    if evidence.audited is not None:
        logged = {(step.intent, step.sequence): step.document for step in evidence.steps}
        for intent, sequence in sorted(logged.keys() ^ evidence.audited.keys()):
            yield f"read model: sequence {sequence} of {intent} is in the audit log or in the log, not in both"
        for intent, sequence in sorted(logged.keys() & evidence.audited.keys()):
            if logged[intent, sequence] != evidence.audited[intent, sequence]:
                yield f"read model: sequence {sequence} of {intent} is another event in the audit log"


def _rows_are_the_fold(rows: Mapping[str, Row], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    for intent in rows.keys() - steps.keys():
        yield f"read model: {intent} is not in the log"
    for intent, own in steps.items():
        row, last = rows.get(intent), own[-1]
        if row is None:
            yield f"read model: {intent} is missing"
        elif (row.sequence, row.status, row.amount, row.received) != (
            last.sequence,
            last.status,
            last.amount,
            last.received,
        ):
            yield f"read model: {intent} is {row.status} at {row.sequence}, the log says {last.status} {last.sequence}"
        elif set(row.legs) != set(last.legs):
            yield f"read model: the transactions of {intent} are not those of the log"
        elif row.content != last.content:
            yield f"read model: {intent} is not in all fields what the log says"


def _the_changelog_is_the_fold(
    states: Mapping[str, State] | None, steps: Mapping[str, Sequence[Step]]
) -> Iterator[str]:
    """What a restore would find is what the last event says; only what has come to rest is forgotten."""
    if states is None:
        return
    for intent in states.keys() | steps.keys():
        state, own = states.get(intent), steps.get(intent)
        if state is None or own is None:
            yield f"state: {intent} is {'not in the changelog' if state is None else 'only in the changelog'}"
        elif state.sequence is None:
            if own[-1].status not in _FINAL or any(leg.status in OPEN for leg in own[-1].legs):
                yield f"state: {intent} is forgotten, and is {own[-1].status}"
        elif state.sequence != own[-1].sequence:
            yield f"state: {intent} is at {state.sequence} in the changelog, and at {own[-1].sequence} in the log"
        elif state.content != own[-1].content:
            yield f"state: {intent} is in the changelog not in all fields what the log says"


def _all_is_decided(steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    for intent, own in steps.items():
        if own[-1].status in _UNDECIDED or any(leg.status in OPEN for leg in own[-1].legs):
            yield f"undecided: {intent} is {own[-1].status} after healing"
