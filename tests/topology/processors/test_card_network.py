"""The HTTP adapter against the simulated card network itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from schemas.processing import AuthorizationState, CallKind, Outcome
from tests.sandbox.card_network.network_process import NetworkProcess
from tests.topology.processors.calls import a_call, adapter, departure, run
from topology.processors import Answer, Cause
from topology.processors.declared import declared_capabilities


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    folder: Path = tmp_path_factory.mktemp("network")
    with NetworkProcess(folder / "ledger.db") as process:
        yield process


def test_a_payment(network: NetworkProcess) -> None:
    async def test() -> list[Answer]:
        async with adapter(network.base_url) as processor:
            return [
                await processor.authorize(a_call(number=1), departure()),
                await processor.capture(a_call(CallKind.capture, number=2, amount_minor=1500), departure()),
                await processor.void(a_call(CallKind.void, number=3), departure()),
                await processor.lookup(a_call(CallKind.capture, number=2), departure()),
                await processor.lookup(a_call(CallKind.authorize, number=99), departure()),
            ]

    authorized, captured, voided, found, not_found = run(test())
    assert (authorized.outcome, authorized.amount_minor, authorized.currency) == (Outcome.approved, 1999, "usd")
    assert authorized.capture_before is not None
    assert (captured.outcome, captured.amount_minor) == (Outcome.approved, 1500)
    assert (voided.outcome, voided.authorization_state) == (Outcome.declined, AuthorizationState.captured)
    assert found == captured
    assert not_found.outcome is Outcome.not_found


def test_the_same_call_again_is_the_same_transaction(network: NetworkProcess) -> None:
    async def test() -> list[Answer]:
        async with adapter(network.base_url) as processor:
            return [await processor.authorize(a_call(number=20), departure()) for _ in range(3)]

    answers = run(test())
    assert answers[0].outcome is Outcome.approved
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("number", "token", "code", "decline_code"),
    [
        (70, "tok_chargeDeclined", "card_declined", "generic_decline"),
        (71, "tok_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        (72, "tok_chargeDeclinedProcessingError", "processing_error", None),
        (73, "tok_unheardOf", "invalid_payment_method", None),
    ],
)
def test_declines(network: NetworkProcess, number: int, token: str, code: str, decline_code: str | None) -> None:
    async def test() -> Answer:
        async with adapter(network.base_url) as processor:
            return await processor.authorize(a_call(number=number, token=token), departure())

    answer = run(test())
    assert (answer.outcome, answer.code, answer.decline_code) == (Outcome.declined, code, decline_code)


def test_challenge_and_its_callback(network: NetworkProcess) -> None:
    async def test() -> Answer:
        async with adapter(network.base_url) as processor:
            return await processor.authorize(a_call(number=30, token="tok_threeDSecureRequired"), departure())

    answer = run(test())
    assert answer.outcome is Outcome.challenge
    assert answer.challenge_url is not None
    assert answer.challenge_url.startswith(network.base_url)


def test_what_is_in_doubt_is_found_by_looking_it_up(network: NetworkProcess) -> None:
    async def test() -> tuple[list[Answer], list[Answer]]:
        tokens = (
            "tok_timeoutThenApproved",
            "tok_timeoutThenDeclined",
            "tok_timeoutNeverArrived",
            "tok_connectionReset",
        )
        calls = [a_call(number=40 + place, token=token, deadline_seconds=0.3) for place, token in enumerate(tokens)]
        async with adapter(network.base_url) as processor:
            answers = [await processor.authorize(call, departure()) for call in calls]
            return answers, [await processor.lookup(replace(call, deadline_seconds=5.0), departure()) for call in calls]

    answers, found = run(test())
    assert [answer.code for answer in answers] == [Cause.timed_out] * 3 + [Cause.connection_broken]
    assert {answer.outcome for answer in answers} == {Outcome.unknown}
    assert [answer.outcome for answer in found] == [
        Outcome.approved,
        Outcome.declined,
        Outcome.not_found,
        Outcome.approved,
    ]


def test_a_void_is_held_against_an_authorization_that_comes_later(network: NetworkProcess) -> None:
    async def test() -> tuple[Answer, Answer]:
        async with adapter(network.base_url) as processor:
            voided = await processor.void(a_call(CallKind.void, number=51, authorization=50), departure())
            return voided, await processor.authorize(a_call(number=50), departure())

    voided, late = run(test())
    assert voided.outcome is Outcome.approved
    assert (late.outcome, late.code) == (Outcome.declined, "voided_before_arrival")


def test_another_call_under_the_same_key_is_unknown(network: NetworkProcess) -> None:
    async def test() -> Answer:
        async with adapter(network.base_url) as processor:
            await processor.authorize(a_call(number=60), departure())
            return await processor.authorize(a_call(number=60, amount_minor=1), departure())

    answer = run(test())
    assert (answer.outcome, answer.code) == (Outcome.unknown, Cause.unexpected_status)


def test_what_the_network_declares(network: NetworkProcess) -> None:
    declared = run(declared_capabilities(network.base_url, deduplication_seconds=3600.0))
    assert declared.deduplicates == {CallKind.authorize, CallKind.capture, CallKind.void}
    assert declared.lookup
    assert declared.longest_hold_seconds == 7 * 24 * 3600
    assert declared.deduplication_seconds == 3600.0
