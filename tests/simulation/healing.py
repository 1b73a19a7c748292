"""The end of a world: all is read, all calls are answered, and time passes until nothing is open."""

from __future__ import annotations

from schemas.commands import ResolveTransaction
from schemas.payment import PaymentIntent, Transaction, TransactionStatus, TransactionType
from schemas.processing import AuthorizationState, Outcome
from schemas.times import later
from tests.simulation.world import World
from tests.topology.domain.network import Hold

__all__ = ["heal"]

_HORIZON_SECONDS = 40 * 86_400.0
_ROUNDS_MAX = 200
_PATIENCE_SECONDS = 2_000.0
"""After so long a person looks at what is in doubt: beyond the first alert."""


def heal(world: World) -> None:
    """Bring everything to its end. What is in doubt for too long a person looks up in the books."""
    world.get_well()
    until = later(world.clock.at, seconds=_HORIZON_SECONDS)
    patient_until = later(world.clock.at, seconds=_PATIENCE_SECONDS)
    # What is long on its way arrives first.
    pause_seconds = 320.0
    for _ in range(_ROUNDS_MAX):
        world.let_pass(pause_seconds)
        drain(world)
        if world.clock.at > until or not _is_under_way(world):
            return
        if world.clock.at > patient_until:
            _look_at_the_books(world)
        pause_seconds = min(max(10.0, pause_seconds * 1.3), 4 * 3_600.0)


def drain(world: World) -> None:
    """Until nobody has anything to say."""
    spoke = True
    while spoke:
        spoke = False
        for process in world.processes():
            while process.engine is not None and process.engine.running:
                world.wires.serve(process.engine)
                spoke = True
            unread = process.unread()
            if process.is_open or process.begin(lambda _, unread=unread: unread, lambda: 50):  # type: ignore[misc]
                world.commit(process)
                spoke = True


def _is_under_way(world: World) -> bool:
    return any(one.completed_at is None for intent in world.last.values() for one in intent.transactions)


def _look_at_the_books(world: World) -> None:
    for intent in world.last.values():
        for transaction in intent.transactions:
            if transaction.status is TransactionStatus.pending:
                resolution = _resolution(world, intent, transaction)
                if resolution is not None:
                    world.say(f"a person says that {transaction.id} was {resolution.outcome}")
                    world.merchants.resolve(resolution, intent.id)


def _resolution(world: World, intent: PaymentIntent, transaction: Transaction) -> ResolveTransaction | None:
    """What the books say of a Transaction in doubt; nothing is on its way any more."""
    network = world.wires.network
    answer = network.look_up((transaction.processor, transaction.id))
    outcome, state = answer.outcome, answer.state
    if outcome is Outcome.not_found and transaction.type is not TransactionType.void:
        hold = network.holds.get((transaction.processor, transaction.authorization_id or transaction.id))
        outcome = Outcome.declined
        state = AuthorizationState.open if hold is Hold.standing else AuthorizationState.gone
    if outcome not in (Outcome.approved, Outcome.declined) or answer.amount_minor is not None:
        return None
    return ResolveTransaction(
        transaction_id=transaction.id, outcome=outcome, authorization_state=state, evidence=f"books of {intent.id}"
    )
