"""The settlement file as nested JSON: batches by currency, in them batches by merchant, in those the lines.

Reads lines that come by currency and merchant, yields JSON; `settlement_api` serves it. It says what the CSV says
(`settlement_report`), in another order, and can be written and read without holding more than a line: what is summed up
stands behind what it sums up.

    {"processor":"isonet","file_sequence":2485,"settlement_date":"2026-10-20","batches":[
    {"currency":"usd","merchant_batches":[
    {"merchant":"mer_demo","lines":[
    {"line":1,"processor_reference":"…","reference":"tx_…","kind":"capture","amount_minor":1999,…}
    ]}
    ],"totals":{"lines":1,"amount_minor":1999,"fee_minor":40,"net_minor":1959}}
    ],"trailer":{"file_sequence":2485,"batches":1,"lines":1}}
"""

from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby

import msgspec

from sandbox.card_network.booking import rfc3339
from sandbox.card_network.settlement_lines import Line, Total
from sandbox.card_network.settlement_report import file_sequence

__all__ = ["report"]

_BYTES_PER_CHUNK = 256 * 1024
_encode = msgspec.json.Encoder().encode


def report(lines: Iterable[Line], *, processor: str, settlement_date: date) -> Iterator[bytes]:
    """The file in pieces."""
    chunk = bytearray()
    for piece in _pieces(lines, processor, settlement_date):
        chunk += piece
        if len(chunk) >= _BYTES_PER_CHUNK:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def _pieces(lines: Iterable[Line], processor: str, settlement_date: date) -> Iterator[bytes]:
    sequence = file_sequence(settlement_date)
    number = batches = 0
    head = _encode({"processor": processor, "file_sequence": sequence, "settlement_date": settlement_date.isoformat()})
    yield head[:-1] + b',"batches":['
    for currency, of_currency in groupby(lines, key=lambda line: line.currency):
        total = Total()
        yield _separated(batches) + b'{"currency":' + _encode(currency) + b',"merchant_batches":['
        batches += 1
        for place, (merchant, of_merchant) in enumerate(groupby(of_currency, key=lambda line: line.merchant)):
            yield _separated(place) + b'{"merchant":' + _encode(merchant or None) + b',"lines":['
            for place_in_batch, line in enumerate(of_merchant):
                number += 1
                total.add(line)
                yield _separated(place_in_batch) + _encode(_entry(number, line))
            yield b"\n]}"
        yield b'\n],"totals":' + _encode(total) + b"}"
    trailer = {"file_sequence": sequence, "batches": batches, "lines": number}
    yield b'\n],"trailer":' + _encode(trailer) + b"}\n"


def _separated(place: int) -> bytes:
    return b",\n" if place else b"\n"


def _entry(number: int, line: Line) -> dict[str, object]:
    return {
        "line": number,
        "processor_reference": line.processor_reference,
        "reference": line.reference,
        "kind": line.kind,
        "amount_minor": line.amount_minor,
        "fee_minor": line.fee_minor,
        "net_minor": line.net_minor,
        "payout_currency": line.currency,
        "at": rfc3339(line.at_micros),
    }
