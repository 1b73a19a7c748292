"""The network's settlement files over HTTP, and the orders by which tests make them wrong.

    GET  /settlements/PROCESSOR/DATE.csv    the captures that came by one protocol: cardnet (HTTP) or isonet (ISO 8583)
    GET  /settlements/PROCESSOR/DATE.json   the same, nested
    GET  /settlement-report?date=DATE[&processor=PROCESSOR]    the CSV, by its older address
    POST /settlement/adjustments            what is to be wrong (`settlement_lines.Adjusting`)

Reads and writes the ledger; routed by `app`.
"""

from collections.abc import Iterator
from datetime import date

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sandbox.card_network import settlement_json, settlement_report
from sandbox.card_network.booking import HTTP_PROCESSOR, ISO_PROCESSOR
from sandbox.card_network.network import CardNetwork
from sandbox.card_network.requests import BadRequest
from sandbox.card_network.settlement_calendar import SettlementCalendar
from sandbox.card_network.settlement_lines import Adjusting, Adjustment, Line, Unfit, adjustments_of, lines

__all__ = ["SettlementApi"]


class SettlementApi:
    """The endpoints."""

    def __init__(self, network: CardNetwork, calendar: SettlementCalendar) -> None:
        self._network = network
        self._calendar = calendar

    async def file(self, request: Request) -> Response:
        day, _, extension = request.path_params["name"].partition(".")
        processor = request.path_params["processor"]
        if processor not in (HTTP_PROCESSOR, ISO_PROCESSOR) or extension not in ("csv", "json"):
            raise HTTPException(404)
        return self._file(processor, _date(day), extension)

    async def csv_of_date(self, request: Request) -> Response:
        processor = request.query_params.get("processor", HTTP_PROCESSOR)
        if processor not in (HTTP_PROCESSOR, ISO_PROCESSOR):
            raise BadRequest("no such processor")
        return self._file(processor, _date(request.query_params.get("date", "")), "csv")

    async def adjust(self, body: bytes) -> Response:
        """Carry out the order in a body."""
        try:
            order = msgspec.json.decode(body, type=Adjusting)
        except msgspec.MsgspecError as error:
            raise BadRequest("unknown field" if "unknown field" in str(error) else str(error)) from None
        settlement_date = _date(order.date).isoformat()
        booking = self._network.look_up(order.reference) if order.reference is not None else None
        try:
            adjustments = adjustments_of(order, booking, at_micros=self._network.clock())
        except Unfit as error:
            raise BadRequest(str(error)) from None
        for adjustment in adjustments:
            await self._network.adjust_settlement(order.processor, settlement_date, msgspec.json.encode(adjustment))
        return Response(msgspec.json.encode(adjustments), status_code=201, media_type="application/json")

    def _file(self, processor: str, settlement_date: date, extension: str) -> Response:
        is_nested = extension == "json"
        found = self._lines(processor, settlement_date, grouped=is_nested)
        if is_nested:
            content = settlement_json.report(found, processor=processor, settlement_date=settlement_date)
            return StreamingResponse(content, media_type="application/json")
        text = settlement_report.report(found, processor=processor, settlement_date=settlement_date)
        return StreamingResponse(text, media_type="text/csv")

    def _lines(self, processor: str, settlement_date: date, *, grouped: bool) -> Iterator[Line]:
        ledger = self._network.ledger
        from_micros, until_micros = self._calendar.span(settlement_date)
        captures = ledger.captures(processor, from_micros=from_micros, until_micros=until_micros, grouped=grouped)
        adjustments = [
            msgspec.json.decode(adjustment, type=Adjustment)
            for adjustment in ledger.adjustments(processor, settlement_date.isoformat())
        ]
        return lines(captures, adjustments, grouped=grouped)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadRequest("date is not YYYY-MM-DD") from None
