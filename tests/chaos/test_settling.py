"""What a seed makes to be wrong in the network's files comes to what the checker expects of it: by either protocol.

The card network is a process; adapter, import, flows and judge are real. Of the chaos suite's own settling only what
needs a stack is missing: the commands, and who is killed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.adjusting import choose
from tests.chaos.banks import Bank, HttpBank, IsoBank
from tests.chaos.desk import Desk
from tests.chaos.settled import OUTCOMES, expected_outcomes
from tests.chaos.shop import Shop
from tests.sandbox.card_network.network_process import NetworkProcess

_CAPTURED = 13
_VOIDED = 2


def http(network: NetworkProcess) -> Bank:
    return HttpBank(network, deduplicates=True)


@pytest.mark.parametrize("speaking", [http, IsoBank])
def test_every_adjustment_comes_to_what_is_expected_of_it(
    speaking: Callable[[NetworkProcess], Bank], tmp_path: Path
) -> None:
    with (
        NetworkProcess(tmp_path / "ledger.db") as network,
        Shop(speaking(network)) as shop,
        Desk(shop, network) as desk,
    ):
        for number in range(_CAPTURED + _VOIDED):
            is_voided = number >= _CAPTURED
            method = "manual" if is_voided else "automatic"
            body = {"amount": 1_000 + number, "currency": "usd", "capture_method": method}
            created = shop.post("/paymentIntent", f"order-{number}", body)
            assert created.answer is not None
            intent = str(created.answer["id"])
            shop.pay(intent, wait=0)
            shop.settle()
            if is_voided:
                shop.cancel(intent)
        shop.settle()
        assert len(desk.captured()) == _CAPTURED
        steps = shop.steps()
        chosen = [one for one in choose(7, steps) if one.processor == shop.bank.name]
        expected = expected_outcomes(chosen, {step.intent: [step] for step in steps})
        assert {outcome for (_, _, outcome), _ in expected} == OUTCOMES
        desk.adjust(*chosen)
        desk.import_file()
        desk.settle()
        desk.end_windows()
        assert desk.findings() == []
