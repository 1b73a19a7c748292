"""What `make bench-settlement` holds its figures against."""

from __future__ import annotations

from dataclasses import replace

from bench.settlement import Measured, compare

LARGE = Measured(
    lines=1_000_000,
    file_bytes=127_000_000,
    partitions=12,
    captures_taken_in_per_second=10_000,
    imported_per_second=10_000,
    import_peak_bytes=105_600_000,
    restart_seconds=20.0,
    matched_per_second=2_000,
    flow_peak_bytes=1_300_000_000,
)
SMALL = replace(LARGE, lines=200_000, import_peak_bytes=80_000_000, flow_peak_bytes=500_000_000)


def test_what_is_promised_is_just_enough() -> None:
    compared = compare(SMALL, LARGE)
    assert compared.missed == []
    assert (compared.import_bytes_per_line, compared.flow_bytes_per_capture) == (32.0, 1_000.0)


def test_too_slow_an_import_is_told() -> None:
    assert compare(SMALL, replace(LARGE, imported_per_second=9_999)).missed == ["imported_per_second"]


def test_too_slow_matching_is_told() -> None:
    assert compare(SMALL, replace(LARGE, matched_per_second=1_999)).missed == ["matched_per_second"]


def test_an_import_that_grows_with_its_file_is_told() -> None:
    grown = replace(LARGE, import_peak_bytes=SMALL.import_peak_bytes + LARGE.file_bytes)
    assert compare(SMALL, grown).missed == ["import_bytes_per_line"]
