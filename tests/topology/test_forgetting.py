"""What the fold forgets, and what whoever asks for it afterwards hears. Driven without a broker."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from schemas.commands import CancelPaymentIntent, CommandReply, CreatePaymentIntent, PaymentCommand
from schemas.identifiers import CommandId, MerchantId, PaymentIntentId, TransactionId, payment_intent_id
from schemas.partitioner import partition
from schemas.payment import Actor, ActorType, CaptureMethod, PaymentIntentStatus
from schemas.times import Micros, later
from schemas.topics import COMMANDS, INTENTS
from tests.harness.driver import FlowDriver
from topology.payments import FLOW, FoldSide, Reply, build

MERCHANT = MerchantId("mer_a")
SLACK_SECONDS = 600.0
# By so much the broker's clock may be ahead of the fold's.
MARGIN_SECONDS = 60.0
FORGOTTEN_AFTER_SECONDS = SLACK_SECONDS + MARGIN_SECONDS
SHARD = 1
PARTITIONS = 4


def intents(count: int, *, shard: int = SHARD) -> list[PaymentIntentId]:
    """Ids that lie on the shard."""
    found: list[PaymentIntentId] = []
    number = 0
    while len(found) < count:
        one = payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key=f"k{number}")
        number += 1
        if partition(one, PARTITIONS) == shard:
            found.append(one)
    return found


@dataclass
class World:
    """A fold, and an ingress whose look-ups are as fresh as a test says."""

    flow: FlowDriver = field(
        default_factory=lambda: FlowDriver(
            FLOW, build, side=FoldSide(forget_after_seconds=SLACK_SECONDS), partitions=PARTITIONS
        )
    )
    commands: int = 0

    def command(self, intent: PaymentIntentId, body: CreatePaymentIntent | CancelPaymentIntent) -> PaymentCommand:
        self.commands += 1
        return PaymentCommand(
            id=CommandId(f"cmd_{self.commands:032x}"),
            payment_intent_id=intent,
            merchant_id=MERCHANT,
            livemode=False,
            at=self.flow.clock.now(),
            actor=Actor(type=ActorType.key, id="key"),
            reply_partition=0,
            body=body,
        )

    def creation(self, intent: PaymentIntentId, *, looked_up_seconds_ago: float = 0.0) -> PaymentCommand:
        body = CreatePaymentIntent(
            amount_minor=5,
            currency="usd",
            capture_method=CaptureMethod.manual,
            absent_at=later(self.flow.clock.now(), seconds=-looked_up_seconds_ago),
            fingerprint=b"f" * 16,
        )
        return self.command(intent, body)

    def ask(self, command: PaymentCommand) -> CommandReply:
        self.flow.pipe(COMMANDS, command)
        reply = self.flow.effects.pop()
        assert isinstance(reply, Reply)
        return reply.reply

    def create(self, intent: PaymentIntentId, *, looked_up_seconds_ago: float = 0.0) -> CommandReply:
        return self.ask(self.creation(intent, looked_up_seconds_ago=looked_up_seconds_ago))

    def cancel(self, intent: PaymentIntentId) -> CommandReply:
        transaction = TransactionId("tx_" + intent[3:])
        return self.ask(self.command(intent, CancelPaymentIntent(transaction_id=transaction, fingerprint=b"c" * 16)))

    def knows(self, intent: PaymentIntentId) -> bool:
        return self.flow.state(intent) is not None

    def pass_time(self, seconds: float) -> None:
        self.flow.clock.advance(seconds)


@pytest.fixture
def world() -> World:
    return World()


def canceled(world: World, intent: PaymentIntentId) -> PaymentIntentId:
    world.create(intent)
    reply = world.cancel(intent)
    assert reply.payment_intent is not None
    assert reply.payment_intent.status is PaymentIntentStatus.canceled
    return intent


def test_a_final_intent_is_forgotten_once_whoever_creates_it_again_must_have_seen_it(world: World) -> None:
    old, new, newer = intents(3)
    canceled(world, old)
    world.pass_time(FORGOTTEN_AFTER_SECONDS)
    world.create(new)
    assert world.knows(old), "a create that was looked up before it came to rest would still be taken"
    world.pass_time(2)
    world.create(newer)
    assert not world.knows(old)
    assert (SHARD, old, None) in world.flow.log[INTENTS.name], "a tombstone"


def test_a_create_that_was_looked_up_too_long_ago_is_refused(world: World) -> None:
    old, new, another = intents(3)
    canceled(world, old)
    world.pass_time(FORGOTTEN_AFTER_SECONDS + 2)
    world.create(new)
    assert not world.knows(old)
    again = world.create(old, looked_up_seconds_ago=SLACK_SECONDS + 1)
    assert (again.refusal, again.payment_intent) == ("read_model_behind", None)
    assert not world.knows(old)
    assert world.create(another, looked_up_seconds_ago=SLACK_SECONDS - 1).refusal is None


def test_a_command_on_what_was_forgotten_hears_up_to_when(world: World) -> None:
    old, new, absent = intents(3)
    assert world.cancel(absent).forgotten_up_to is None, "nothing was ever forgotten"
    canceled(world, old)
    world.pass_time(FORGOTTEN_AFTER_SECONDS + 2)
    world.create(new)
    reply = world.cancel(old)
    assert reply.refusal == "unknown_payment_intent"
    assert reply.forgotten_up_to == later(world.flow.clock.now(), seconds=-SLACK_SECONDS)


def test_what_may_still_change_is_remembered(world: World) -> None:
    open_, new = intents(2)
    world.create(open_)
    world.pass_time(10 * SLACK_SECONDS)
    world.create(new)
    assert world.knows(open_)
    assert world.cancel(open_).refusal is None


def test_a_shard_forgets_for_itself(world: World) -> None:
    (old,), (elsewhere,) = intents(1), intents(1, shard=2)
    canceled(world, old)
    world.pass_time(FORGOTTEN_AFTER_SECONDS + 2)
    world.create(elsewhere)
    assert world.knows(old)
    assert world.create(old, looked_up_seconds_ago=2 * SLACK_SECONDS).replayed


def test_a_crash_does_not_undo_what_was_forgotten_up_to(world: World) -> None:
    old, new, resting = intents(3)
    canceled(world, old)
    world.pass_time(FORGOTTEN_AFTER_SECONDS + 2)
    world.create(new)
    canceled(world, resting)
    world.flow.crash()
    assert not world.knows(old)
    assert world.create(old, looked_up_seconds_ago=SLACK_SECONDS + 1).refusal == "read_model_behind"
    assert world.knows(resting)


def test_what_was_restored_is_forgotten_as_if_it_had_just_come_to_rest(world: World) -> None:
    old, new, newer = intents(3)
    canceled(world, old)
    world.pass_time(2 * SLACK_SECONDS)
    world.flow.crash()
    world.create(new)
    assert world.knows(old)
    world.pass_time(FORGOTTEN_AFTER_SECONDS + 2)
    world.create(newer)
    assert not world.knows(old)
    assert world.knows(new)


def test_an_epoch_that_was_lost_has_forgotten_nothing(world: World) -> None:
    old, new = intents(2)
    canceled(world, old)
    world.pass_time(FORGOTTEN_AFTER_SECONDS + 2)
    world.flow.pipe(COMMANDS, world.creation(new), lost=True)
    assert world.knows(old)
    assert world.cancel(old).refusal is None


def test_a_clock_that_is_behind_forgets_nothing_too_early(world: World) -> None:
    old, new, newer = intents(3)
    world.create(intents(4)[3])
    ahead = later(world.flow.clock.now(), seconds=3_600)
    at = world.flow.clock.at
    world.flow.clock.at = ahead
    world.create(new)
    world.flow.clock.at = at
    world.create(old, looked_up_seconds_ago=-3_600)
    world.cancel(old)
    world.flow.clock.at = Micros(ahead + 60_000_000)
    world.create(newer)
    assert world.knows(old), "by the watermarks it has rested for a minute"


def test_what_is_due_is_forgotten_a_few_at_a_time(world: World) -> None:
    *old, first, second, third = intents(53)
    for one in old:
        canceled(world, one)
    world.pass_time(FORGOTTEN_AFTER_SECONDS + 2)
    left = []
    for one in (first, second, third):
        world.create(one)
        left.append(sum(world.knows(each) for each in old))
    assert left == [30, 10, 0]
