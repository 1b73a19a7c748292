"""The table of `make bench-fold`, which also stands in `bench/README.md`: by figure and system, with ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["table", "write_readme"]

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- fold -->", "<!-- end of fold -->"

_ROWS = (
    ("commands a second, one process", ("drained", "commands_per_second"), "{:,.0f}"),
    ("CPU µs a command", ("drained", "cpu_microseconds_per_command"), "{:,.0f}"),
    ("append to committed event, p50 ms", ("latency", "p50_ms"), "{:,.1f}"),
    ("append to committed event, p99 ms", ("latency", "p99_ms"), "{:,.1f}"),
    ("restore, s per 100,000 live intents", ("restore_seconds_per_100k",), "{:,.2f}"),
    ("memory, bytes a live intent", ("memory_bytes_per_live_intent",), "{:,.0f}"),
)


def table(found: dict[str, Any]) -> str:
    """Markdown: a line a figure, a column a system, and Paystream's figure divided by each peer's."""
    systems = found["systems"]
    peers = [name for name in systems if name != "paystream"]
    head = ["", *systems, *(f"paystream / {name}" for name in peers)]
    lines = [_line(head), _line(["---"] * len(head))]
    for title, path, form in _ROWS:
        values = {name: _at(one, path) for name, one in systems.items()}
        ratios = [f"{values['paystream'] / values[name]:.2f}" if values[name] else "–" for name in peers]
        lines.append(_line([title, *(form.format(value) for value in values.values()), *ratios]))
    return "\n".join(lines) + "\n"


def write_readme(text: str) -> None:
    """Put the table into its place."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def _at(one: dict[str, Any], path: tuple[str, ...]) -> float:
    value: Any = one
    for name in path:
        value = value[name]
    return float(value)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
