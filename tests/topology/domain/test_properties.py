"""The invariants of a payment under whatever comes in: by Hypothesis, which shrinks, and by seed, which gets far.

A walk that failed is run again by its seed: `pytest -k seed-17`. PAYSTREAM_TEST_EXAMPLES=20 tries twenty times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from schemas.payment import CaptureMethod, PaymentIntentStatus
from tests.topology.domain.anything import ANYTHING, AnythingComesIn, Choose
from tests.topology.domain.honest import HONEST, HonestWorld
from tests.topology.domain.invariants import FACTOR, profile
from topology.domain import interpreter
from topology.domain.transitions import TABLE, On, Row

T = TypeVar("T")
WALKS = 40 * FACTOR
STEPS = 150


def _drawing(data: st.DataObject) -> Choose:
    def choose(options: Sequence[T], /) -> T:
        return data.draw(st.sampled_from(options))

    return choose


class AnythingComesInMachine(RuleBasedStateMachine):
    """Late, duplicated, reordered and contradictory results among all else."""

    def __init__(self) -> None:
        super().__init__()
        self.world = AnythingComesIn()

    @initialize(data=st.data())
    def opened(self, data: st.DataObject) -> None:
        self.world.payment_opens(_drawing(data))

    @rule(move=st.sampled_from(range(len(ANYTHING))), data=st.data())
    def comes_in(self, move: int, data: st.DataObject) -> None:
        ANYTHING[move](self.world, _drawing(data))


class HonestWorldMachine(RuleBasedStateMachine):
    """Every approval ends captured, voided or expired, and the payment ends as the network's books say."""

    def __init__(self) -> None:
        super().__init__()
        self.world = HonestWorld(capture=CaptureMethod.automatic, remembers_voids=True)

    @initialize(capture=st.sampled_from(CaptureMethod), remembers_voids=st.booleans())
    def opened(self, capture: CaptureMethod, remembers_voids: bool) -> None:
        self.world = HonestWorld(capture=capture, remembers_voids=remembers_voids)

    @rule(move=st.sampled_from(range(len(HONEST))), data=st.data())
    def comes_in(self, move: int, data: st.DataObject) -> None:
        HONEST[move](self.world, _drawing(data))

    def teardown(self) -> None:
        self.world.heal()


TestAnythingComesIn = AnythingComesInMachine.TestCase
TestAnythingComesIn.settings = profile(examples=60, steps=40)
TestHonestWorld = HonestWorldMachine.TestCase
TestHonestWorld.settings = profile(examples=60, steps=40)


def _walk_anything(seed: int) -> None:
    random = Random(seed)
    world = AnythingComesIn()
    world.payment_opens(random.choice)
    for _ in range(STEPS):
        random.choice(ANYTHING)(world, random.choice)


def _walk_honestly(seed: int) -> None:
    random = Random(seed)
    world = HonestWorld(capture=random.choice([*CaptureMethod]), remembers_voids=random.choice([True, True, False]))
    for _ in range(random.choice([10, 20, 40, STEPS])):
        random.choice(HONEST)(world, random.choice)
    world.heal()


@pytest.mark.parametrize("seed", range(WALKS), ids="seed-{}".format)
def test_anything_comes_in(seed: int) -> None:
    _walk_anything(seed)


@pytest.mark.parametrize("seed", range(WALKS * 4), ids="seed-{}".format)
def test_an_honest_world_ends_as_the_books_say(seed: int) -> None:
    _walk_honestly(seed)


class _Remembering(dict[tuple[PaymentIntentStatus | None, On], Row]):
    """The table, which remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(TABLE)
        self.asked: set[On] = set()

    def get(self, key: tuple[PaymentIntentStatus | None, On], default: object = None) -> Row | None:  # type: ignore[override]
        self.asked.add(key[1])
        return super().get(key)


def test_the_walks_come_by_every_input_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = _Remembering()
    monkeypatch.setattr(interpreter, "TABLE", table)
    for seed in range(1000):
        _walk_anything(seed)
        if set(On) - table.asked == {On.create}:
            return
    pytest.fail(f"never came by {set(On) - table.asked}")
