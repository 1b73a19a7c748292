"""A run counts only where as many faults befell it as its plan says."""

from __future__ import annotations

import pytest

from bench.doubt import FAULTS
from bench.faults import rates, rates_missed, since

AS_PLANNED = {
    "arrivals": 20_000,
    "timeout": 500,
    "timeout_request_lost": 500,
    "reset": 500,
    "reset_request_lost": 500,
    "duplicate": 400,
}


def missed(**iso8583: int) -> list[str]:
    return rates_missed(FAULTS, {"http": AS_PLANNED, "iso8583": {**AS_PLANNED, **iso8583}})


def test_the_planned_rates_are_what_is_wanted() -> None:
    assert missed() == []
    assert missed(timeout=590, reset=410, duplicate=330) == []


@pytest.mark.parametrize("name", [name for name in AS_PLANNED if name != "arrivals"])
@pytest.mark.parametrize("share", [0.0, 0.75, 1.25])
def test_a_fault_that_came_too_seldom_or_too_often_is_told(name: str, share: float) -> None:
    count = round(AS_PLANNED[name] * share)
    assert missed(**{name: count}) == [f"iso8583: {name} befell {count} of 20000, not {AS_PLANNED[name]}"]


def test_a_protocol_that_nobody_spoke_is_told() -> None:
    assert rates_missed(FAULTS, {"http": AS_PLANNED, "iso8583": {}}) == ["iso8583: nothing arrived"]


def test_of_few_arrivals_chance_may_have_made_more_of_a_difference() -> None:
    few = {"arrivals": 400, "timeout": 15, "timeout_request_lost": 6, "reset": 10, "reset_request_lost": 10}
    thrown = {"http": {**few, "duplicate": 8}, "iso8583": AS_PLANNED}
    assert rates_missed(FAULTS, thrown) == []
    assert len(rates_missed(FAULTS, {**thrown, "http": {**few, "duplicate": 80}})) == 1


def test_what_came_before_is_not_counted() -> None:
    before = {"http": {"arrivals": 5}, "iso8583": {}}
    after = {"http": {"arrivals": 25, "reset": 4}, "iso8583": {"arrivals": 10}}
    thrown = since(before, after)
    assert thrown == {"http": {"arrivals": 20, "reset": 4}, "iso8583": {"arrivals": 10}}
    assert rates(thrown) == {"http": {"reset": 0.2}, "iso8583": {}}
    assert rates({"http": {"arrivals": 0}}) == {"http": {}}
