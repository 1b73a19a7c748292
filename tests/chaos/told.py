"""What clients were told, held against the log and against what else was said: pure functions of their history.

A request without an answer, or with a 202 or 503, tells nothing: it may have been carried out or not. Driven by
`checker`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.evidence import Step
from tests.chaos.history import Operation

__all__ = ["check_history"]


def check_history(history: Sequence[Operation], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    """Every promise to a client that was broken; `steps` are those of each PaymentIntent, in the order of the log."""
    yield from _acknowledged_creates_exist(history, steps)
    yield from _what_was_told_is_true(history, steps)
    yield from _nobody_read_an_older_state(history)
    yield from _nothing_went_wrong_unforeseen(history)
    yield from _keys_mean_one_thing(history)
    yield from _what_was_done_stays_done(history)


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
        else:
            yield from _shown_money_is_true(operation, own[sequence - 1])
            yield from _shown_legs_are_true(operation, own[sequence - 1])


def _shown_money_is_true(operation: Operation, step: Step) -> Iterator[str]:
    """The amounts of a PaymentIntent are those that it had at that sequence."""
    assert operation.answer is not None
    shown = operation.answer.get("payment_intent", operation.answer)
    for name, amount in (("amount", step.amount), ("amount_received", step.received)):
        if shown.get(name, amount) != amount:
            yield f"told: {name} of {step.intent} was {shown[name]} for {operation.client}, is {amount}"


def _shown_legs_are_true(operation: Operation, step: Step) -> Iterator[str]:
    """Every Transaction that a client was shown beside a PaymentIntent stood so when that did."""
    assert operation.answer is not None
    is_leg = operation.answer.get("object") == "transaction"
    legs = {leg.id: leg.status for leg in step.legs}
    for shown in [operation.answer] if is_leg else operation.answer.get("transactions", []):
        if legs.get(shown["id"]) != shown["status"]:
            yield f"told: {shown['id']} was {shown['status']} for {operation.client}, is {legs.get(shown['id'])}"


def _nobody_read_an_older_state(history: Sequence[Operation]) -> Iterator[str]:
    """What was asked after something had been heard, by whomever, is not older than that."""
    heard: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for operation in history:
        shown = _shown(operation)
        if shown is not None and operation.heard_at is not None:
            heard[shown[0]].append((operation.heard_at, shown[1]))
    for operation in history:
        shown = _shown(operation)
        intent = operation.intent or (None if shown is None else shown[0])
        if intent is None or operation.status is None:
            continue
        known = max((sequence for at, sequence in heard[intent] if at < operation.asked_at), default=0)
        if operation.status == 404 and known:
            yield f"stale: {operation.client} heard 404 of {intent} after sequence {known} had been told"
        if shown is not None and shown[1] < known:
            yield f"stale: {operation.client} was shown sequence {shown[1]} of {intent} after {known} had been told"


def _nothing_went_wrong_unforeseen(history: Sequence[Operation]) -> Iterator[str]:
    """Whatever fails, a client is told that it may ask again; never that nobody knows what happened."""
    for operation in history:
        if operation.status == 500:
            what = f"{operation.method} {operation.path}"
            yield f"error: {operation.client} heard 500 of {what} as its {operation.number}"


def _keys_mean_one_thing(history: Sequence[Operation]) -> Iterator[str]:
    """The same request under the same key has one id, however often it is asked."""
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    first: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    for operation in history:
        if operation.key is None or operation.status not in (200, 201, 202) or operation.answer is None:
            continue
        ids[operation.path, operation.key].add(str(operation.answer["id"]))
        if operation.status == 201 and not operation.is_replay:
            first[operation.path, operation.key].append(operation)
    for (path, key), found in ids.items():
        if len(found) > 1:
            yield f"key: {path} under {key} has the ids {sorted(found)}"
    for (path, key), operations in first.items():
        # Of two that were open at once, either may take itself for the first.
        known_at = min(operation.heard_at or math.inf for operation in operations)
        if any(operation.asked_at > known_at for operation in operations):
            yield f"key: {path} under {key} was done for the first time {len(operations)} times"


def _what_was_done_stays_done(history: Sequence[Operation]) -> Iterator[str]:
    """A request that was carried out is not refused when it is asked again, however late."""
    done: dict[tuple[str, str], float] = {}
    for operation in history:
        if operation.key is not None and operation.status in (200, 201) and operation.heard_at is not None:
            place = operation.path, operation.key
            done[place] = min(operation.heard_at, done.get(place, operation.heard_at))
    for operation in history:
        if operation.key is None or not operation.is_known or operation.status in (200, 201):
            continue
        if operation.asked_at > done.get((operation.path, operation.key), float("inf")):
            yield f"key: {operation.path} under {operation.key} was done, and heard {operation.status} afterwards"


def _shown(operation: Operation) -> tuple[str, int, str] | None:
    """The PaymentIntent, sequence and status that an answer shows."""
    if operation.status not in (200, 201) or operation.answer is None:
        return None
    shown = operation.answer.get("payment_intent", operation.answer)
    if not isinstance(shown, dict) or shown.get("object") != "payment_intent":
        return None
    return str(shown["id"]), int(shown["sequence"]), str(shown["status"])
