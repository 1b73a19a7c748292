"""The nested format: the same lines as in CSV, and every way in which such a document can be wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from sandbox.card_network.settlement_json import report as network_report
from sandbox.card_network.settlement_lines import Adjustment, Line, lines
from sandbox.card_network.settlement_report import report
from tests.topology.settlement_files.files import AT, booking, csv_file, nested, nested_file, problems, read, reference
from topology.settlement_files.formats import FORMATS, format_of

Document = dict[str, Any]
DAY = date(2026, 9, 21)


def test_it_says_what_the_other_format_says() -> None:
    captures = [booking(1), booking(2), booking(3, currency="usd")]
    lines, file = read(nested_file(nested(captures)), "nested-json")
    expected, expected_file = read(csv_file(captures), "csv")
    assert file == expected_file
    assert [line._replace(booked_at=None) for line in lines] == [line._replace(booked_at=None) for line in expected]


def test_the_networks_own_nested_file_says_what_its_csv_says() -> None:
    """There a line has no currency, its batch has; and what has no reference of ours has an empty one."""
    fee = Line(
        processor_reference="cn_fee",
        reference="",
        kind="fee",
        amount_minor=0,
        currency="eur",
        fee_minor=300,
        merchant="mer_1",
        at_micros=AT,
    )
    by_currency = [booking(3, currency="jpy"), booking(1), booking(2)]
    lines_of = [Adjustment(added=fee)]
    pieces = network_report(lines(by_currency, lines_of, grouped=True), processor="cardnet", settlement_date=DAY)
    found, file = read(b"".join(pieces), "nested-json")
    csv = report(lines(by_currency, lines_of, grouped=False), processor="cardnet", settlement_date=DAY)
    expected, expected_file = read("".join(csv), "csv")
    assert file == expected_file
    assert {line._replace(number=0) for line in found} == {line._replace(number=0) for line in expected}


def test_lines_may_lie_in_several_batches_of_one_currency() -> None:
    first, second = nested([booking(1)]), nested([booking(2)])
    second["batches"][0]["merchant_batches"][0]["lines"][0]["line"] = 2
    document = {**first, "batches": first["batches"] + second["batches"]}
    document["trailer"] = {"file_sequence": 2456, "lines": 2}
    lines, _file = read(nested_file(document), "nested-json")
    assert [line.reference for line in lines] == [reference(1), reference(2)]


def test_what_else_stands_there_is_passed_over() -> None:
    document = nested()
    document = {"version": {"major": [1, 2, {"line": 3}]}, **document, "more": None}
    document["batches"][0]["merchant_batches"][0] |= {"merchant": "mer_1", "contact": {"lines": [{"line": 9}]}}
    document["batches"][0]["merchant_batches"][0]["lines"][0]["tags"] = [{"amount_minor": 1}]
    assert read(nested_file(document), "nested-json") == read(nested_file(), "nested-json")


def test_a_document_is_read_in_whatever_pieces_it_comes() -> None:
    class Pieces(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            return super().read(7)

    items = list(FORMATS["nested-json"].items(Pieces(nested_file().encode())))
    assert items == list(FORMATS["nested-json"].items(io.BytesIO(nested_file().encode())))
    assert len(items) == 9


def test_a_file_tells_its_format() -> None:
    assert format_of(csv_file().encode()) is FORMATS["csv"]
    assert format_of(b"\n " + nested_file().encode()) is FORMATS["nested-json"]
    assert format_of(b"PK\x03\x04") is None
    assert format_of(b"") is None


Change = Callable[[Document], object]


def line_of(document: Document, batch: int = 0) -> Document:
    line = document["batches"][batch]["merchant_batches"][0]["lines"][0]
    assert isinstance(line, dict)
    return line


# Batches: 0 eur (line 1), 1 jpy (line 2), 2 usd (lines 3 and 4)
REFUSED: dict[str, tuple[Change, list[str]]] = {
    "an amount with a fraction": (
        lambda d: line_of(d).update(amount_minor=25.5),
        ["line 1 has no amount_minor (a whole number of minor units)."],
    ),
    "an amount with an exponent": (
        lambda d: line_of(d).update(amount_minor=1e300),
        ["line 1 has no amount_minor (a whole number of minor units)."],
    ),
    "an amount as text": (
        lambda d: line_of(d).update(amount_minor="2500"),
        ["line 1 has no amount_minor (a whole number of minor units)."],
    ),
    "an amount that is true": (
        lambda d: line_of(d).update(amount_minor=True),
        ["line 1 has no amount_minor (a whole number of minor units)."],
    ),
    "an amount out of bounds": (
        lambda d: line_of(d).update(amount_minor=10**30),
        ["line 1 has amount_minor out of bounds."],
    ),
    "no amount at all": (
        lambda d: line_of(d).pop("amount_minor"),
        ["line 1 has no amount_minor (a whole number of minor units)."],
    ),
    "no reference at all": (
        lambda d: line_of(d).pop("reference"),
        ["line 1 has no valid reference (1 to 255 printable ASCII characters without spaces, or nothing)."],
    ),
    "a currency that is no text": (
        lambda d: line_of(d).update(currency=978),
        ["line 1 has no currency (ISO 4217, lower case)."],
    ),
    "a line of another currency than its batch": (
        lambda d: line_of(d).update(currency="usd"),
        [
            "line 1 has a total that is not that of the lines in eur: lines, amount_minor, fee_minor, net_minor.",
            "line 4 has a total that is not that of the lines in usd: lines, amount_minor, fee_minor, net_minor.",
        ],
    ),
    "a line number as before": (lambda d: line_of(d, 1).update(line=1), ["line 2 has the number of the line before."]),
    "totals that are wrong": (
        lambda d: d["batches"][2]["totals"].update(net_minor=1),
        ["line 4 has a total that is not that of the lines in usd: net_minor."],
    ),
    "no totals": (
        lambda d: d["batches"][1].pop("totals"),
        ["line 4 is the trailer, and there was no total of the lines in jpy."],
    ),
    "a batch without currency": (
        lambda d: d["batches"][1].pop("currency"),
        [
            "line 2 has no currency (ISO 4217, lower case).",
            "line 4 is the trailer, and there was no total of the lines in jpy.",
        ],
    ),
    "no trailer": (
        lambda d: d.pop("trailer"),
        ["line 4 is the last, and there was no trailer: the file is cut short."],
    ),
    "a trailer that counts otherwise": (
        lambda d: d["trailer"].update(lines=5),
        ["line 4 is a trailer that does not count 4 lines."],
    ),
    "a trailer of another file": (
        lambda d: d["trailer"].update(file_sequence=1),
        ["line 4 is the trailer of another file sequence than the header's."],
    ),
    "a trailer before the batches": (
        lambda d: d.update({"batches": d.pop("batches")}),
        ["line 0 comes before the header."],
    ),
    "no processor": (
        lambda d: d.pop("processor"),
        ["line 0 has no processor's name (lower-case letters, digits, _ and -)."],
    ),
    "a sequence as text": (
        lambda d: d.update(file_sequence="2456"),
        ["line 0 has no file sequence (a whole number from 1)."],
    ),
    "batches that are no array": (lambda d: d.update(batches={}), ["line 0 comes before the header."]),
    "a line that is no object": (
        lambda d: d["batches"][2]["merchant_batches"][0]["lines"].insert(1, 7),
        ["line 3 is followed by a value that is none of the lines."],
    ),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_a_document_with_anything_wrong_is_refused_with_the_place(change: Change, said: list[str]) -> None:
    document = nested()
    change(document)
    assert problems(nested_file(document), "nested-json")[: len(said)] == said


TEXTS: dict[str, tuple[Callable[[str], str | bytes], list[str]]] = {
    "empty": (lambda _text: "", ["line 0 goes on with what is not JSON, or ends there."]),
    "cut short": (
        lambda text: text[: text.index('"line": 3')],
        ["line 3 goes on with what is not JSON, or ends there."],
    ),
    "no JSON": (
        lambda text: text.replace('"line": 2,', '"line" 2,'),
        ["line 2 goes on with what is not JSON, or ends there."],
    ),
    "something after the end": (
        lambda text: text + "{}",
        ["line 4 goes on with what is not JSON, or ends there."],
    ),
    "another encoding": (
        lambda text: text.replace("tx_", "täx", 1).encode("latin-1"),
        ["line 1 goes on with what is not JSON, or ends there."],
    ),
    "an array": (lambda text: f"[{text}]", ["line 1 is empty, or its format does not begin so."]),
    "a member twice": (
        lambda text: text.replace('"currency": "eur", "fee', '"currency": "usd", "currency": "eur", "fee'),
        ["line 1 has currency twice."],
    ),
    "batches twice": (
        lambda text: text.replace('"trailer"', '"batches": [], "trailer"'),
        ["line 4 is followed by batches for the second time."],
    ),
    "a text without end": (
        lambda text: text.replace("cn_", "c" * 200_000, 1),
        ["line 1 is followed by a value of more than 65536 bytes."],
    ),
    "one inside the other": (
        lambda text: text.replace('"batches"', f'"deep": {"[" * 100}{"]" * 100}, "batches"'),
        ["line 0 is followed by more than 64 values one inside the other."],
    ),
    "one inside the other, and no JSON": (
        lambda text: text.replace('"batches"', f'"deep": {"[" * 100}?, "batches"'),
        ["line 0 is followed by more than 64 values one inside the other."],
    ),
    "a number of too many digits": (
        lambda text: text.replace('"amount_minor": 500,', f'"amount_minor": {"9" * 639},'),
        ["line 2 is followed by 320 digits in a row, or more."],
    ),
    "a number of too many digits that is passed over": (
        lambda text: text.replace('"batches"', f'"more": {"9" * 5_000}, "batches"'),
        ["line 0 is followed by 320 digits in a row, or more."],
    ),
    "a number of too many digits, and no JSON": (
        lambda text: text.replace('"amount_minor": 500,', f'"amount_minor": {"9" * 5_000} ?'),
        ["line 2 is followed by 320 digits in a row, or more."],
    ),
    "no JSON, and a number of too many digits": (
        lambda text: text.replace('"amount_minor": 500,', f'"amount_minor" {"9" * 5_000},'),
        ["line 2 is followed by 320 digits in a row, or more."],
    ),
    "an exponent beyond all bounds": (
        lambda text: text.replace('"amount_minor": 500,', '"amount_minor": 1e99999999999999999999,'),
        ["line 2 goes on with a value that cannot be read."],
    ),
    "an exponent beyond all bounds that is passed over": (
        lambda text: text.replace('"batches"', '"more": {"less": [-1E99999999999999999999]}, "batches"'),
        ["line 0 goes on with a value that cannot be read."],
    ),
    "a line number out of bounds": (
        lambda text: text.replace('"line": 2,', f'"line": {"9" * 200},'),
        ["line 2 has a line number out of bounds."],
    ),
}


@pytest.mark.parametrize(("change", "said"), TEXTS.values(), ids=TEXTS)
def test_what_is_no_such_document_is_refused(change: Callable[[str], str | bytes], said: list[str]) -> None:
    text = nested_file()
    changed = change(text)
    assert changed != text
    assert problems(changed, "nested-json")[: len(said)] == said


def test_nothing_of_the_content_is_repeated() -> None:
    document = nested()
    line_of(document).update({"4242424242424242": 1, "kind": "4242424242424242"})
    text = json.dumps(document).replace('"4242424242424242": 1', '"4242424242424242": 1, "4242424242424242": 2')
    assert problems(text, "nested-json") == ["line 1 has no kind (lower-case letters and _)."]
