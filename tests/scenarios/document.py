"""Writes the table down for readers: `python -m tests.scenarios > docs/scenarios.md`.

`document()` is a pure function of the table; a test compares it with the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.scenarios.rows import PROTOCOLS, Phase, Row

__all__ = ["document"]

_HEADER = """\
# Scenarios

What befalls payments at processors and in reconciliation, and how each ends. Made from `tests/scenarios/table` by
`python -m tests.scenarios > docs/scenarios.md`; do not edit by hand: a test compares the two. How the simulated network
is told to misbehave stands in [card-network.md](card-network.md), what the steps mean in `tests/scenarios/rows.py`.

Each row runs on the real stack, and ends with the same check: API, Postgres and topics say what the row says, that is
what the network's ledger has of captures, voids, holds and amounts, and nothing is `failed` without evidence.

"""
_COLUMNS = ("scenario", "protocol", "card", "what is done", "Transactions in the end", "PaymentIntent")


def document(phases: Sequence[Phase]) -> str:
    """The whole page, Markdown."""
    rows = sum(len(phase.rows) for phase in phases)
    return "\n".join((_HEADER + f"There are {rows} rows.", *(line for phase in phases for line in _phase(phase)), ""))


def _phase(phase: Phase) -> Iterator[str]:
    yield f"\n## {phase.title}\n"
    if phase.faults:
        yield f"Faults in force: {_faults(phase.faults)}.\n"
    if phase.one_by_one:
        yield "One row after the other.\n"
    yield _line(_COLUMNS)
    yield _line(("---",) * len(_COLUMNS))
    for row in phase.rows:
        yield _line(_cells(row))


def _cells(row: Row) -> Sequence[str]:
    named = [*row.history]
    if row.processor is not None:
        named.append(f"(at `{row.processor}`)")
    if row.asked is not None:
        named.append(f"(the network was asked {_times(row.asked)} for the authorization)")
    if row.also:
        named.append(f"with {', '.join(f'`{name}`' for name in row.also)} in the log")
    if row.settlements:
        day = "" if row.settled_on is None else f" on {row.settled_on}"
        named.append(f"settlement{day}: {', '.join(f'`{name}`' for name in row.settlements)}")
    done = [step.replace("|", "\\|") for step in row.steps]
    if row.faults:
        done.insert(0, f"faults {_faults(row.faults)}")
    name = row.name.removesuffix(" (HTTP)").removesuffix(" (ISO)")
    card = f"`{row.card}`{', manual' if row.capture_method == 'manual' else ''}"
    return (name, PROTOCOLS[row.route], card, "; ".join(done), "<br/>".join(named) or "none", f"`{row.status}`")


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _faults(faults: object) -> str:
    assert isinstance(faults, dict)
    return ", ".join(f"`{name}` {_value(value)}" for name, value in faults.items())


def _value(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
