"""Draws the transition table for the documentation: `python -m topology.domain.diagram > docs/payment-states.md`.

`document()` is a pure function of the table; a test compares it with the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.payment import PaymentIntentStatus, TransactionStatus
from topology.domain.transitions import ANYWHERE, REFUSED, ROWS, TRANSACTION_MOVES, On, Row

__all__ = ["document"]

_HEADER = """\
# The states of a payment

Drawn from the transition table in `topology/domain/transitions.py` by
`python -m topology.domain.diagram > docs/payment-states.md`. Do not edit by hand: a test compares the two.

There is no `failed`: a decline leads back to a new attempt. While a payment is `processing` or `requires_action`, one
Transaction decides where it goes next: the open void, else the open capture, else the open authorization.
"""

_COMMANDS = (On.create, On.attempt, On.capture, On.void, On.cancel, On.challenge_return)


def document() -> str:
    """The whole page, Markdown with Mermaid."""
    return "\n".join(
        (
            _HEADER,
            "## Where a payment goes\n",
            "What leaves the status as it is stands in the table only.\n",
            *_mermaid(_moves()),
            "\n## On what, and what it does with the Transaction\n",
            "| from | on | to | event, and what the Transaction becomes | then opens |",
            "|---|---|---|---|---|",
            *(_line(row, source=_name(row.source), target=_name(row.target)) for row in ROWS),
            *(_line(row, source="any", target="unchanged") for row in ANYWHERE),
            "\nThe end of a void whose authorization is still open closes that one too, one event before its own.\n",
            "## Commands that are refused\n",
            "`read_model_behind`, `amount_exceeds_capturable` and the like depend on more than the status, and the",
            "same request again is answered as before, whatever the status.\n",
            "| command | " + " | ".join(_name(status) for status in _statuses()) + " |",
            "|---|" + "---|" * (len(PaymentIntentStatus) + 1),
            *(_refusals(on) for on in _COMMANDS),
            "\n## Where a Transaction goes\n",
            *_mermaid(
                (_from(status), target, "")
                for status in TransactionStatus
                for target in TransactionStatus
                if target in TRANSACTION_MOVES[status]
            ),
            "",
        )
    )


def _statuses() -> tuple[PaymentIntentStatus | None, ...]:
    return (None, *PaymentIntentStatus)


def _name(status: PaymentIntentStatus | None) -> str:
    return "–" if status is None else status


def _from(status: PaymentIntentStatus | TransactionStatus | None) -> str:
    return "[*]" if status is None else status


def _moves() -> Iterator[tuple[str, str, str]]:
    """Each pair of statuses once, with all that leads from one to the other."""
    labels: dict[tuple[str, str], list[str]] = {}
    for row in ROWS:
        if row.source is not row.target and row.target is not None:
            labels.setdefault((_from(row.source), row.target), []).append(row.on)
    for (source, target), ons in labels.items():
        yield source, target, "<br/>".join(ons)


def _mermaid(moves: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    for source, target, label in moves:
        yield f"    {source} --> {target}" + (f": {label}" if label else "")
    yield "```"


def _line(row: Row, *, source: str, target: str) -> str:
    does = "" if row.event is None else f"`{row.event}`"
    if row.becomes is not None:
        does += f" {row.becomes}"
    if row.then is not None:
        does += f", `{row.then}` of its authorization"
    if row.cancellation is not None:
        does += f" ({row.cancellation})"
    opens = "" if row.opens is None else row.opens + ("" if row.reason is None else f" ({row.reason})")
    return f"| {source} | {row.on} | {target} | {does} | {opens} |"


def _refusals(on: On) -> str:
    cells = (REFUSED.get((status, on), "done") for status in _statuses())
    return f"| {on} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(document(), end="")
