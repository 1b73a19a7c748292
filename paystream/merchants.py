"""`paystream merchants`: the command line of merchant administration; `paystream.merchant_admin` does it.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 it is not known whether it was done.
"""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="What is on record of merchants: routes, and whether they are disabled.")


@app.command()
def put(
    merchant: Annotated[str, typer.Argument(metavar="mer_…", help="The merchant.")],
    name: Annotated[str, typer.Option(help="Display name.")],
    route: Annotated[
        list[str] | None,
        typer.Option(help="BRAND=PROCESSOR,… in order of preference; the brand * is any other.", metavar="BRAND=…"),
    ] = None,
    disable: Annotated[bool, typer.Option("--disable", help="Let the merchant begin no new payments.")] = False,
) -> None:
    """Put a merchant on record, in place of what was there: what is left out is gone."""
    from paystream import merchant_admin

    merchant_admin.put(merchant, name=name, routes=route or [], disabled=disable)


@app.command("list")
def list_merchants(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the merchants that are on record. One that is not takes the route of the settings."""
    from paystream import merchant_admin

    merchant_admin.list_merchants(as_json=as_json)
