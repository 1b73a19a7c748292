"""How a row has ended: API, Postgres, topics and the network's ledger say the same, and that is what the row says.

The last event in the log is what the others are held against. The ledger is the outside truth: of holds, captures,
voids and amounts, and of what a failure is proved by. Driven by `playbill`, of a row and of all payments at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import msgspec
import psycopg
from msgspec.structs import replace
from psycopg.sql import SQL

from ingress import views
from sandbox.audit import BrokenPromise, audit, by_payment, doubted_in, resolved_in
from sandbox.card_network.booking import Kind
from schemas.payment import PaymentEvent, PaymentIntent, TransactionType
from sinks.postgres.reader import INTENT_JSON
from sinks.postgres.text import restored_json
from tests.harness.api import Json
from tests.harness.stack import wait_for
from tests.scenarios.player import Player, is_said
from tests.scenarios.rows import Row
from tests.scenarios.stage import Stage

__all__ = ["broken_at_rest", "check_end"]

# The read model is asked about a line that meets no capture once its watermark has passed it.
_SETTLED_WITHIN_SECONDS = 75.0
_AT_REST_WITHIN_SECONDS = 60.0
_READS_MAX = 10
_UNSHOWN = ("unmatched_kind",)
_NO_MISMATCH = ("settled", "unmatched_kind")

_INTENT = SQL("SELECT {}::text FROM payment_intents AS intent WHERE intent.id = %s").format(INTENT_JSON)
_SETTLEMENTS = """
SELECT outcome, settlement_date, reference FROM settlements
WHERE payment_intent_id = %(intent)s OR reference = ANY(%(references)s)
"""
_MISMATCHES = """
SELECT name FROM reconciliation_mismatches
WHERE payment_intent_id = %(intent)s OR reference = ANY(%(references)s)
"""


def check_end(player: Player) -> None:
    """Raise AssertionError on any difference."""
    row, stage = player.row, player.stage
    own_settlements = _check_settlements(player)
    told, events = _told_at_rest(player)
    intent = events[-1].payment_intent
    assert [event.sequence for event in events] == list(range(1, len(events) + 1)), "gaps or repeats in the log"
    settled = [one for one in told["transactions"] if one["type"] == "settlement"]
    told["transactions"] = [one for one in told["transactions"] if one["type"] != "settlement"]
    assert told == json.loads(msgspec.json.encode(views.status(intent))), "the API says otherwise than the log"
    expected = sorted(name for name in own_settlements if name not in _UNSHOWN)
    shown = sorted(one["code"] or "settled" for one in settled)
    assert shown == expected, f"the API shows the settlements {shown}, not {expected}"
    assert _in_postgres(player) == intent, "Postgres says otherwise than the log"
    bookings = by_payment(stage.ledger()).get(player.intent, ())
    resolved, doubted = resolved_in(events), doubted_in(events)
    broken = list(audit(intent, bookings, now=stage.network_now(), resolved=resolved, doubted=doubted))
    assert not broken, "; ".join(map(str, broken))
    if row.asked is not None:
        asked = [booked.requests for booked in bookings if booked.type is Kind.authorization]
        assert asked == [row.asked], f"the network was asked {asked} times for authorizations"
    for name in row.also:
        assert any(is_said(name, event) for event in events), f"the log has no {name}"
    _check_processor(row, intent)


def broken_at_rest(stage: Stage) -> Sequence[BrokenPromise]:
    """What the network's books say against any payment in the log, rows' or not, once nothing is under way.

    Waits for that, for a while: what has not come to its end by then is among them.
    """
    deadline = time.monotonic() + _AT_REST_WITHIN_SECONDS
    while (broken := _broken(stage)) and time.monotonic() < deadline:
        time.sleep(1)
    return broken


def _broken(stage: Stage) -> Sequence[BrokenPromise]:
    bookings, now = by_payment(stage.ledger()), stage.network_now()
    broken: list[BrokenPromise] = []
    for intent in stage.log.payments():
        events = stage.log.of(intent)
        state, resolved, doubted = events[-1].payment_intent, resolved_in(events), doubted_in(events)
        broken += audit(state, bookings.get(intent, ()), now=now, resolved=resolved, doubted=doubted)
    return broken


def _told_at_rest(player: Player) -> tuple[Json, Sequence[PaymentEvent]]:
    """What the API tells of the payment, and its events, at one and the same sequence."""
    for _ in range(_READS_MAX):
        told = player.stage.shops[player.row.route].status(player.intent)
        sequence = int(told["sequence"])
        player.stage.log.wait_until(player.intent, lambda known, at=sequence: len(known) >= at, within_seconds=5)  # type: ignore[misc]
        events = player.events()
        if len(events) == sequence:
            return told, events
    raise AssertionError(f"the API is at {sequence}, the log at {len(events)}")


def _check_processor(row: Row, intent: PaymentIntent) -> None:
    processors = {one.processor for one in intent.transactions}
    assert processors <= {row.processor or row.route.partition(",")[0]}, f"called were {processors}"


def _in_postgres(player: Player) -> PaymentIntent:
    """The payment in the read model, without the settlements that it shows beside what the fold knows."""
    with psycopg.connect(player.stage.stack.postgres) as connection:
        found = connection.execute(_INTENT, (player.intent,)).fetchone()
    assert found is not None, "Postgres does not have it"
    intent = msgspec.json.decode(restored_json(found[0]), type=PaymentIntent)
    folded = tuple(one for one in intent.transactions if one.type is not TransactionType.settlement)
    return replace(intent, transactions=folded)


def _check_settlements(player: Player) -> Sequence[str]:
    """All lines of the payment have come to what the row says, and what is a mismatch is one by name.

    The outcomes of those lines that are the payment's own.
    """
    row = player.row
    references = [*row.strays, *(one.id for one in player.state().transactions)]
    asked = {"intent": player.intent, "references": references}
    with psycopg.connect(player.stage.stack.postgres, autocommit=True) as database:
        found: list[tuple[str, object, str]] = []

        def settled() -> bool:
            found[:] = database.execute(_SETTLEMENTS, asked).fetchall()
            return sorted(name for name, _date, _reference in found) == sorted(row.settlements)

        try:
            wait_for(settled, what="settlement", within_seconds=_SETTLED_WITHIN_SECONDS)
        except AssertionError:
            raise AssertionError(f"the lines came to {found}, not to {row.settlements}") from None
        mismatches = sorted(name for (name,) in database.execute(_MISMATCHES, asked))
        assert mismatches == sorted(name for name in row.settlements if name not in _NO_MISMATCH), mismatches
    if row.settled_on is not None:
        days = {f"{date:%A}" for _name, date, _reference in found}
        assert days == {row.settled_on}, f"settled on {days}"
    return [name for name, _date, reference in found if reference not in row.strays]
