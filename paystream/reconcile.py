"""`paystream reconcile`: the command line of what `paystream.doubts` does.

Exit codes: 0 done, 1 refused or not found, 2 wrong usage, 3 it is not known what came of it. What a command needs is
imported when it runs: every process of Paystream imports this module.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from schemas.processing import AuthorizationState, Outcome

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Transactions without an outcome, and mismatches: find them, see why, decide them."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class ResolvedOutcome(StrEnum):
    """What a person can say."""

    approved = "approved"
    declined = "declined"


@app.command("list")
def list_open(
    processor: Annotated[str | None, typer.Option(help="Only those at this processor.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only those of this merchant (mer_…).")] = None,
    older_than: Annotated[str, typer.Option(help="Only what is older, such as 24h.")] = "0s",
    resolved: Annotated[bool, typer.Option("--resolved", help="Mismatches that are resolved, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many of each at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show what is in doubt, unanswered or not taken back yet, the oldest first; what settlement found, the newest."""
    from paystream import doubts

    doubts.list_open(
        processor=processor,
        merchant=merchant,
        older_than=older_than,
        with_resolved=resolved,
        limit=limit,
        as_json=as_json,
    )


@app.command()
def show(
    identifier: Annotated[
        str, typer.Argument(metavar="pi_…|tx_…", help="A PaymentIntent, a Transaction or a mismatch.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show a payment with its Transactions and everything that happened to it; a mismatch, and who explained it."""
    from paystream import doubts

    doubts.show(identifier, as_json=as_json)


@app.command()
def resolve(
    identifier: Annotated[str, typer.Argument(metavar="tx_…", help="The Transaction in doubt, or the mismatch.")],
    evidence: Annotated[str, typer.Option(help="How you know: goes on record, for years.")],
    operator: Annotated[str, typer.Option(help="Who you are: goes on record, for years.")],
    outcome: Annotated[
        ResolvedOutcome | None, typer.Option(help="What became of a Transaction at the processor; of a mismatch none.")
    ] = None,
    authorization_state: Annotated[
        AuthorizationState | None,
        typer.Option(help="Of a capture or void that was declined: what became of the authorization."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    wait_seconds: Annotated[float, typer.Option(min=0.1, max=300, help="How long to wait for the answer.")] = 15.0,
) -> None:
    """Decide a Transaction in doubt, or explain a mismatch, by a person's word. It goes through the log like all."""
    from paystream import doubts

    doubts.resolve(
        identifier,
        outcome=None if outcome is None else Outcome(outcome.value),
        authorization_state=authorization_state,
        evidence=evidence,
        operator=operator,
        is_meant=yes,
        wait_seconds=wait_seconds,
    )
