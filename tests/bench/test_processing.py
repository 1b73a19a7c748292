"""What `make bench-processing` holds its figures against, and shows of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.processing.bare import Bare
from bench.processing.report import Flooded, Measured, missed, table
from bench.processing.supply import asked
from schemas.codec import decode
from schemas.payment import PaymentEvent

MEASURED = Measured(
    calls_per_second=2_400.0,
    cpu_microseconds_per_call=300.0,
    in_flight_max=1_900,
    resident_bytes_begin=150_000_000,
    resident_bytes_peak=160_000_000,
    calls=72_000,
)
FLOODED = Flooded(events=200_000, approved=60_000, turned_away=140_000, seconds=50.0, resident_bytes_peak=250_000_000)
BARE = Bare(calls_per_second=4_000.0, cpu_microseconds_per_call=200.0, resident_bytes_peak=90_000_000)


def test_what_is_promised_is_just_enough() -> None:
    assert missed(MEASURED, FLOODED, BARE) == []
    shown = table(MEASURED, FLOODED, BARE)
    assert "missed" not in shown
    assert "| 200,000 events at once: resident, MB more | 100 |" in shown


@pytest.mark.parametrize(
    ("name", "measured", "flooded"),
    [
        ("calls_per_second", replace(MEASURED, calls_per_second=1_999.0), FLOODED),
        ("ratio_to_bare", replace(MEASURED, calls_per_second=2_399.0), FLOODED),
        ("in_flight_max", replace(MEASURED, in_flight_max=1_899), FLOODED),
        ("turned_away", MEASURED, replace(FLOODED, approved=200_000, turned_away=0)),
        ("growth_bytes", MEASURED, replace(FLOODED, resident_bytes_peak=250_000_001)),
    ],
)
def test_less_is_told_by_name(name: str, measured: Measured, flooded: Flooded) -> None:
    bare = replace(BARE, calls_per_second=3_000.0) if name == "calls_per_second" else BARE
    assert missed(measured, flooded, bare) == [name]
    assert table(measured, flooded, bare).count("**missed**") == 1


def test_each_event_asks_for_one_authorization_and_no_two_are_of_one_payment() -> None:
    made = asked(range(5, 25))
    events = [decode(each.value) for each in made]
    assert all(isinstance(event, PaymentEvent) and event.type == "transaction.created" for event in events)
    assert len({each.key for each in made}) == 20
    assert {each.key for each in made}.isdisjoint(each.key for each in asked(range(25, 30)))
