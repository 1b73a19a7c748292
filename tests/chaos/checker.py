"""Decides whether a run kept the promises: a pure function of what clients heard and what lies in the books.

It knows the API, the table of states of DESIGN.md section 5 and the names of statuses, and nothing of how any of it is
done. Each finding names the promise that was broken and where.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from tests.chaos.evidence import Booking, Evidence, Leg, Step
from tests.chaos.history import Operation

__all__ = ["check"]

_NEXT: Mapping[str, frozenset[str]] = {
    "requires_payment_method": frozenset({"requires_payment_method", "processing", "canceled"}),
    "processing": frozenset(
        {"processing", "requires_action", "requires_capture", "succeeded", "requires_payment_method", "canceled"}
    ),
    "requires_action": frozenset(
        {"requires_action", "processing", "requires_capture", "succeeded", "requires_payment_method", "canceled"}
    ),
    "requires_capture": frozenset({"requires_capture", "processing", "canceled", "succeeded"}),
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
_OPEN = frozenset({"created", "requires_action", "pending"})
_UNDECIDED = frozenset({"processing"})


def check(evidence: Evidence) -> list[str]:
    """Every broken promise, as a sentence; none where all were kept."""
    steps = _by_intent(evidence.steps)
    return [
        *_histories_are_legal(steps),
        *_acknowledged_creates_exist(evidence.history, steps),
        *_what_was_told_is_true(evidence.history, steps),
        *_nobody_read_an_older_state(evidence.history),
        *_keys_mean_one_thing(evidence.history),
        *_the_ledger_agrees(evidence.bookings, steps),
        *_the_read_model_is_the_fold(evidence, steps),
        *_all_is_decided(steps),
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
        if own[0].status != "requires_payment_method":
            yield f"history: {intent} begins as {own[0].status}"
        for before, after in pairwise(own):
            if after.status not in _NEXT[before.status]:
                yield f"history: {intent} went from {before.status} to {after.status} at sequence {after.sequence}"
            yield from _legs_go_on(before, after)
        yield from _money_is_possible(own)


def _legs_go_on(before: Step, after: Step) -> Iterator[str]:
    now = {leg.id: leg for leg in after.legs}
    for leg in before.legs:
        if leg.id not in now:
            yield f"history: {leg.id} of {after.intent} is gone at sequence {after.sequence}"
        elif leg.status not in _OPEN and now[leg.id].status != leg.status:
            yield f"history: {leg.id} was {leg.status} and is {now[leg.id].status} at sequence {after.sequence}"
        elif leg.status in _OPEN and now[leg.id].status not in _LEG_NEXT[leg.status]:
            yield f"history: {leg.id} went from {leg.status} to {now[leg.id].status}"


def _money_is_possible(own: Sequence[Step]) -> Iterator[str]:
    for step in own:
        captured = sum(leg.amount for leg in step.legs if leg.type == "capture" and leg.status == "succeeded")
        if captured != step.received or captured > step.amount:
            yield f"money: {step.intent} received {step.received} by captures of {captured} at sequence {step.sequence}"
        unresolved = [leg for leg in step.legs if leg.status in _OPEN and leg.type != "void"]
        if len(unresolved) > 1:
            yield f"money: {step.intent} has {len(unresolved)} unresolved transactions at sequence {step.sequence}"


def _acknowledged_creates_exist(history: Sequence[Operation], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    for operation in history:
        if operation.path == "/paymentIntent" and operation.status == 201:
            assert operation.answer is not None
            if operation.answer["id"] not in steps:
                yield f"lost: {operation.answer['id']} was acknowledged to {operation.client} and is not in the log"


def _what_was_told_is_true(history: Sequence[Operation], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    """Every state that a client was shown is in the log, at its sequence."""
    for operation in history:
        shown = _shown(operation)
        if shown is None:
            continue
        intent, sequence, status = shown
        own = steps.get(intent, ())
        if not 1 <= sequence <= len(own):
            yield f"told: {operation.client} heard of sequence {sequence} of {intent}, which has {len(own)}"
        elif own[sequence - 1].status != status:
            yield f"told: {intent} was {status} at {sequence} for {operation.client}, is {own[sequence - 1].status}"


def _nobody_read_an_older_state(history: Sequence[Operation]) -> Iterator[str]:
    """What was asked after something had been heard, by whomever, is not older than that."""
    heard: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for operation in history:
        shown = _shown(operation)
        if shown is not None and operation.heard_at is not None:
            heard[shown[0]].append((operation.heard_at, shown[1]))
    for operation in history:
        intent = _intent_of(operation)
        if intent is None or operation.status is None:
            continue
        known = max((sequence for at, sequence in heard[intent] if at < operation.asked_at), default=0)
        if operation.status == 404 and known:
            yield f"stale: {operation.client} heard 404 of {intent} after sequence {known} had been told"
        shown = _shown(operation)
        if shown is not None and shown[1] < known:
            yield f"stale: {operation.client} was shown sequence {shown[1]} of {intent} after {known} had been told"


def _keys_mean_one_thing(history: Sequence[Operation]) -> Iterator[str]:
    """The same request under the same key has one id, however often it is asked."""
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    first: Counter[tuple[str, str]] = Counter()
    for operation in history:
        if operation.key is None or operation.status not in (200, 201, 202) or operation.answer is None:
            continue
        ids[operation.path, operation.key].add(str(operation.answer["id"]))
        if operation.status == 201 and not operation.is_replay:
            first[operation.path, operation.key] += 1
    for (path, key), found in ids.items():
        if len(found) > 1:
            yield f"key: {path} under {key} has the ids {sorted(found)}"
    for (path, key), count in first.items():
        if count > 1:
            yield f"key: {path} under {key} was done for the first time {count} times"


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
        yield from _legs_agree(last, {one.reference: one for one in booked})


def _legs_agree(last: Step, booked: Mapping[str, Booking]) -> Iterator[str]:
    for leg in last.legs:
        booking = booked.get(leg.id)
        is_approved = booking is not None and booking.is_approved
        if leg.status == "succeeded" and not is_approved:
            yield f"ledger: {leg.id} succeeded, and the network did not approve it"
        if leg.type == "authorization" and is_approved and not _is_seen_to(last, leg):
            yield f"hold: {leg.id} of {last.intent} is approved at the network, {leg.status} here, and nothing ends it"


def _is_seen_to(last: Step, hold: Leg) -> bool:
    """Whether a hold has ended, or the merchant may still capture it."""
    if hold.status == "expired" or (hold.status == "succeeded" and last.status == "requires_capture"):
        return True
    return any(leg.hold == hold.id and leg.status == "succeeded" for leg in last.legs)


def _the_read_model_is_the_fold(evidence: Evidence, steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    for intent in evidence.rows.keys() - steps.keys():
        yield f"read model: {intent} is not in the log"
    for intent, own in steps.items():
        row, last = evidence.rows.get(intent), own[-1]
        if row is None:
            yield f"read model: {intent} is missing"
        elif (row.sequence, row.status, row.received) != (last.sequence, last.status, last.received):
            yield f"read model: {intent} is {row.status} at {row.sequence}, the log says {last.status} {last.sequence}"
        elif set(row.legs) != set(last.legs):
            yield f"read model: the transactions of {intent} are not those of the log"


def _all_is_decided(steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    for intent, own in steps.items():
        if own[-1].status in _UNDECIDED or any(leg.status in _OPEN for leg in own[-1].legs):
            yield f"undecided: {intent} is {own[-1].status} after healing"


def _intent_of(operation: Operation) -> str | None:
    """The PaymentIntent that a request is about, where its path says so."""
    parts = operation.path.split("/")
    return parts[2] if len(parts) > 2 and parts[1] == "paymentIntent" else None


def _shown(operation: Operation) -> tuple[str, int, str] | None:
    """The PaymentIntent, sequence and status that an answer shows."""
    if operation.status not in (200, 201) or operation.answer is None:
        return None
    shown = operation.answer.get("payment_intent", operation.answer)
    if not isinstance(shown, dict) or shown.get("object") != "payment_intent":
        return None
    return str(shown["id"]), int(shown["sequence"]), str(shown["status"])
