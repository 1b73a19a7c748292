"""What settlement came to, held against the network's ledger, the payments' log and what made the files wrong.

Each captured payment is settled once, or has the mismatch that an adjustment must lead to; there is no mismatch that
nobody caused. Pure functions. Driven by `checker`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.evidence import Adjustment, Booking, Leg, Settled, Settlement, Step

__all__ = ["OUTCOMES", "check_settlement", "expected_outcomes"]

_OF_ACTION = {
    "omit": ("missing_at_processor",),
    "double": ("settled", "settled_twice"),
}
_KEPT_AND_NOT_JUDGED = "unmatched_kind"
_NO_MISMATCH = frozenset({"settled", _KEPT_AND_NOT_JUDGED})
OUTCOMES = frozenset(
    {
        *("settled", "settled_twice", "missing_at_processor", "amount", "currency"),
        *("missing_here", "settled_not_captured", _KEPT_AND_NOT_JUDGED),
    }
)
"""All that settlement can come to."""

Outcome = tuple[str, str, str]
"""Processor, reference, name."""


def check_settlement(
    settlement: Settlement, bookings: Sequence[Booking], steps: Mapping[str, Sequence[Step]]
) -> Iterator[str]:
    """Every promise about settlement that was broken; `steps` are those of each PaymentIntent, in the log's order."""
    yield from _each_line_is_in_the_log_once(settlement)
    yield from _outcomes_are_caused(settlement, steps)
    yield from _money_is_the_ledgers(settlement, bookings, steps)
    yield from _the_read_model_is_the_log(settlement)
    for key in settlement.waiting:
        yield f"unsettled: something still waits under {key} after its window"


def expected_outcomes(
    adjustments: Sequence[Adjustment], steps: Mapping[str, Sequence[Step]]
) -> Iterator[tuple[Outcome, int]]:
    """What everything that was captured, and every line that was added, must come to; and how often."""
    legs = {leg.id: leg for own in steps.values() for leg in own[-1].legs}
    captured = {id_: leg for id_, leg in legs.items() if leg.type == "capture" and leg.status == "succeeded"}
    adjusted = {one.reference: one for one in adjustments if one.action != "add"}
    found: Counter[Outcome] = Counter()
    for leg in captured.values():
        found.update((leg.processor, leg.id, outcome) for outcome in _of(adjusted.get(leg.id)))
    for one in adjustments:
        if one.action == "add":
            found[one.processor, one.reference, _of_added(one, legs, captured)] += 1
    yield from found.items()


def _of(adjustment: Adjustment | None) -> tuple[str, ...]:
    if adjustment is None:
        return ("settled",)
    if adjustment.action == "change":
        return ("amount",) if adjustment.currency is None else ("currency",)
    return _OF_ACTION[adjustment.action]


def _of_added(added: Adjustment, legs: Mapping[str, Leg], captured: Mapping[str, Leg]) -> str:
    if added.kind != "capture":
        return _KEPT_AND_NOT_JUDGED
    if added.reference in captured:
        return "settled_twice"
    return "settled_not_captured" if added.reference in legs else "missing_here"


def _each_line_is_in_the_log_once(settlement: Settlement) -> Iterator[str]:
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for line in settlement.lines:
        numbers[line.file].append(line.number)
    for file in numbers.keys() | settlement.files.keys():
        name, found = file[:12], Counter(numbers[file])
        if file not in settlement.files:
            yield f"file: lines of {name} are in the log, which was never imported to its end"
            continue
        twice = sorted(number for number, times in found.items() if times > 1)
        lost = sorted(set(range(1, settlement.files[file] + 1)) - found.keys())
        if twice:
            yield f"file: lines {twice} of {name} are in the log more than once"
        if lost or len(found) > settlement.files[file]:
            yield f"file: {name} has {settlement.files[file]} lines, the log {len(found)}; {lost} are lost"


def _outcomes_are_caused(settlement: Settlement, steps: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    expected = Counter(dict(expected_outcomes(settlement.adjustments, steps)))
    found = Counter((one.processor, one.reference, one.outcome) for one in settlement.settled)
    for (processor, reference, outcome), times in sorted((expected - found).items()):
        yield f"unsettled: {reference} of {processor} should be {outcome}, {times} times more than it is"
    for (processor, reference, outcome), times in sorted((found - expected).items()):
        yield f"settlement: {reference} of {processor} is {outcome}, {times} times more than anybody caused"


def _money_is_the_ledgers(
    settlement: Settlement, bookings: Sequence[Booking], steps: Mapping[str, Sequence[Step]]
) -> Iterator[str]:
    legs = {leg.id: (leg, own[-1]) for own in steps.values() for leg in own[-1].legs}
    booked = {one.reference: one for one in bookings}
    # A line that is made to be wrong says what it was made to say. What a double says, the network has booked.
    told = {one.reference: one for one in settlement.adjustments if one.action == "change"}
    added = {(one.reference, one.kind == "capture"): one for one in settlement.adjustments if one.action == "add"}
    for one in settlement.settled:
        if one.transaction is not None:
            yield from _is_the_payments(one, legs)
        if one.line is None:
            continue
        is_judged = one.outcome != _KEPT_AND_NOT_JUDGED
        made = added.get((one.reference, is_judged)) or told.get(one.reference)
        booking = booked.get(one.reference)
        amount = booking.amount if booking is not None else None
        currency = booking.currency if booking is not None else None
        if made is not None:
            amount, currency = made.amount if made.amount is not None else amount, made.currency or currency
        if (one.gross, one.currency) != (amount, currency):
            said = f"{one.gross} {one.currency}"
            yield f"settlement: the line of {one.reference} was over {amount} {currency}, settled was {said}"


def _is_the_payments(one: Settled, legs: Mapping[str, tuple[Leg, Step]]) -> Iterator[str]:
    """It names the payment and what that captured, or wanted to."""
    if one.transaction != one.reference or one.transaction not in legs:
        yield f"settlement: {one.reference} of {one.processor} is told of {one.transaction}"
        return
    leg, last = legs[one.transaction]
    if one.intent != last.intent:
        yield f"settlement: {leg.id} of {last.intent} is told of {one.intent}"
    if (one.captured, one.captured_currency) != (leg.amount, last.currency):
        said = f"{one.captured} {one.captured_currency}"
        yield f"settlement: {leg.id} is over {leg.amount} {last.currency}, settlement says {said}"


def _the_read_model_is_the_log(settlement: Settlement) -> Iterator[str]:
    if settlement.rows is not None:
        logged, rows = Counter(settlement.settled), Counter(settlement.rows)
        for one, times in (logged - rows).items():
            yield f"read model: {one.reference} as {one.outcome} is missing in the settlements {times} times"
        for one, times in (rows - logged).items():
            yield f"read model: {one.reference} as {one.outcome} is in the settlements {times} times too often"
    if settlement.mismatches is not None:
        logged_mismatches = Counter(
            (one.reference, one.outcome) for one in settlement.settled if one.outcome not in _NO_MISMATCH
        )
        for reference, name in sorted(logged_mismatches.keys() ^ Counter(settlement.mismatches).keys()):
            yield f"read model: {reference} as {name} is a mismatch in the log or in the read model, not in both"
