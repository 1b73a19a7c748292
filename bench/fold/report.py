"""The table of `make bench-fold`, which also stands in `bench/README.md`: by figure and system, with ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["table", "write_table"]

README = Path(__file__).parents[1] / "README.md"


class Wanted(NamedTuple):
    """What is asked of Paystream's figure, in words, and whether the figures by system hold it."""

    words: str
    holds: Callable[[Mapping[str, float]], bool]


class Row(NamedTuple):
    """One figure: where it stands in a system's results, and how it is shown."""

    title: str
    path: tuple[str, ...]
    form: str
    wanted: tuple[Wanted, ...] = ()


_ROWS = (
    Row(
        "commands a second, one process",
        ("drained", "commands_per_second"),
        "{:,.0f}",
        (
            Wanted("at least 8,000", lambda found: found["paystream"] >= 8_000),
            Wanted("at least 0.40 of Kafka Streams'", lambda found: found["paystream"] >= 0.4 * found["kafka_streams"]),
        ),
    ),
    Row("CPU µs a command", ("drained", "cpu_microseconds_per_command"), "{:,.0f}"),
    Row("append to committed event, p50 ms", ("latency", "p50_ms"), "{:,.1f}"),
    Row(
        "append to committed event, p99 ms",
        ("latency", "p99_ms"),
        "{:,.1f}",
        (Wanted("at most Kafka Streams'", lambda found: found["paystream"] <= found["kafka_streams"]),),
    ),
    Row("restore, s per 100,000 live intents", ("restore_seconds_per_100k",), "{:,.2f}"),
    Row(
        "memory, bytes a live intent",
        ("memory_bytes_per_live_intent",),
        "{:,.0f}",
        (Wanted("at most 2,048", lambda found: found["paystream"] <= 2_048),),
    ),
)


def table(found: dict[str, Any]) -> str:
    """Markdown: a line a figure, a column a system, Paystream's figure divided by each peer's, and what is wanted."""
    systems = found["systems"]
    peers = [name for name in systems if name != "paystream"]
    head = ["", *systems, *(f"paystream / {name}" for name in peers), "wanted"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in _ROWS:
        values = {name: _at(one, row.path) for name, one in systems.items()}
        ratios = [f"{values['paystream'] / values[name]:.2f}" if values[name] else "–" for name in peers]
        shown = (row.form.format(value) for value in values.values())
        lines.append(_line([row.title, *shown, *ratios, _verdicts(row.wanted, values)]))
    return "\n".join(lines) + "\n"


def _verdicts(wanted: tuple[Wanted, ...], values: Mapping[str, float]) -> str:
    if "kafka_streams" not in values:
        return ""
    return "; ".join(f"{one.words}: {'held' if one.holds(values) else '**missed**'}" for one in wanted)


def write_table(name: str, text: str) -> None:
    """Put a table into its place in `bench/README.md`."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = README.read_text().partition(begin)
    _, _, after = rest.partition(end)
    assert found, f"bench/README.md has no place for the table {name}"
    README.write_text(f"{before}{begin}\n{text}{end}{after}")


def _at(one: dict[str, Any], path: tuple[str, ...]) -> float:
    value: Any = one
    for name in path:
        value = value[name]
    return float(value)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
