"""No message, log line or exception shows card data."""

from __future__ import annotations

import asyncio
import logging
import traceback

import pytest

from schemas.identifiers import PaymentIntentId
from schemas.processing import Outcome
from tests.topology.processors.calls import departure, run
from tests.topology.processors.iso8583.calls import ACQUIRER, a_call, adapter, asked
from tests.topology.processors.iso8583.host import Asked, hosting
from topology.processors.iso8583.frames import BadFrame, frame_of, message_in
from topology.processors.iso8583.masking import SHOWN, Message
from topology.processors.iso8583.messages import request_of

PAN = "4242424242424242"
TOKEN = "tok_canary"
SECRET = (2, 14, 34, 35, 36, 45, 48, 52, 55)


@pytest.mark.parametrize("number", [*range(2, 65), *range(66, 129)])
def test_a_field_is_shown_only_if_it_is_on_the_list(number: int) -> None:
    shown = repr(Message("0100", {number: PAN}))
    assert (PAN in shown) == (number in SHOWN)
    assert f"{number}=" in shown
    assert "0100" in shown


def test_card_data_is_not_on_the_list() -> None:
    assert SHOWN.isdisjoint(SECRET)


def test_a_request_shows_its_numbers_and_not_its_token() -> None:
    request = request_of(asked(token=TOKEN), payment_intent_id=PaymentIntentId("pi_1"), acquirer=ACQUIRER)
    for shown in (repr(request), str(request), f"{request!r}", repr([request]), repr({"message": request})):
        assert TOKEN not in shown
        assert "11=000001" in shown
    assert request.get(48) == TOKEN


def chain(error: BaseException | None) -> str:
    """All that an error and those behind it could show."""
    shown = ""
    while error is not None:
        shown += "".join(traceback.format_exception(error)) + repr(error.args) + repr(vars(error))
        error = error.__cause__ or error.__context__
    return shown


@pytest.mark.parametrize("fields", [{2: PAN + "12345678"}, {2: PAN, 4: "12"}, {48: PAN + "ä"}, {2: PAN, 200: "1"}])
def test_an_error_in_encoding_shows_nothing_of_the_message(fields: dict[int, str]) -> None:
    with pytest.raises(BadFrame) as refused:
        frame_of(Message("0100", fields))
    assert PAN not in chain(refused.value)


def test_an_error_in_decoding_shows_nothing_of_the_message() -> None:
    body = frame_of(Message("0110", {2: PAN, 35: PAN + "=2912", 48: TOKEN}))[2:]
    for end in range(1, len(body)):
        with pytest.raises(BadFrame) as refused:
            message_in(body[:end])
        assert PAN not in chain(refused.value)
        assert TOKEN not in chain(refused.value)


@pytest.mark.parametrize("garbled", [False, True])
def test_no_log_line_shows_card_data(garbled: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Refused, unreadable, unmatched and sent twice, at the most talkative level, of asyncio too."""

    async def echoing(asked: Asked) -> None:
        if garbled:
            asked.connection.writer.write(b"\x00\x40" + PAN.encode() * 4)
        asked.answer("96", de11="000777", de2=PAN, de48=TOKEN)
        asked.answer("05", de2=PAN, de45=PAN, de48=TOKEN)
        asked.answer("05", de2=PAN, de45=PAN, de48=TOKEN)

    async def test() -> None:
        asyncio.get_running_loop().set_debug(True)
        async with hosting(echoing) as host, adapter(host.port) as processor:
            answer = await processor.authorize(a_call(token=TOKEN, deadline_seconds=0.5), departure())
            assert answer.outcome is (Outcome.unknown if garbled else Outcome.declined)
            assert PAN not in repr(answer)
            for code in ("91", None):
                host.network_code = code
                await host.until(lambda: host.connections)
                accepted = host.accepted
                host.connections[0].reset()
                await host.until_accepted(accepted + 1)

    with caplog.at_level(logging.DEBUG):
        run(test())
    assert caplog.text
    assert PAN not in caplog.text
    assert TOKEN not in caplog.text
