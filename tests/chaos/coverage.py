"""What a run exercised: how often each kind of trouble was really there, counted from its evidence.

A suite that finds nothing wrong proves nothing unless what could go wrong has happened. `observed` counts;
`MUST_OCCUR` is what every full seed shows, `MUST_BE_DONE` what is done to processes in it. A seed that lacks one has
failed. Driven by `run`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from tests.chaos.evidence import ISO8583, Evidence, Leg, Step
from tests.chaos.history import Operation
from tests.chaos.interrupted import Interruption
from tests.chaos.plan import CERTAIN
from tests.chaos.settled import OUTCOMES

__all__ = ["MUST_BE_DONE", "MUST_OCCUR", "import_fault", "lacking", "observed"]

LATE_SECONDS = 10.0
_OF_A_LINE = "settlement file "
MUST_OCCUR = frozenset(
    {
        *("status succeeded", "status canceled", "status requires_action", "status requires_capture"),
        *("leg pending", "leg declined", "leg void", "leg partial capture", "challenge"),
        *("card that is declined", "card that times out", "card that resets"),
        *("unknown", "accepted", "refused", "replayed", "race of a pay", "race of a cancel"),
        *("late create", "late pay", "late capture", "late cancel"),
        *("forgotten", "forgotten create", "forgotten pay", "forgotten capture", "forgotten cancel"),
        *("captured by cardnet", "captured by isonet", "in doubt at isonet", "voided at isonet", "repeated to isonet"),
        "capture decided by its line",
        *(f"settlement {outcome}" for outcome in OUTCOMES),
    }
)


def import_fault(interruption: Interruption) -> str:
    """An interruption of an import by the name that it has among the faults."""
    return f"{interruption} settlement-import"


MUST_BE_DONE = frozenset(
    {
        *(f"{kind} {target}" for kind, target in CERTAIN),
        *(import_fault(interruption) for interruption in Interruption),
    }
)


def lacking(seen: Collection[str], done: Collection[str]) -> list[str]:
    """What a full seed should have shown, and has not; `seen` by `observed`, `done` by kind and target."""
    return [
        *(f"evidence: there was no {name}" for name in sorted(MUST_OCCUR - {*seen})),
        *(f"faults: there was no {name}" for name in sorted(MUST_BE_DONE - {*done})),
    ]


def observed(evidence: Evidence) -> Counter[str]:
    """How often each of what a run should exercise was there."""
    found: Counter[str] = Counter()
    for name in (*_in_log(evidence), *_in_history(evidence), *_in_settlement(evidence)):
        found[name] += 1
    return found


def _in_log(evidence: Evidence) -> Iterator[str]:
    """States that PaymentIntents and their Transactions came through, once for each PaymentIntent."""
    seen: dict[str, set[str]] = {}
    for step in evidence.steps:
        seen.setdefault(step.intent, set()).update(_of_step(step))
    for names in seen.values():
        yield from names
    for state in (evidence.states or {}).values():
        if state.sequence is None:
            yield "forgotten"
    for booking in evidence.bookings:
        # An advice or a reversal: of an authorization it would be a second hold.
        if booking.processor == ISO8583 and booking.type != "authorization" and booking.requests > 1:
            yield "repeated to isonet"


def _in_settlement(evidence: Evidence) -> Iterator[str]:
    for one in evidence.settlement.settled if evidence.settlement is not None else ():
        yield f"settlement {one.outcome}"


def _of_step(step: Step) -> Iterator[str]:
    yield f"status {step.status}"
    if step.evidence is not None and step.evidence.startswith(_OF_A_LINE):
        yield "capture decided by its line"
    holds = {leg.id: leg.amount for leg in step.legs if leg.type == "authorization"}
    for leg in step.legs:
        if leg.type == "void":
            yield "leg void"
        elif leg.status in ("pending", "declined", "requires_action", "failed"):
            yield "challenge" if leg.status == "requires_action" else f"leg {leg.status}"
        if leg.processor:
            yield from _at_processor(leg)
        if leg.type == "capture" and leg.hold is not None and leg.amount < holds.get(leg.hold, 0):
            yield "leg partial capture"


def _at_processor(leg: Leg) -> Iterator[str]:
    if leg.type == "capture" and leg.status == "succeeded":
        yield f"captured by {leg.processor}"
    elif leg.type == "void" and leg.status == "succeeded":
        yield f"voided at {leg.processor}"
    elif leg.status == "pending":
        yield f"in doubt at {leg.processor}"


def _in_history(evidence: Evidence) -> Iterator[str]:
    told: dict[tuple[str, str], float] = {}
    open_until: dict[tuple[str, str], float] = {}
    for operation in evidence.history:
        yield from _of_answer(operation)
        yield from _of_card(operation)
        kind = operation.kind
        if kind is None or operation.key is None:
            continue
        place = (operation.path, operation.key)
        if place in told and operation.asked_at > told[place] + LATE_SECONDS:
            yield f"late {kind}"
            if _was_forgotten(operation, evidence):
                yield f"forgotten {kind}"
        if operation.asked_at < open_until.get((operation.path, operation.key), 0.0):
            yield f"race of a {kind}"
        if kind == "cancel" and operation.asked_at < open_until.get((operation.intent or "", "pay"), 0.0):
            yield "race of a cancel"
        # How long one without an answer was open, nobody knows.
        until = operation.heard_at or operation.asked_at
        open_until[place] = max(until, open_until.get(place, 0.0))
        if kind == "pay":
            open_until[operation.intent or "", "pay"] = until
        if operation.is_known and operation.heard_at is not None:
            told.setdefault(place, operation.heard_at)


def _of_answer(operation: Operation) -> Iterator[str]:
    if operation.status is None:
        yield "unknown"
    elif operation.status == 202:
        yield "accepted"
    elif operation.status >= 500:
        yield "unavailable"
    elif operation.status >= 400:
        yield "refused"
    elif operation.is_replay:
        yield "replayed"


def _of_card(operation: Operation) -> Iterator[str]:
    token = str((operation.body or {}).get("payment_method", ""))
    if token.startswith("tok_chargeDeclined"):
        yield "card that is declined"
    elif token.startswith("tok_timeout"):
        yield "card that times out"
    elif token == "tok_connectionReset":
        yield "card that resets"


def _was_forgotten(operation: Operation, evidence: Evidence) -> bool:
    """Whether the fold had forgotten the PaymentIntent when the operation was asked."""
    intent = (operation.answer or {}).get("id", "") if operation.path == "/paymentIntent" else operation.intent
    state = (evidence.states or {}).get(str(intent))
    return state is not None and state.sequence is None and state.written_at < operation.asked_at
