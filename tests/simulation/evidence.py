"""What a world left behind, for the checker of the chaos suite, and what only a simulation can see on top of it."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.codec import decode
from schemas.operations import DeadLetter
from schemas.payment import PaymentEvent, PaymentIntent, PaymentIntentStatus
from schemas.topics import DEAD_LETTERS, EVENTS, INTENTS
from tests.chaos.checker import check
from tests.chaos.collect import step_of
from tests.chaos.evidence import Evidence
from tests.simulation.world import World
from tests.topology.domain.network import Hold
from topology.domain.intents import last_authorization
from topology.forgetting import is_at_rest

__all__ = ["findings"]


def findings(world: World) -> list[str]:
    """Every broken promise of a world that has healed."""
    found = [one for one in check(_evidence(world)) if not _has_ended(world, one)]
    return [*found, *_state_is_the_fold(world), *_books_are_closed(world)]


def _evidence(world: World) -> Evidence:
    steps = [
        step_of(shard, offset, entry.value)
        for shard in range(world.log.partitions)
        for offset, entry in enumerate(world.log.entries(EVENTS, shard))
    ]
    return Evidence(
        history=world.merchants.history,
        steps=steps,
        rows=None,
        bookings=list(world.wires.bookings.values()),
        dead_letters=list(_dead_letters(world)),
        history_is_whole=False,
    )


def _dead_letters(world: World) -> Iterator[str]:
    """Their causes. What is said of a payment after it was forgotten is nobody's fault."""
    forgotten = {entry.key for entry in world.log.all(INTENTS) if entry.raw is None}
    for entry in world.log.all(DEAD_LETTERS):
        assert isinstance(entry.value, DeadLetter)
        if entry.value.cause != "unknown_payment_intent" or entry.key not in forgotten:
            yield f"{entry.value.cause} of {entry.key}"


def _has_ended(world: World, finding: str) -> bool:
    """Whether a hold that is said to stand does not, by the network's own word.

    It ended by itself, in a world in which holds do, or by a void of which no more was heard than that it is gone.
    """
    if not finding.startswith("hold: "):
        return False
    reference = finding.split()[1]
    return all(hold is not Hold.standing for key, hold in world.wires.network.holds.items() if key[1] == reference)


def _state_is_the_fold(world: World) -> Iterator[str]:
    """The changelog holds each payment as its last event does; what was forgotten was at rest, and stays away."""
    state: dict[str, bytes | None] = {}
    for entry in world.log.all(INTENTS):
        if state.get(entry.key, b"") is None and entry.raw is not None:
            yield f"forgotten: {entry.key} came to be again"
        state[entry.key] = entry.raw
    for intent in world.last.values():
        stored = state.get(intent.id)
        if stored is not None and decode(stored) != intent:
            yield f"state: {intent.id} is not what its last event says"
        elif stored is None and (intent.id not in state or not is_at_rest(intent)):
            yield f"state: {intent.id} is {intent.status}, and there is none"


def _books_are_closed(world: World) -> Iterator[str]:
    """No hold stands that no merchant may still capture, at whichever processor, and nothing was done twice."""
    for (processor, reference), hold in world.wires.network.holds.items():
        if hold is Hold.standing and not _is_awaited(world, processor, reference):
            yield f"hold: {reference} stands at {processor}, and nobody knows"
    for processor, reference in world.wires.challenged():
        yield f"challenge: {reference} is open at {processor} for ever"
    for booking in world.wires.bookings.values():
        if booking.reference.endswith(" again") and booking.is_approved:
            yield f"twice: {booking.type} {booking.reference}"


def _is_awaited(world: World, processor: str, reference: str) -> bool:
    for intent in world.last.values():
        latest = last_authorization(intent)
        if latest is not None and latest.id == reference and latest.processor == processor:
            return intent.status is PaymentIntentStatus.requires_capture
    return False


def events_of(world: World) -> list[PaymentEvent]:
    """All events, partition after partition."""
    return [entry.value for entry in world.log.all(EVENTS) if isinstance(entry.value, PaymentEvent)]


def forgotten_in(world: World) -> list[PaymentIntent]:
    """The payments that the fold has forgotten."""
    gone = {entry.key for entry in world.log.all(INTENTS) if entry.raw is None}
    return [intent for intent in world.last.values() if intent.id in gone]
