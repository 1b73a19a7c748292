"""The flow with its real engine and HTTP adapter against the simulated card network."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.processing import CallKind, ProcessorResult
from schemas.topics import EVENTS, PROCESSOR_RESULTS
from tests.harness.driver import FakeClock, FlowDriver
from tests.sandbox.card_network.network_process import NetworkProcess
from tests.topology.domain.script import START, Payment
from tests.topology.processing.rig import DEDUPLICATES, renamed
from topology.calls.slots import ProcessorLimits
from topology.processing import FLOW, ProcessingConfig, ProcessingSide, build
from topology.processors import HttpJsonProcessor, HttpProcessorConfig


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    folder: Path = tmp_path_factory.mktemp("network")
    with NetworkProcess(folder / "ledger.db") as process:
        yield process


class LiveFlow:
    """The flow on the driver's log and clock, with everything else real."""

    def __init__(self, network: NetworkProcess, *, deadline_seconds: float = 5.0) -> None:
        config = HttpProcessorConfig(
            name="a",
            base_url=network.base_url,
            public_url="http://ingress.example",
            deduplication_seconds=DEDUPLICATES.deduplication_seconds,
        )
        limits = ProcessorLimits(deadline_seconds=deadline_seconds)
        self.side = ProcessingSide([HttpJsonProcessor(config)], ProcessingConfig(default_limits=limits), partitions=4)
        self.driver = FlowDriver(FLOW, build, side=self.side, clock=FakeClock(START))

    def until(self, done: Callable[[], bool], seconds: float = 10.0) -> None:
        until = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < until, "nothing came"
            time.sleep(0.01)
            self.driver.settle()

    def results(self, count: int) -> list[ProcessorResult]:
        results: list[ProcessorResult] = []

        def done() -> bool:
            results.extend(self.driver.read(PROCESSOR_RESULTS))
            return len(results) >= count

        self.until(done)
        return results


@pytest.fixture
def flow(network: NetworkProcess) -> Iterator[LiveFlow]:
    live = LiveFlow(network)
    yield live
    live.side.close()


def test_authorize_and_capture(network: NetworkProcess, flow: LiveFlow) -> None:
    payment = Payment(route=("a",)).tell("attempt")
    flow.driver.pipe(EVENTS, *payment.events)
    (authorized,) = flow.results(1)
    payment.give(authorized)
    flow.driver.pipe(EVENTS, *payment.decision.events)
    (captured,) = flow.results(1)
    payment.give(captured)
    assert payment.intent.status == "succeeded"
    rows = [row for row in network.ledger() if row["payment_intent"] == payment.intent.id]
    assert [(row["type"], row["status"], row["requests"]) for row in rows] == [
        ("authorization", "approved", 1),
        ("capture", "approved", 1),
    ]


def test_killed_in_the_middle_and_restored_it_is_one_charge(network: NetworkProcess) -> None:
    flow = LiveFlow(network)
    events = Payment(route=("a",)).tell("attempt").events
    asking = [renamed(events[-1], number) for number in range(1, 101)]
    flow.driver.pipe(EVENTS, *asking)
    time.sleep(0.05)
    flow.driver.crash()
    results = flow.results(100)
    flow.side.close()
    assert {result.outcome for result in results} == {"approved"}
    ours = {result.transaction_id for result in results}
    rows = [row for row in network.ledger() if row["reference"] in ours]
    assert len(rows) == 100
    assert {row["type"] for row in rows} == {"authorization"}


def test_a_capture_waits_for_a_network_that_is_down(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.db") as network:
        flow = LiveFlow(network, deadline_seconds=2.0)
        payment = Payment(route=("a",)).tell("attempt")
        flow.driver.pipe(EVENTS, *payment.events)
        payment.give(flow.results(1)[0])
        network.end(signal.SIGKILL)
        flow.driver.pipe(EVENTS, *payment.decision.events)
        key = payment.intent.id
        flow.until(lambda: not flow.driver.state(key).calls[0].in_flight)
        network.start()
        (captured,) = flow.results(1)
        payment.give(captured)
        flow.side.close()
        assert payment.intent.status == "succeeded"


@pytest.mark.parametrize("option", [(), ("--no-authorization-deduplication",)])
def test_a_network_that_is_down_at_the_start_is_called_once_it_says_what_it_promises(
    tmp_path: Path, option: tuple[str, ...]
) -> None:
    with NetworkProcess(tmp_path / "ledger.db", *option) as network:
        first = LiveFlow(network)
        payments = [Payment(route=("a",)).tell("attempt") for _ in range(2)]
        asking = [renamed(payment.events[-1], number) for number, payment in enumerate(payments)]
        first.driver.pipe(EVENTS, asking[0])
        # It dies before it hears the answer, and the network with it.
        first.side.close()
        network.end(signal.SIGKILL)

        flow = LiveFlow(network)
        flow.driver.log = first.driver.log
        flow.driver.crash()
        capture = Payment(route=("a",)).tell("attempt", "authorization: approved").events[-1]
        flow.driver.pipe(EVENTS, renamed(capture, 2))
        for _ in range(50):
            flow.driver.settle()
            time.sleep(0.01)
        assert flow.driver.read(PROCESSOR_RESULTS) == []
        assert len(flow.driver.store) == 2, "one that is in doubt, and a capture, both waiting"

        network.start()
        results = {result.call: result for result in flow.results(2)}
        flow.driver.pipe(EVENTS, asking[1])
        (authorized,) = flow.results(1)
        flow.side.close()
        assert results[CallKind.authorize].outcome == ("unknown" if option else "approved")
        assert results[CallKind.capture].outcome == "declined", "it knows nothing of its authorization"
        assert authorized.outcome == "approved"
        assert all(row["requests"] <= (1 if option else 2) for row in network.ledger())
