"""The settlement file in both formats, from captures and adjustments."""

import csv
import itertools
import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from sandbox.card_network import settlement_json, settlement_report
from sandbox.card_network.booking import Booking
from sandbox.card_network.settlement_lines import (
    Adjusting,
    Adjustment,
    Line,
    Unfit,
    adjustments_of,
    fee_minor,
    lines,
)
from sandbox.card_network.settlement_report import COLUMNS

from .settlement_captures import AT, capture

DATE = date(2023, 11, 14)
CAPTURES = [
    capture(1, amount_minor=1000, currency="usd"),
    capture(2, amount_minor=500, currency="jpy"),
    capture(3, amount_minor=1999, currency="usd"),
]


def as_csv(captures: list[Booking], adjustments: Sequence[Adjustment] = ()) -> list[list[str]]:
    found = lines(captures, adjustments, grouped=False)
    text = "".join(settlement_report.report(found, processor="cardnet", settlement_date=DATE))
    return list(csv.reader(text.splitlines()))


def as_json(captures: list[Booking], adjustments: Sequence[Adjustment] = ()) -> dict[str, Any]:
    ordered = sorted(captures, key=lambda each: (each.currency or "", each.merchant or "", each.at_micros))
    found = lines(ordered, adjustments, grouped=True)
    content: dict[str, Any] = json.loads(
        b"".join(settlement_json.report(found, processor="isonet", settlement_date=DATE))
    )
    return content


def order(action: str, **said: Any) -> Adjusting:
    return Adjusting(processor="cardnet", date="2023-11-14", action=action, **said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount", "fee"), [(1, 1), (10, 10), (1000, 25), (1999, 40), (999_999_999_999, 15_000_000_010)]
)
def test_the_fee_is_a_share_and_a_fixed_part_at_most_the_amount(amount: int, fee: int) -> None:
    assert fee_minor(amount) == fee


def test_the_csv_has_header_lines_totals_and_trailer() -> None:
    assert as_csv(CAPTURES) == [
        ["header", "cardnet", "1414", "2023-11-14"],
        list(COLUMNS),
        ["1", "cn_1", "tx_1", "capture", "1000", "usd", "25", "975", "usd", "2023-11-14T22:13:20.000001Z"],
        ["2", "cn_2", "tx_2", "capture", "500", "jpy", "18", "482", "jpy", "2023-11-14T22:13:20.000002Z"],
        ["3", "cn_3", "tx_3", "capture", "1999", "usd", "40", "1959", "usd", "2023-11-14T22:13:20.000003Z"],
        ["total", "jpy", "1", "500", "18", "482"],
        ["total", "usd", "2", "2999", "65", "2934"],
        ["trailer", "1414", "3"],
    ]


def test_the_json_has_batches_by_currency_and_merchant() -> None:
    fourth = capture(4, amount_minor=700, currency="usd", merchant="shop")
    content = as_json([*CAPTURES, fourth])
    assert {**content, "batches": ...} == {
        "processor": "isonet",
        "file_sequence": 1414,
        "settlement_date": "2023-11-14",
        "batches": ...,
        "trailer": {"file_sequence": 1414, "batches": 2, "lines": 4},
    }
    yen, dollars = content["batches"]
    assert (yen["currency"], dollars["currency"]) == ("jpy", "usd")
    assert dollars["totals"] == {"lines": 3, "amount_minor": 3699, "fee_minor": 86, "net_minor": 3613}
    assert [batch["merchant"] for batch in dollars["merchant_batches"]] == [None, "shop"]
    assert [line["reference"] for line in dollars["merchant_batches"][0]["lines"]] == ["tx_1", "tx_3"]
    assert yen["merchant_batches"][0]["lines"] == [
        {
            "line": 1,
            "processor_reference": "cn_2",
            "reference": "tx_2",
            "kind": "capture",
            "amount_minor": 500,
            "fee_minor": 18,
            "net_minor": 482,
            "payout_currency": "jpy",
            "at": "2023-11-14T22:13:20.000002Z",
        }
    ]
    assert dollars["merchant_batches"][1]["lines"][0]["line"] == 4


def test_an_empty_file_is_a_file() -> None:
    assert as_csv([])[2:] == [["trailer", "1414", "0"]]
    assert as_json([])["batches"] == []


def test_the_sequence_rises_by_one_from_date_to_date() -> None:
    sequences = [settlement_report.file_sequence(date(2024, 2, day)) for day in (28, 29)]
    assert sequences[1] == sequences[0] + 1


