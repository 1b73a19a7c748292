"""The network's clock: it goes ahead when told to, and holds end by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.card_network.clock import AdvancingClock

from .network_process import NetworkProcess


def test_a_clock_goes_ahead_and_never_back() -> None:
    at = [1_000_000]
    clock = AdvancingClock(lambda: at[0])
    clock.advance(60)
    clock.advance(0)
    assert clock() == 61_000_000
    at[0] += 5
    assert clock() == 61_000_005
    for seconds in (-1, 10**12):
        with pytest.raises(ValueError, match="only goes forward"):
            clock.advance(seconds)
    assert clock() == 61_000_005


def test_an_authorization_expires_by_it(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.sqlite") as network:
        authorization = network.authorize("tok_visa")
        ahead = {"ahead_seconds": 8 * 86_400}
        assert network.post("/clock", {"advance_seconds": 8 * 86_400}) == ahead
        assert network.client.get("/clock").json() == ahead
        answer = network.capture(authorization["reference"])
        assert answer["status"] == "declined", answer
        assert answer["authorization_state"] == "gone", answer


@pytest.mark.parametrize("content", ["", "[]", '{"advance_seconds": -1}', '{"seconds": 1}', " " * 2_000])
def test_nonsense_is_refused(network: NetworkProcess, content: str) -> None:
    answer = network.client.post("/clock", content=content)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert network.client.get("/clock").json() == {"ahead_seconds": 0}
