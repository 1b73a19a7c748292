import csv
from datetime import date

import pytest

from sandbox.card_network.booking import Booking, Kind, Status
from sandbox.card_network.settlement_report import COLUMNS, fee_minor, report


def capture(number: int, *, amount_minor: int, currency: str) -> Booking:
    return Booking(
        reference=f"tx_{number}",
        kind=Kind.capture,
        status=Status.approved,
        payment_intent="pi_1",
        amount_minor=amount_minor,
        currency=currency,
        processor_reference=f"cn_{number}",
        at_micros=1_700_000_000_000_000 + number,
        authorization_reference="tx_a",
    )


@pytest.mark.parametrize(
    ("amount", "fee"), [(1, 1), (10, 10), (1000, 25), (1999, 40), (999_999_999_999, 15_000_000_010)]
)
def test_the_fee_is_a_share_and_a_fixed_part_at_most_the_amount(amount: int, fee: int) -> None:
    assert fee_minor(amount) == fee


def test_the_report_has_header_lines_totals_and_trailer() -> None:
    captures = [
        capture(1, amount_minor=1000, currency="usd"),
        capture(2, amount_minor=500, currency="jpy"),
        capture(3, amount_minor=1999, currency="usd"),
    ]
    rows = list(csv.reader("".join(report(captures, settlement_date=date(2023, 11, 14))).splitlines()))
    assert rows == [
        ["header", "cardnet", "1414", "2023-11-14"],
        list(COLUMNS),
        ["1", "cn_1", "tx_1", "capture", "1000", "usd", "25", "975", "usd", "2023-11-14T22:13:20.000001Z"],
        ["2", "cn_2", "tx_2", "capture", "500", "jpy", "18", "482", "jpy", "2023-11-14T22:13:20.000002Z"],
        ["3", "cn_3", "tx_3", "capture", "1999", "usd", "40", "1959", "usd", "2023-11-14T22:13:20.000003Z"],
        ["total", "jpy", "1", "500", "18", "482"],
        ["total", "usd", "2", "2999", "65", "2934"],
        ["trailer", "1414", "3"],
    ]


def test_the_sequence_rises_by_one_from_date_to_date() -> None:
    texts = ["".join(report([], settlement_date=date(2024, 2, day))) for day in (28, 29)]
    sequences = [int(text.splitlines()[0].split(",")[2]) for text in texts]
    assert sequences[1] == sequences[0] + 1


def test_a_long_report_comes_in_pieces() -> None:
    captures = (capture(number, amount_minor=1000, currency="usd") for number in range(2500))
    pieces = list(report(captures, settlement_date=date(2023, 11, 14)))
    assert len(pieces) == 3
    assert "".join(pieces).splitlines()[-1] == "trailer,1414,2500"
