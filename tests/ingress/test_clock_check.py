"""What deliveries prove of this process's clock."""

from __future__ import annotations

from random import Random

import pytest

from ingress.clock_check import ClockCheck
from ingress.metrics import Metrics
from schemas.times import Micros, later
from tests.ingress.fakes import NOW


def note(check: ClockCheck, partition: int, *, ahead: float, there: float = 0.01, back: float = 0.01) -> None:
    """A delivery that took so many seconds there and back, by a clock that is so many seconds ahead."""
    check.note(
        partition,
        sent_at=later(NOW, seconds=ahead),
        appended_at=later(NOW, seconds=there),
        acknowledged_at=later(NOW, seconds=there + back + ahead),
    )


def check_of(*ahead: float) -> ClockCheck:
    check = ClockCheck(Metrics())
    for partition, seconds in enumerate(ahead):
        note(check, partition, ahead=seconds)
    return check


def test_nothing_is_claimed_before_anything_is_known() -> None:
    assert ClockCheck(Metrics()).ahead_seconds() == 0


@pytest.mark.parametrize("ahead", [300, -300])
def test_a_clock_that_is_off_is_found_out(ahead: float) -> None:
    assert check_of(ahead, ahead, ahead, ahead).ahead_seconds() == pytest.approx(ahead, abs=0.1)
    assert check_of(ahead).ahead_seconds() == pytest.approx(ahead, abs=0.1), "one broker is all there is"


@pytest.mark.parametrize("delays", [(90, 0), (0, 90), (90, 90)])
def test_no_delay_feigns_a_difference(delays: tuple[float, float]) -> None:
    check = ClockCheck(Metrics())
    note(check, 0, ahead=0, there=delays[0], back=delays[1])
    assert check.ahead_seconds() == 0


def test_never_more_than_there_is() -> None:
    random = Random(1)
    for _ in range(1_000):
        ahead, there, back = random.uniform(-400, 400), random.uniform(0, 100), random.uniform(0, 100)
        check = ClockCheck(Metrics())
        note(check, 0, ahead=ahead, there=there, back=back)
        found = check.ahead_seconds()
        assert found == 0 or found * ahead > 0
        assert abs(ahead) - there - back - 1e-5 <= abs(found) <= abs(ahead) + 1e-5


@pytest.mark.parametrize("others", [(300,), (300, 300), (300, -300), (-300, -300)])
def test_brokers_in_the_minority_or_half_of_them_do_not_decide(others: tuple[float, ...]) -> None:
    assert check_of(*others, 0, 0).ahead_seconds() == 0


def test_most_of_the_brokers_decide() -> None:
    assert check_of(300, 300, 0).ahead_seconds() == pytest.approx(300, abs=0.1)


def test_the_last_word_of_a_partition_counts_and_each_shows_in_the_metrics() -> None:
    metrics = Metrics()
    check = ClockCheck(metrics)
    note(check, 3, ahead=300)
    note(check, 3, ahead=0)
    note(check, 5, ahead=-120)
    assert check.ahead_seconds() == 0
    shown = {
        number: metrics.registry.get_sample_value("paystream_ingress_clock_ahead_seconds", {"partition": number})
        for number in ("3", "5")
    }
    assert shown == {"3": 0, "5": pytest.approx(-120, abs=0.1)}


def test_the_same_moment_is_no_difference() -> None:
    check = ClockCheck(Metrics())
    check.note(0, sent_at=NOW, appended_at=Micros(NOW), acknowledged_at=NOW)
    assert check.ahead_seconds() == 0
