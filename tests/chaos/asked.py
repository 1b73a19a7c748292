"""What was done, held against what was asked for: nothing is done that nobody asked for, and all of it as asked.

Pure functions of the history and the log. A request that was refused for certain, each time that it was asked, can have
done nothing; any other may have, once. Driven by `checker`, where the history is whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.evidence import Leg, Step
from tests.chaos.history import Operation

__all__ = ["check_asked"]

_OPENS = {"pay": "authorization", "capture": "capture", "void": "void"}
"""The type of the Transaction that a request opens, by what it asks for."""


def check_asked(history: Sequence[Operation], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    """Everything that was done otherwise than asked; `steps` are those of each PaymentIntent, in the log's order."""
    posts = [operation for operation in history if operation.method == "POST"]
    yield from _intents_are_as_asked(posts, steps)
    yield from _transactions_are_as_asked(posts, steps)
    yield from _nothing_was_opened_unasked(posts, steps)
    yield from _cancels_have_an_effect(posts, steps)


def _intents_are_as_asked(posts: Sequence[Operation], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    keys: dict[str, str] = {}
    for operation in posts:
        if operation.kind != "create" or operation.status not in (200, 201, 202) or operation.answer is None:
            continue
        intent, key, body = str(operation.answer["id"]), str(operation.key), operation.body or {}
        if keys.setdefault(intent, key) != key:
            yield f"asked: {intent} was given for {key} and for {keys[intent]}"
        if intent in steps:
            first = steps[intent][0]
            for name, value in (
                ("amount", first.amount),
                ("currency", first.currency),
                ("capture_method", first.capture_method),
            ):
                if body.get(name, value) != value:
                    yield f"asked: {name} of {intent} was to be {body[name]}, is {value}"
    may_exist = _may_have_been_done(operation for operation in posts if operation.kind == "create")
    if len(steps) > len(may_exist):
        yield f"asked: {len(steps)} payments are in the log, {len(may_exist)} were asked for"


def _transactions_are_as_asked(posts: Sequence[Operation], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    """A Transaction that a client was told is of the type, and over the amount, that it asked for."""
    for operation in posts:
        kind, intent, answer = operation.kind, operation.intent, operation.answer or {}
        # With a 202 nobody knows whether it will ever be opened.
        if (
            operation.status not in (200, 201)
            or kind not in _OPENS
            or intent is None
            or intent not in steps
            or answer.get("object") != "transaction"
        ):
            continue
        leg = _leg(steps[intent][-1], str(answer["id"]))
        if leg is None:
            yield f"asked: {answer['id']} was told of {intent}, which has no such transaction"
            continue
        amount = (operation.body or {}).get("amount", leg.amount)
        if leg.type != _OPENS[kind]:
            yield f"asked: {leg.id} of {intent} is a {leg.type}, asked for was a {kind}"
        elif leg.amount != amount:
            yield f"asked: {leg.id} of {intent} is over {leg.amount}, asked for was {amount}"


def _nothing_was_opened_unasked(posts: Sequence[Operation], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    """No more authorizations than attempts; no capture of a manual payment that nobody asked for."""
    by_place: defaultdict[tuple[str, str], list[Operation]] = defaultdict(list)
    for operation in posts:
        kind, intent = operation.kind, operation.intent
        if intent is not None and kind is not None:
            by_place[intent, kind].append(operation)
    for intent, own in steps.items():
        last = own[-1]
        opened = {kind: [leg for leg in last.legs if leg.type == _OPENS[kind]] for kind in ("pay", "capture")}
        asked = {kind: len(_may_have_been_done(by_place[intent, kind])) for kind in opened}
        if last.capture_method == "automatic":
            # The fold captures what was authorized; nobody needs to ask.
            asked["capture"] = len(opened["pay"])
        for kind, legs in opened.items():
            if len(legs) > asked[kind]:
                yield f"asked: {intent} has {len(legs)} of what {asked[kind]} times may have been asked for: {kind}"
        attempts = [leg.amount for leg in opened["pay"]]
        if any(amount != last.amount for amount in attempts):
            yield f"asked: {intent} is over {last.amount}, its attempts are over {attempts}"


def _cancels_have_an_effect(posts: Sequence[Operation], steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    for operation in posts:
        own = steps.get(operation.intent or "", ())
        if operation.kind != "cancel" or operation.status != 200 or not own:
            continue
        if not any(step.status == "canceled" or any(leg.type == "void" for leg in step.legs) for step in own):
            yield f"asked: {own[-1].intent} was canceled for {operation.client}, and is {own[-1].status}"


def _may_have_been_done(operations: Iterator[Operation] | Sequence[Operation]) -> set[str]:
    """The keys under which not every request was refused for certain."""
    return {str(operation.key) for operation in operations if not operation.is_known or operation.status in (200, 201)}


def _leg(step: Step, transaction: str) -> Leg | None:
    return next((leg for leg in step.legs if leg.id == transaction), None)
