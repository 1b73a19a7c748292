"""The network's clock, which can be put forward so that holds end without anybody waiting."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.card_network.network_process import NetworkProcess


def test_an_authorization_expires_by_it(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.sqlite") as network:
        authorization = network.authorize("tok_visa")
        ahead = {"ahead_seconds": 8 * 86_400}
        assert network.post("/clock", {"advance_seconds": 8 * 86_400}).items() >= ahead.items()
        assert network.client.get("/clock").json().items() >= ahead.items()
        answer = network.capture(authorization["reference"])
        assert answer["status"] == "declined", answer
        assert answer["authorization_state"] == "gone", answer


@pytest.mark.parametrize("content", ["", "[]", '{"advance_seconds": -1}', '{"seconds": 1}', " " * 2_000])
def test_nonsense_is_refused(network: NetworkProcess, content: str) -> None:
    answer = network.client.post("/clock", content=content)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert network.client.get("/clock").json()["ahead_seconds"] == 0
