"""Who waits for which answer, and what is remembered of those who waited in vain: both bounded."""

from __future__ import annotations

import asyncio

import pytest

from schemas.processing import CallKind, Outcome
from tests.topology.processors.calls import departure, run
from tests.topology.processors.iso8583.calls import a_call, adapter, numbers
from tests.topology.processors.iso8583.host import hosting, nothing
from topology.processors import Cause
from topology.processors.iso8583.link import Link
from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.matching import Matching, awaited_by
from topology.processors.iso8583.numbers import Trace


def fields(number: int) -> dict[int, str]:
    known = numbers(number)
    return {7: known["de7"], 11: known["de11"], 37: known["de37"], 32: "77", 41: "PAYSTRM1"}


def late(matching: Matching, number: int) -> str | None:
    return matching.late_approval_code(Trace(**numbers(number)), acquirer_id="77", terminal_id="PAYSTRM1")


def test_of_those_that_timed_out_the_latest_are_remembered() -> None:
    matching = Matching("isonet", late_max=3)
    for number in range(1, 6):
        matching.remember(awaited_by(Message("0100", fields(number))))
    for number in range(1, 6):
        matching.arrived(Message("0110", {**fields(number), 38: f"A{number:05}", 39: "00"}))
    assert [late(matching, number) for number in range(1, 6)] == [None, None, "A00003", "A00004", "A00005"]


def test_a_late_answer_without_a_code_takes_none_away() -> None:
    matching = Matching("isonet")
    matching.remember(awaited_by(Message("0100", fields(1))))
    assert late(matching, 1) is None
    matching.arrived(Message("0110", {**fields(1), 38: "A1B2C3", 39: "00"}))
    matching.arrived(Message("0110", {**fields(1), 39: "96"}))
    assert late(matching, 1) == "A1B2C3"


def test_an_answer_to_the_repeat_is_the_answer_to_the_first() -> None:
    assert awaited_by(Message("0220", fields(1))) == awaited_by(Message("0221", fields(1)))
    assert awaited_by(Message("0400", fields(1))) != awaited_by(Message("0420", fields(1)))


def test_the_same_call_twice_at_once_is_written_once() -> None:
    async def test() -> None:
        async with hosting(nothing) as host, adapter(host.port) as processor:
            call = a_call(CallKind.capture, deadline_seconds=0.3)
            first = asyncio.create_task(processor.capture(call, departure()))
            await host.until(lambda: host.asked)
            second = await processor.capture(call, departure())
            assert (second.outcome, second.code) == (Outcome.not_sent, Cause.abandoned)
            assert (await first).code == Cause.timed_out
            assert len(host.asked) == 1

    run(test())


def test_a_bug_costs_no_connection_for_good(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    signs_on, failures = Link.sign_on, iter([True])

    async def sign_on(link: Link) -> None:
        if next(failures, False):
            raise RuntimeError("a bug")
        await signs_on(link)

    monkeypatch.setattr(Link, "sign_on", sign_on)

    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            assert (await processor.authorize(a_call(), departure())).outcome is Outcome.approved
            assert host.accepted == 2

    run(test())
    assert "a bug" in caplog.text
