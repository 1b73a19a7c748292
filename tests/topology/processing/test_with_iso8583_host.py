"""The flow with its real engine and ISO 8583 adapter against a host on real connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from schemas.processing import ProcessorResult
from schemas.topics import EVENTS, PROCESSOR_RESULTS
from tests.harness.driver import FakeClock, FlowDriver
from tests.topology.domain.script import START, Payment
from tests.topology.processing.rig import renamed
from tests.topology.processors.iso8583.calls import ACQUIRER
from tests.topology.processors.iso8583.host import Asked, Host, hosting
from topology.calls.slots import ProcessorLimits
from topology.processing import FLOW, ProcessingConfig, ProcessingSide, build
from topology.processors.iso8583 import Iso8583Config, Iso8583Processor


class HostThread:
    """A host on a loop and thread of its own; it approves all but the types in `silent_on`."""

    def __init__(self) -> None:
        self.silent_on: set[str] = set()
        self.host = Host()
        self._ready, self._end = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> HostThread:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def bodies(self, *types: str) -> list[bytes]:
        return [asked.body for asked in list(self.host.asked) if asked.document["t"] in types]

    def answer_late(self, mti: str) -> None:
        """Answer the first of this type after all."""
        asked = next(asked for asked in self.host.asked if asked.document["t"] == mti)
        self._loop.call_soon_threadsafe(lambda: asked.answer(on=self.host.connections[0]))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with hosting(self._behave) as self.host:
            self._ready.set()
            await self._end.wait()

    async def _behave(self, asked: Asked) -> None:
        if asked.document["t"] not in self.silent_on:
            asked.answer()


@pytest.fixture
def host() -> Iterator[HostThread]:
    with HostThread() as thread:
        yield thread


class LiveFlow:
    """The flow on the driver's log and clock, with everything else real."""

    def __init__(self, port: int, *, deadline_seconds: float = 5.0) -> None:
        config = Iso8583Config(
            name="a", host="127.0.0.1", port=port, acquirer=ACQUIRER, connections=2, deduplication_seconds=86_400.0
        )
        limits = ProcessorLimits(deadline_seconds=deadline_seconds)
        self.side = ProcessingSide([Iso8583Processor(config)], ProcessingConfig(default_limits=limits), partitions=4)
        self.driver = FlowDriver(FLOW, build, side=self.side, clock=FakeClock(START))

    def until(self, done: Callable[[], object], seconds: float = 10.0) -> None:
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

    def hear(self, payment: Payment) -> ProcessorResult:
        """The next result, the fold's events of it, and the flow's calls for these."""
        (result,) = self.results(1)
        payment.give(result)
        self.driver.pipe(EVENTS, *payment.decision.events)
        return result

    def tell(self, payment: Payment, step: str) -> None:
        payment.tell(step)
        self.driver.pipe(EVENTS, *payment.decision.events)


@pytest.fixture
def flow(host: HostThread) -> Iterator[LiveFlow]:
    live = LiveFlow(host.host.port, deadline_seconds=1.5)
    yield live
    live.side.close()


def test_authorize_and_capture(host: HostThread, flow: LiveFlow) -> None:
    payment = Payment(route=("a",))
    flow.tell(payment, "attempt")
    authorized = flow.hear(payment)
    flow.hear(payment)
    assert payment.intent.status == "succeeded"
    assert host.host.types() == ["0100", "0220"]
    capture = host.host.asked[1].document
    assert capture["38"] == authorized.processor_data["de38"]
    assert capture["90"][4:20] == authorized.processor_data["de11"] + authorized.processor_data["de7"]
    assert payment.latest("capture").processor_reference == capture["37"]


def test_a_time_out_is_reversed_and_its_late_answer_only_supplies_the_approval_code(
    host: HostThread, flow: LiveFlow
) -> None:
    host.silent_on = {"0100"}
    payment = Payment(route=("a",))
    flow.tell(payment, "attempt")
    unknown = flow.hear(payment)
    assert (unknown.outcome, unknown.code) == ("unknown", "timed_out")
    host.answer_late("0100")
    time.sleep(0.1)
    assert host.host.types() == ["0100"]
    flow.tell(payment, "timer: ladder")
    voided = flow.hear(payment)
    assert voided.outcome == "approved"
    assert host.host.types() == ["0100", "0400"]
    reversal = host.host.asked[1].document
    assert reversal["38"] == "A1B2C3"
    assert reversal["90"][4:20] == unknown.processor_data["de11"] + unknown.processor_data["de7"]
    assert payment.intent.status == "requires_payment_method"
    assert payment.transactions()[-1].startswith("void (doubt) succeeded")


def test_after_a_crash_a_capture_is_repeated_as_the_same(host: HostThread, flow: LiveFlow) -> None:
    host.silent_on = {"0220"}
    payment = Payment(route=("a",))
    flow.tell(payment, "attempt")
    flow.hear(payment)
    flow.until(lambda: host.bodies("0220"))
    flow.driver.crash()
    captured = flow.hear(payment)
    assert captured.outcome == "approved"
    assert payment.intent.status == "succeeded"
    first, repeat = host.bodies("0220", "0221")
    assert (first[:4], repeat[:4], first[4:] == repeat[4:]) == (b"0220", b"0221", True)


def test_a_reversal_is_repeated_until_it_is_acknowledged(host: HostThread, flow: LiveFlow) -> None:
    host.silent_on = {"0100", "0400", "0401"}
    payment = Payment(route=("a",))
    flow.tell(payment, "attempt")
    flow.hear(payment)
    flow.tell(payment, "timer: ladder")
    flow.hear(payment)
    flow.tell(payment, "timer: ladder of void")
    flow.driver.crash()
    flow.hear(payment)
    host.silent_on = {"0100"}
    flow.tell(payment, "timer: ladder of void")
    assert flow.hear(payment).outcome == "approved"
    assert payment.intent.status == "requires_payment_method"
    bodies = host.bodies("0400", "0401")
    assert len(bodies) >= 3
    assert len({body[4:] for body in bodies}) == 1
    assert Counter(host.host.types())["0100"] == 1


def test_killed_in_the_middle_no_authorization_leaves_twice(host: HostThread) -> None:
    flow = LiveFlow(host.host.port)
    events = Payment(route=("a",)).tell("attempt").events
    flow.driver.pipe(EVENTS, *[renamed(events[-1], number) for number in range(1, 101)])
    flow.until(lambda: len(host.host.asked) > 10)
    flow.driver.crash()
    results = flow.results(100)
    flow.side.close()
    assert {result.outcome for result in results} <= {"approved", "unknown"}
    assert len({result.transaction_id for result in results}) == 100
    assert max(Counter(asked.document["62"] for asked in host.host.asked).values()) == 1
    assert len({(asked.document["7"], asked.document["11"]) for asked in host.host.asked}) == len(host.host.asked)
    assert len({(each.processor_data["de7"], each.processor_data["de11"]) for each in results}) == 100
