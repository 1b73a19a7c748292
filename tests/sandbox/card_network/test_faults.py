from collections import Counter

import msgspec
import pytest

from sandbox.card_network.booking import Kind
from sandbox.card_network.cards import Delivery
from sandbox.card_network.faults import Dice, Fault, FaultPlan, LinkFault, WireProtocol


def test_without_rates_nothing_goes_wrong() -> None:
    dice = Dice(FaultPlan())
    assert {dice.throw(Kind.capture, WireProtocol.http) for _ in range(100)} == {Fault()}


def test_the_rates_are_kept_and_half_of_the_losses_are_booked() -> None:
    dice = Dice(FaultPlan(timeout_rate=0.2, reset_rate=0.1, duplicate_rate=0.05, decline_rate=0.3, seed=7))
    faults = [dice.throw(Kind.void, WireProtocol.http) for _ in range(20_000)]
    share = Counter({what: count / len(faults) for what, count in Counter(fault.delivery for fault in faults).items()})
    assert share[Delivery.hang] == pytest.approx(0.2, abs=0.02)
    assert share[Delivery.reset] == pytest.approx(0.1, abs=0.02)
    assert share[Delivery.twice] == pytest.approx(0.05, abs=0.01)
    assert sum(fault.loses_request for fault in faults) / len(faults) == pytest.approx(0.15, abs=0.02)
    assert sum(fault.declines for fault in faults) / len(faults) == pytest.approx(0.3, abs=0.02)


def test_the_same_seed_throws_the_same_faults() -> None:
    plan = FaultPlan(timeout_rate=0.3, reset_rate=0.3, decline_rate=0.5, seed=42)
    one, other = Dice(plan), Dice(plan)
    assert [one.throw(Kind.capture, WireProtocol.http) for _ in range(200)] == [
        other.throw(Kind.capture, WireProtocol.http) for _ in range(200)
    ]


def test_the_rates_can_be_kept_to_one_kind() -> None:
    dice = Dice(FaultPlan(timeout_rate=1, kinds=frozenset({Kind.capture})))
    assert dice.throw(Kind.authorization, WireProtocol.http) == Fault()
    assert dice.throw(Kind.capture, WireProtocol.http).delivery is Delivery.hang


def test_the_faults_of_the_link_are_thrown_besides() -> None:
    plan = FaultPlan(iso_other_connection_rate=0.25, iso_doubt_rate=0.5, iso_response_codes=("09", "68"), seed=3)
    dice = Dice(plan)
    faults = [dice.throw_link(Kind.authorization) for _ in range(20_000)]
    assert sum(fault.other_connection for fault in faults) / len(faults) == pytest.approx(0.25, abs=0.02)
    codes = Counter(fault.doubtful_code for fault in faults)
    assert {code: codes[code] / len(faults) for code in ("09", "68")} == {
        "09": pytest.approx(0.25, abs=0.02),
        "68": pytest.approx(0.25, abs=0.02),
    }
    assert sum(fault.loses_request for fault in faults) / len(faults) == pytest.approx(0.25, abs=0.02)
    assert not any(fault.loses_request for fault in faults if fault.doubtful_code is None)
    assert Dice(FaultPlan()).throw_link(Kind.void) == LinkFault()


def test_a_change_keeps_the_rest() -> None:
    dice = Dice(FaultPlan(reset_rate=0.5, late_seconds=3))
    plan = dice.change({"timeout_rate": 0.25, "kinds": ["void"]})
    assert (plan.timeout_rate, plan.reset_rate, plan.late_seconds) == (0.25, 0.5, 3)
    assert plan.kinds == {Kind.void}


@pytest.mark.parametrize(
    "changes",
    [
        {"timeout_rate": 1.5},
        {"timeout_rate": -0.1},
        {"timeout_rate": "half"},
        {"unheard_of": 1},
        {"kinds": ["refund"]},
        {"timeout_rate": 0.9},  # with the reset rate more than one
        {"hang_seconds": -1},
        {"iso_response_codes": []},
        {"iso_response_codes": ["9"]},
    ],
)
def test_a_bad_change_changes_nothing(changes: dict[str, object]) -> None:
    dice = Dice(FaultPlan(reset_rate=0.5))
    with pytest.raises(msgspec.ValidationError):
        dice.change(changes)
    assert dice.plan == FaultPlan(reset_rate=0.5)


def test_what_was_thrown_is_counted_by_protocol() -> None:
    dice = Dice(FaultPlan(timeout_rate=0.5, duplicate_rate=0.5, lost_request_share=1, decline_rate=1, seed=5))
    faults = Counter(dice.throw(Kind.capture, WireProtocol.http).delivery for _ in range(100))
    assert set(faults) == {Delivery.hang, Delivery.twice}
    lost, twice = faults[Delivery.hang], faults[Delivery.twice]
    counted = {"arrivals": 100, "timeout_request_lost": lost, "duplicate": twice, "decline": 100}
    assert dice.thrown == {WireProtocol.http: counted, WireProtocol.iso8583: {}}
    dice.change({"timeout_rate": 0, "duplicate_rate": 0, "decline_rate": 0})
    dice.throw(Kind.capture, WireProtocol.iso8583)
    assert dice.thrown == {WireProtocol.http: counted, WireProtocol.iso8583: {"arrivals": 1}}


def test_what_was_thrown_on_the_link_is_counted_and_every_arrival_once() -> None:
    dice = Dice(FaultPlan(iso_other_connection_rate=0.5, iso_doubt_rate=0.5, seed=5))
    faults = [dice.throw_link(Kind.authorization) for _ in range(100)]
    for fault in faults:
        if not fault.loses_request:
            dice.throw(Kind.authorization, WireProtocol.iso8583)
    lost = sum(fault.loses_request for fault in faults)
    doubtful = sum(fault.doubtful_code is not None for fault in faults)
    assert 0 < lost < doubtful < 100
    assert dice.thrown[WireProtocol.iso8583] == {
        "arrivals": 100,
        "doubtful_code": doubtful - lost,
        "doubtful_code_request_lost": lost,
        "other_connection": sum(fault.other_connection for fault in faults),
    }
    assert dice.thrown[WireProtocol.http] == {}
