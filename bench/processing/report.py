"""The figures of `make bench-processing`, what is wanted of them, and the table in `bench/README.md`."""

from __future__ import annotations

from dataclasses import dataclass

from bench.processing.bare import Bare

__all__ = ["WANTED", "Flooded", "Measured", "missed", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the flow reached: calls with a committed result, in the time after the warm-up."""

    calls_per_second: float
    cpu_microseconds_per_call: float
    in_flight_max: int
    resident_bytes_begin: int
    """After the warm-up, with as many calls in flight as there may be."""
    resident_bytes_peak: int
    """Up to the end of the measured time."""
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flooded:
    """What became of events that were there all at once, many more than may wait, in the same process afterwards."""

    events: int
    approved: int
    turned_away: int
    """Not sent, because as many waited as may."""
    seconds: float
    resident_bytes_peak: int
    """Up to the result of the last of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The least, and for memory the most, that is asked for."""

    calls_per_second: float = 2_000
    ratio_to_bare: float = 0.6
    in_flight_max: int = 1_900
    growth_bytes: int = 100_000_000
    """Of the resident set, from the end of the warm-up to the end of the flood.

    That is for the entries that wait, some thousands of bytes each, and for a fetch of 1 MB a partition. The events of
    the flood are more by their bytes alone, and as entries they would be several times as much.
    """


WANTED = Wanted()


def missed(measured: Measured, flooded: Flooded, bare: Bare) -> list[str]:
    """What was not reached, by name."""
    held = {
        "calls_per_second": measured.calls_per_second >= WANTED.calls_per_second,
        "ratio_to_bare": measured.calls_per_second >= WANTED.ratio_to_bare * bare.calls_per_second,
        "in_flight_max": measured.in_flight_max >= WANTED.in_flight_max,
        # Where nothing was turned away, no more came than may wait, and memory was not put to the test.
        "turned_away": flooded.turned_away > 0,
        "growth_bytes": _growth(measured, flooded) <= WANTED.growth_bytes,
    }
    return [name for name, is_held in held.items() if not is_held]


def table(measured: Measured, flooded: Flooded, bare: Bare) -> str:
    """Markdown."""
    failed = missed(measured, flooded, bare)

    def verdict(name: str) -> str:
        return "**missed**" if name in failed else "held"

    rows = (
        ("", "paystream flow processing", "bare aiohttp", "ratio", "wanted"),
        ("---",) * 5,
        (
            "calls a second",
            f"{measured.calls_per_second:,.0f}",
            f"{bare.calls_per_second:,.0f}",
            f"{measured.calls_per_second / bare.calls_per_second:.2f}",
            f"at least {WANTED.calls_per_second:,}: {verdict('calls_per_second')};"
            f" at least {WANTED.ratio_to_bare} of bare: {verdict('ratio_to_bare')}",
        ),
        (
            "CPU µs a call",
            f"{measured.cpu_microseconds_per_call:,.0f}",
            f"{bare.cpu_microseconds_per_call:,.0f}",
            f"{measured.cpu_microseconds_per_call / bare.cpu_microseconds_per_call:.2f}",
            "",
        ),
        (
            "calls in flight, at most",
            f"{measured.in_flight_max:,}",
            "",
            "",
            f"at least {WANTED.in_flight_max:,}: {verdict('in_flight_max')}",
        ),
        (
            "resident, MB at most",
            f"{measured.resident_bytes_peak / 1e6:,.0f}",
            f"{bare.resident_bytes_peak / 1e6:,.0f}",
            "",
            "",
        ),
        (
            f"{flooded.events:,} events at once: resident, MB more",
            f"{_growth(measured, flooded) / 1e6:,.0f}",
            "",
            "",
            f"at most {WANTED.growth_bytes / 1e6:,.0f}: {verdict('growth_bytes')}",
        ),
        (
            f"{flooded.events:,} events at once: turned away",
            f"{flooded.turned_away:,}",
            "",
            "",
            f"some: {verdict('turned_away')}",
        ),
    )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _growth(measured: Measured, flooded: Flooded) -> int:
    return flooded.resident_bytes_peak - measured.resident_bytes_begin
