"""`paystream clock`: the command line of the test clock; `paystream.clock_control` does it.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 it is not known whether all of it was done.
"""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The test clock: time that passes at once, for payments in test mode.")


@app.command()
def advance(
    by: Annotated[str, typer.Argument(metavar="10m|2d|…", help="By how much; 0s brings up to date who is behind.")],
    operator: Annotated[str | None, typer.Option(help="Who you are; otherwise the user of this machine.")] = None,
) -> None:
    """Let time pass for payments in test mode, and for the simulated card network where its address is set."""
    from paystream import clock_control

    clock_control.advance(by, operator=operator)


@app.command()
def show() -> None:
    """Show how far ahead the test clock is, by what was written and by what reconciliation has taken in."""
    from paystream import clock_control

    clock_control.show()
