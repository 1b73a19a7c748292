"""Settlement files over HTTP: whose captures they hold, and how they are made to contradict the books."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from .iso_client import IsoClient, authorization, capture, reversal
from .network_process import NetworkProcess, unique


def today(network: NetworkProcess) -> str:
    now: str = network.client.get("/clock").json()["now"]
    return now[:10]


def rows(network: NetworkProcess, processor: str, date: str) -> list[dict[str, str]]:
    """The lines of the CSV file, by the names of its columns."""
    response = network.client.get(f"/settlements/{processor}/{date}.csv")
    assert response.headers["content-type"].startswith("text/csv")
    found = list(csv.reader(response.text.splitlines()))
    assert found[0][:2] == ["header", processor]
    lines = [dict(zip(found[1], row, strict=True)) for row in found[2:] if row[0].isdigit()]
    assert found[-1] == ["trailer", found[0][2], str(len(lines))]
    return lines


def nested(network: NetworkProcess, processor: str, date: str) -> list[dict[str, Any]]:
    """The lines of the JSON file, each with its currency."""
    response = network.client.get(f"/settlements/{processor}/{date}.json")
    assert response.headers["content-type"] == "application/json"
    content = response.json()
    lines = [
        {**line, "currency": batch["currency"], "merchant": each["merchant"]}
        for batch in content["batches"]
        for each in batch["merchant_batches"]
        for line in each["lines"]
    ]
    assert content["trailer"]["lines"] == len(lines)
    assert sum(batch["totals"]["lines"] for batch in content["batches"]) == len(lines)
    return lines


def adjust(network: NetworkProcess, action: str, processor: str = "cardnet", **said: object) -> httpx.Response:
    body = {"processor": processor, "date": today(network), "action": action, **said}
    return network.client.post("/settlement/adjustments", json=body)


def captured(network: NetworkProcess, *, amount: int = 1000) -> dict[str, Any]:
    return network.capture(network.authorize()["reference"], amount_minor=amount)


def test_each_protocol_has_its_file(network: NetworkProcess) -> None:
    over_http = captured(network)
    with IsoClient(network.iso_port) as link:
        asked = authorization(amount=700, e49="978")
        link.ask("0100", asked)
        over_iso = capture(asked, amount=700)
        assert link.ask("0220", over_iso).code == "00"
    date = today(network)
    for lines in (rows, nested):
        (line,) = [line for line in lines(network, "isonet", date) if line["reference"] == over_iso[62]]
        # What both sides know the capture by: DE 37 of the 0220.
        assert line["processor_reference"] == over_iso[37]
        assert (str(line["amount_minor"]), line["currency"], line["kind"]) == ("700", "eur", "capture")
        assert over_http["reference"] not in {line["reference"] for line in lines(network, "isonet", date)}
        assert over_http["reference"] in {line["reference"] for line in lines(network, "cardnet", date)}
    (line,) = [line for line in nested(network, "isonet", date) if line["reference"] == over_iso[62]]
    assert line["merchant"] == "mer_demo"


def test_both_formats_say_the_same(network: NetworkProcess) -> None:
    captured(network, amount=1234)
    date = today(network)
    for processor in ("cardnet", "isonet"):
        columns = ("processor_reference", "reference", "amount_minor", "currency", "fee_minor", "net_minor", "at")
        in_csv, in_json = (
            sorted(tuple(str(line[name]) for name in columns) for line in lines(network, processor, date))
            for lines in (rows, nested)
        )
        assert in_csv == in_json


def test_a_line_is_left_out_doubled_and_changed(network: NetworkProcess) -> None:
    out, twice, other_amount, other_currency = (captured(network)["reference"] for _ in range(4))
    for response in (
        adjust(network, "omit", reference=out),
        adjust(network, "double", reference=twice),
        adjust(network, "change", reference=other_amount, amount_minor=999),
        adjust(network, "change", reference=other_currency, currency="eur"),
    ):
        assert response.status_code == 201
    for lines in (rows, nested):
        by_reference: dict[str, list[tuple[str, str]]] = {}
        for line in lines(network, "cardnet", today(network)):
            by_reference.setdefault(line["reference"], []).append((str(line["amount_minor"]), line["currency"]))
        assert out not in by_reference
        assert by_reference[twice] == [("1000", "usd")] * 2
        assert by_reference[other_amount] == [("999", "usd")]
        assert by_reference[other_currency] == [("1000", "eur")]


def test_what_was_voided_is_settled_all_the_same(network: NetworkProcess) -> None:
    with IsoClient(network.iso_port) as link:
        asked = authorization()
        link.ask("0100", asked)
        link.ask("0400", reversal(asked))
    assert adjust(network, "add", "isonet", reference=asked[62]).status_code == 201
    (line,) = [line for line in rows(network, "isonet", today(network)) if line["reference"] == asked[62]]
    assert (line["processor_reference"], line["amount_minor"], line["kind"]) == (asked[37], "1999", "capture")


def test_lines_that_no_capture_made(network: NetworkProcess) -> None:
    marks = {kind: unique(kind) for kind in ("capture", "fee", "refund", "chargeback")}
    for kind, mark in marks.items():
        response = adjust(
            network, "add", kind=kind, processor_reference=mark, reference=mark, amount_minor=-5, currency="usd"
        )
        assert response.status_code == 201
    found = {line["processor_reference"]: line["kind"] for line in rows(network, "cardnet", today(network))}
    assert {mark: found.get(mark) for mark in marks.values()} == {mark: kind for kind, mark in marks.items()}


@pytest.mark.parametrize(
    "said",
    [
        {"action": "omit", "reference": "tx_of_nobody"},
        {"action": "add"},
        {"action": "lose", "reference": "tx_1"},
        {"action": "add", "processor": "nobody", "amount_minor": 1, "currency": "usd"},
        {"action": "add", "date": "2026-02-30", "amount_minor": 1, "currency": "usd"},
        {"action": "add", "kind": "gift", "amount_minor": 1, "currency": "usd"},
        {"action": "add", "amount_minor": 1, "currency": "usd", "colour": "red"},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(network: NetworkProcess, said: dict[str, object]) -> None:
    body = {"processor": "cardnet", "date": "2026-02-20", **said}
    response = network.client.post("/settlement/adjustments", json=body)
    assert response.status_code == 400
    assert response.json()["error"] == "bad_request"


def test_what_comes_after_the_cut_off_is_in_the_next_file(tmp_path: Path) -> None:
    options = ("--settlement-cut-off", "17:00", "--settlement-time-zone", "UTC")
    with NetworkProcess(tmp_path / "ledger.sqlite", *options) as network:
        now = datetime.now(UTC)
        friday = now.date() + timedelta(days=(4 - now.weekday()) % 7 + 7)
        before, after = (datetime.combine(friday, time(hour), UTC) for hour in (16, 18))
        network.post("/clock", {"advance_seconds": (before - now).total_seconds()})
        early = captured(network)["reference"]
        network.post("/clock", {"advance_seconds": (after - before).total_seconds()})
        late = captured(network)["reference"]
        found = [
            [line["reference"] for line in rows(network, "cardnet", (friday + timedelta(days=day)).isoformat())]
            for day in range(4)
        ]
    assert found == [[early], [], [], [late]]
