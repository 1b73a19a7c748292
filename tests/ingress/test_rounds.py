"""Shared round trips."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest

from ingress.rounds import Rounds

pytestmark = pytest.mark.anyio


class Oracle:
    """Answers with the number of the question."""

    def __init__(self) -> None:
        self.questions: list[set[str]] = []
        self.fails = False

    async def ask(self, keys: Collection[str]) -> Mapping[str, int]:
        self.questions.append(set(keys))
        number = len(self.questions)
        await asyncio.sleep(0.02)
        if self.fails:
            raise RuntimeError("no answer")
        return dict.fromkeys(keys, number)


async def test_who_waits_at_the_same_moment_shares_a_question() -> None:
    oracle = Oracle()
    rounds = Rounds(oracle.ask)
    assert await asyncio.gather(*(rounds.get(key) for key in "abca")) == [1, 1, 1, 1]
    assert oracle.questions == [{"a", "b", "c"}]


async def test_nobody_joins_a_question_that_was_put_before() -> None:
    oracle = Oracle()
    rounds = Rounds(oracle.ask)
    first = asyncio.create_task(rounds.get("a"))
    await asyncio.sleep(0.01)
    second, third = asyncio.create_task(rounds.get("a")), asyncio.create_task(rounds.get("b"))
    assert [await one for one in (first, second, third)] == [1, 2, 2]
    assert oracle.questions == [{"a"}, {"a", "b"}]


async def test_a_question_has_a_size() -> None:
    oracle = Oracle()
    rounds = Rounds(oracle.ask, size_max=2)
    assert await asyncio.gather(*(rounds.get(key) for key in "abc")) == [1, 1, 2]


async def test_an_error_reaches_each_who_asked_and_the_next_question_is_put() -> None:
    oracle = Oracle()
    rounds = Rounds(oracle.ask)
    oracle.fails = True
    errors = await asyncio.gather(rounds.get("a"), rounds.get("b"), return_exceptions=True)
    assert [type(error) for error in errors] == [RuntimeError, RuntimeError]
    oracle.fails = False
    assert await rounds.get("a") == 2


async def test_who_gives_up_does_so_alone() -> None:
    oracle = Oracle()
    rounds = Rounds(oracle.ask)
    impatient, patient = asyncio.create_task(rounds.get("a")), asyncio.create_task(rounds.get("a"))
    await asyncio.sleep(0.01)
    impatient.cancel()
    assert await patient == 1
    with pytest.raises(asyncio.CancelledError):
        await impatient