def test_a_long_file_comes_in_pieces() -> None:
    captures = [capture(number, amount_minor=1000, currency="usd") for number in range(2500)]
    pieces = list(
        settlement_report.report(lines(captures, [], grouped=False), processor="cardnet", settlement_date=DATE)
    )
    assert len(pieces) == 3
    assert "".join(pieces).splitlines()[-1] == "trailer,1414,2500"
    nested = list(settlement_json.report(lines(captures, [], grouped=True), processor="cardnet", settlement_date=DATE))
    assert len(nested) == 2
    assert json.loads(b"".join(nested))["trailer"]["lines"] == 2500


def test_a_file_is_written_while_it_is_read() -> None:
    endless = (capture(number, amount_minor=1000, currency="usd") for number in itertools.count())
    text = settlement_report.report(lines(endless, [], grouped=False), processor="cardnet", settlement_date=DATE)
    nested = settlement_json.report(lines(endless, [], grouped=True), processor="cardnet", settlement_date=DATE)
    assert [next(text).count("\n") for _ in range(3)] == [1002, 1000, 1000]
    assert all(len(next(nested)) < 300_000 for _ in range(3))


def references(rows: list[list[str]]) -> list[str]:
    return [row[2] for row in rows[2:] if row[0].isdigit()]


def test_a_line_can_be_left_out_or_doubled() -> None:
    omitted = adjustments_of(order("omit", reference="tx_1"), CAPTURES[0], at_micros=AT)
    assert references(as_csv(CAPTURES, omitted)) == ["tx_2", "tx_3"]
    doubled = as_csv(CAPTURES, adjustments_of(order("double", reference="tx_1"), CAPTURES[0], at_micros=AT))
    assert references(doubled) == ["tx_1", "tx_2", "tx_3", "tx_1"]
    assert doubled[2][1:] == doubled[5][1:]
    assert doubled[-2:] == [["total", "usd", "3", "3999", "90", "3909"], ["trailer", "1414", "4"]]


def test_a_line_can_say_another_amount_or_currency() -> None:
    change = order("change", reference="tx_1", amount_minor=999, currency="eur")
    adjustments = adjustments_of(change, CAPTURES[0], at_micros=AT)
    row = as_csv(CAPTURES, adjustments)[4]
    assert row == ["3", "cn_1", "tx_1", "capture", "999", "eur", "25", "974", "eur", "2023-11-14T22:13:20.000001Z"]
    content = as_json(CAPTURES, adjustments)
    assert [batch["currency"] for batch in content["batches"]] == ["eur", "jpy", "usd"]
    assert content["batches"][0]["totals"]["amount_minor"] == 999


@pytest.mark.parametrize(
    ("said", "amounts"),
    [
        ({"kind": "fee", "amount_minor": 0, "currency": "usd", "fee_minor": 300}, ["0", "usd", "300", "-300"]),
        ({"kind": "refund", "amount_minor": -500, "currency": "usd"}, ["-500", "usd", "0", "-500"]),
        (
            {"kind": "chargeback", "amount_minor": -1999, "currency": "eur", "fee_minor": 1500},
            ["-1999", "eur", "1500", "-3499"],
        ),
        ({"kind": "capture", "amount_minor": 1000, "currency": "usd"}, ["1000", "usd", "25", "975"]),
    ],
)
def test_a_line_that_no_capture_made_can_be_added(said: dict[str, Any], amounts: list[str]) -> None:
    adjustments = adjustments_of(order("add", **said), None, at_micros=AT)
    row = as_csv([], adjustments)[2]
    assert row[1].startswith("cn_")
    assert row[2:8] == ["", said["kind"], *amounts]


def test_an_added_line_takes_what_is_not_said_from_the_booking() -> None:
    # What was never captured, settled all the same: the booking may be any.
    adjustments = adjustments_of(order("add", reference="tx_3"), CAPTURES[2], at_micros=AT)
    assert adjustments[0].added == Line(
        processor_reference="cn_3",
        reference="tx_3",
        kind="capture",
        amount_minor=1999,
        currency="usd",
        fee_minor=40,
        merchant="",
        at_micros=AT + 3,
    )


@pytest.mark.parametrize("action", ["omit", "double", "change"])
def test_what_is_no_capture_cannot_be_adjusted(action: str) -> None:
    with pytest.raises(Unfit, match="not that of a capture"):
        adjustments_of(order(action, reference="tx_9"), None, at_micros=AT)


def test_a_line_of_nothing_known_needs_an_amount() -> None:
    with pytest.raises(Unfit, match="are needed"):
        adjustments_of(order("add", kind="capture"), None, at_micros=AT)
