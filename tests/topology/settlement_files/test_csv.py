"""The network's CSV: what it says, and every way in which such a file can be wrong."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest

from schemas.times import Micros
from tests.topology.settlement_files.files import AT, booking, csv_file, problems, read, reference
from topology.settlement_files.checking import PROBLEMS_MAX, FileRefused, Line


def test_the_networks_report_is_read() -> None:
    lines, file = read(csv_file(), "csv")
    assert (file.processor, file.file_sequence, file.settlement_date, file.lines) == ("cardnet", 2456, 20_717, 4)
    assert (file.kinds, file.repeated_references) == ({"capture": 4}, 0)
    assert lines[1] == Line(
        2, booking(2).processor_reference, reference(2), "capture", 2_500, "eur", 48, 2_452, "eur", Micros(AT + 2)
    )


def test_a_day_without_captures_is_a_file() -> None:
    lines, file = read(csv_file([]), "csv")
    assert (lines, file.lines) == ([], 0)


def test_what_is_left_empty_is_not_said() -> None:
    text = csv_file().replace(f",{reference(1)},capture,1000,usd,25,975,usd,", ",,capture,1000,usd,,,,")
    text = text.replace("total,usd,2,2999,65,2934", "total,usd,2,2999,40,1959")
    (first, *_), _file = read(text, "csv")
    assert (first.reference, first.fee_minor, first.net_minor, first.payout_currency) == (None, None, None, None)


def test_other_kinds_are_read_and_added_up() -> None:
    text = csv_file([booking(1)]).replace(
        "total,usd,1,1000,25,975\ntrailer,2456,1",
        "2,cn_fee,,fee,-30,usd,,,,\n3,cn_back,tx_1,chargeback,-1000,usd,1500,-2500,usd,\n"
        "total,usd,3,-30,1525,-1525\ntrailer,2456,3",
    )
    lines, file = read(text, "csv")
    assert file.kinds == {"capture": 1, "fee": 1, "chargeback": 1}
    assert lines[1] == Line(2, "cn_fee", None, "fee", -30, "usd", None, None, None, None)


def test_there_are_at_most_64_kinds() -> None:
    kinds = [first + second for first in "abcdefgh" for second in "abcdefghi"]
    rows = "".join(f"{number},cn_fee,,{kind},-30,usd,,,,\n" for number, kind in enumerate(kinds, 2))
    text = csv_file([booking(1)]).replace("total,", rows + "total,")
    told = problems(text, "csv")
    assert told[0] == "line 67 has one kind more than the 64 that a file may have."
    assert len(told) == len(kinds) - 63


def test_a_reference_that_is_captured_twice_is_counted() -> None:
    _lines, file = read(csv_file([booking(1), booking(2), booking(1), booking(1)]), "csv")
    assert file.repeated_references == 2


def test_lines_may_end_as_on_other_systems() -> None:
    assert read(csv_file().replace("\n", "\r\n"), "csv") == read(csv_file(), "csv")


Change = Callable[[str], str | bytes]


def swapped(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def without(*numbers: int) -> Change:
    return lambda text: "".join(line for number, line in enumerate(text.splitlines(True), 1) if number not in numbers)


LINE = f"1,{booking(1).processor_reference},{reference(1)},capture,1000,usd,25,975,usd,2026-09-21T14:13:20.000001Z"

# What is changed in a good file of 10 lines (header, columns, four lines, three totals, trailer), and what is said.
REFUSED: dict[str, tuple[Change, list[str]]] = {
    "empty": (lambda _text: "", ["line 1 is empty, or its format does not begin so."]),
    "only the header": (
        lambda text: text.splitlines(True)[0],
        ["line 1 is the last, and there was no trailer: the file is cut short."],
    ),
    "cut short before the trailer": (
        without(10),
        ["line 9 is the last, and there was no trailer: the file is cut short."],
    ),
    "cut short in a line": (
        lambda text: text[: text.index("2,cn_") + 30],
        [
            "line 4 has another number of fields than such a row has.",
            "line 4 is the last, and there was no trailer: the file is cut short.",
        ],
    ),
    "a line is missing": (without(4), ["line 4 has another line number than 2, which would be next."]),
    "a line is there twice": (swapped(LINE, f"{LINE}\n{LINE}"), ["line 4 has the number of the line before."]),
    "lines in another order": (
        swapped("\n2,cn_", "\n3,cn_"),
        ["line 4 has another line number than 2, which would be next."],
    ),
    "a line number out of bounds": (
        swapped("\n2,cn_", "\n1000000001,cn_"),
        ["line 4 has a line number out of bounds."],
    ),
    "a line without a number": (swapped("\n2,cn_", "\nx,cn_"), ["line 4 has no line number."]),
    "an amount with a fraction": (
        swapped("capture,2500", "capture,2500.00"),
        ["line 4 has no amount_minor (a whole number of minor units)."],
    ),
    "an amount with a sign": (
        swapped("capture,2500", "capture,+2500"),
        ["line 4 has no amount_minor (a whole number of minor units)."],
    ),
    "an amount in other digits": (
        swapped("capture,2500", "capture,٢٥٠٠"),
        ["line 4 has no amount_minor (a whole number of minor units)."],
    ),
    "no amount": (swapped("capture,2500", "capture,"), ["line 4 has no amount_minor (a whole number of minor units)."]),
    "an amount of nothing": (swapped("capture,2500", "capture,0"), ["line 4 captures less than 1 minor unit."]),
    "an amount below nothing": (swapped("capture,2500", "capture,-2500"), ["line 4 captures less than 1 minor unit."]),
    "an amount out of bounds": (
        swapped("capture,2500", "capture,1000000000000"),
        ["line 4 has amount_minor out of bounds."],
    ),
    "a fee out of bounds": (swapped("eur,48", "eur,9999999999999"), ["line 4 has fee_minor out of bounds."]),
    "a net amount that is none": (
        swapped("eur,48,2452", "eur,48,x"),
        ["line 4 has no net_minor (a whole number of minor units)."],
    ),
    "an unknown currency": (swapped("2500,eur", "2500,eux"), ["line 4 has no currency (ISO 4217, lower case)."]),
    "a currency in capitals": (swapped("2500,eur", "2500,EUR"), ["line 4 has no currency (ISO 4217, lower case)."]),
    "an unknown payout currency": (
        swapped("2452,eur", "2452,xxx"),
        ["line 4 has no payout_currency (ISO 4217, lower case)."],
    ),
    "no kind": (swapped("capture,2500", ",2500"), ["line 4 has no kind (lower-case letters and _)."]),
    "no processor's reference": (
        swapped(booking(2).processor_reference, ""),
        ["line 4 has no processor_reference (1 to 255 printable ASCII characters without spaces)."],
    ),
    "a reference with a space": (
        swapped(reference(2), "tx 1"),
        ["line 4 has no valid reference (1 to 255 printable ASCII characters without spaces, or nothing)."],
    ),
    "a time that is none": (swapped("20.000002Z", "99.000002Z"), ["line 4 has no valid time in `at` (RFC 3339)."]),
    "a time without a zone": (swapped("20.000002Z", "20.000002"), ["line 4 has no valid time in `at` (RFC 3339)."]),
    "a line with a field too many": (
        swapped("20.000002Z", "20.000002Z,"),
        ["line 4 has another number of fields than such a row has."],
    ),
    "an empty line": (swapped("\n2,cn_", "\n\n2,cn_"), ["line 4 is empty."]),
    "a quotation mark": (swapped(reference(2), '"tx"'), ["line 4 has a quotation mark."]),
    "a quotation mark that is not closed": (swapped(reference(2), '"tx'), ["line 4 has a quotation mark."]),
    "a NUL": (swapped(reference(2), "tx\0"), ["line 4 has a control character."]),
    "a carriage return within the last line, which does not end": (
        lambda text: text.removesuffix("\n") + "\r5",
        [
            "line 10 has a control character.",
            "line 10 is the last, and there was no trailer: the file is cut short.",
        ],
    ),
    "a carriage return at the end of the last line": (
        lambda text: text.removesuffix("\n") + "\r",
        [
            "line 10 has a control character.",
            "line 10 is the last, and there was no trailer: the file is cut short.",
        ],
    ),
    "a carriage return too many": (
        lambda text: text.replace("\n2,cn_", "\r\r\n2,cn_"),
        ["line 3 has a control character."],
    ),
    "a line that does not end": (swapped(reference(2), "x" * 100_000), ["line 4 is longer than 4096 bytes."]),
    "another encoding": (
        lambda text: text.replace("capture,2500", "cäpture,2500").encode("latin-1"),
        ["line 4 is not UTF-8."],
    ),
    "UTF-16": (
        lambda text: text.encode("utf-16"),
        ["line 1 is not UTF-8."],
    ),
    "other columns": (
        swapped("kind,amount_minor", "amount_minor,kind"),
        ["line 2 does not name the columns of a line in their order."],
    ),
    "no columns": (without(2), ["line 2 does not name the columns of a line in their order."]),
    "no header": (without(1), ["line 2 comes before the header."]),
    "two headers": (swapped("\n1,cn_", "\nheader,cardnet,2456,2026-09-21\n1,cn_"), ["line 3 is a second header."]),
    "a processor's name that is none": (
        swapped("header,cardnet", "header,Card Net"),
        ["line 1 has no processor's name (lower-case letters, digits, _ and -)."],
    ),
    "a file sequence that is none": (
        swapped("cardnet,2456", "cardnet,-1"),
        ["line 1 has no file sequence (a whole number from 1)."],
    ),
    "a date that is none": (
        swapped("2456,2026-09-21", "2456,2026-09-31"),
        ["line 1 has no settlement date (YYYY-MM-DD)."],
    ),
    "a date in another order": (
        swapped("2456,2026-09-21", "2456,21.09.2026"),
        ["line 1 has no settlement date (YYYY-MM-DD)."],
    ),
    "an amount that was changed": (
        swapped("capture,1999", "capture,1998"),
        ["line 9 has a total that is not that of the lines in usd: amount_minor."],
    ),
    "totals that are wrong": (
        swapped("total,usd,2,2999,65,2934", "total,usd,3,2999,65,2935"),
        ["line 9 has a total that is not that of the lines in usd: lines, net_minor."],
    ),
    "a total that is missing": (without(8), ["line 9 is the trailer, and there was no total of the lines in jpy."]),
    "a total of nothing": (
        swapped("total,jpy", "total,gbp,1,5,0,5\ntotal,jpy"),
        ["line 8 has a total that is not that of the lines in gbp: lines, amount_minor, net_minor."],
    ),
    "a total twice": (
        swapped("total,jpy,1,500,18,482", "total,jpy,1,500,18,482\ntotal,jpy,1,500,18,482"),
        ["line 9 has a total that is not that of the lines in jpy: lines, amount_minor, fee_minor, net_minor."],
    ),
    "a trailer of another file": (
        swapped("trailer,2456", "trailer,2455"),
        ["line 10 is the trailer of another file sequence than the header's."],
    ),
    "a trailer that counts otherwise": (
        swapped("trailer,2456,4", "trailer,2456,5"),
        ["line 10 is a trailer that does not count 4 lines."],
    ),
    "something after the trailer": (
        swapped("trailer,2456,4\n", f"trailer,2456,4\n{LINE}\n"),
        ["line 11 comes after the trailer."],
    ),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_a_file_with_anything_wrong_is_refused_with_the_place(change: Change, said: list[str]) -> None:
    found = problems(change(csv_file()), "csv")
    assert found[: len(said)] == said
    assert len(found) == len(said) or said[0].endswith("UTF-8.")


def test_all_that_is_wrong_is_told() -> None:
    text = csv_file().replace("capture,1000", "capture,x").replace("500,jpy", "500,xyz")
    assert problems(text, "csv") == [
        "line 3 has no amount_minor (a whole number of minor units).",
        "line 5 has no currency (ISO 4217, lower case).",
    ]


def test_of_much_that_is_wrong_the_first_hundred_are_told() -> None:
    text = csv_file([booking(number) for number in range(250)]).replace("capture,", "CAPTURE,")
    with pytest.raises(FileRefused) as refused:
        read(text, "csv")
    assert (len(refused.value.problems), refused.value.count) == (PROBLEMS_MAX, 250)


def test_nothing_of_the_content_is_repeated() -> None:
    """What stands on a wrong line might be anything, the number of a card too."""
    number = "4242424242424242"
    for change in (
        swapped(reference(2), f"tx {number}"),
        swapped("capture,2500", f"{number},2500"),
        swapped("2500,eur", f"2500,{number}"),
        swapped("\n2,cn_", f"\n{number},cn_"),
    ):
        # Nor the number that would come next.
        assert number[:12] not in "".join(problems(change(csv_file()), "csv"))


def test_what_the_reader_of_csv_itself_refuses_is_told_with_the_place() -> None:
    """It has a limit of its own, which is the whole process's."""
    before = csv.field_size_limit(40)
    try:
        assert problems(swapped(reference(2), "x" * 41)(csv_file()), "csv") == [
            "line 4 cannot be taken apart into fields."
        ]
    finally:
        csv.field_size_limit(before)
