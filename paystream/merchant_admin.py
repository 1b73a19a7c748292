"""Writes and reads the topic `merchants`, of which every ingress process keeps the last word in memory.

Each function prints, and ends the process by typer.Exit where it is not done. Driven by `paystream.merchants`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

import typer

from ingress.card_numbers import has_card_number
from paystream.environment import process_settings
from paystream.topic_access import LogUnavailable, read_all, write
from schemas.bounds import ROUTE_LENGTH_MAX
from schemas.identifiers import InvalidIdentifier, MerchantId, parse_merchant_id
from schemas.operations import Merchant
from schemas.times import Micros, to_rfc3339
from schemas.topics import MERCHANTS

__all__ = ["list_merchants", "parse_routes", "put"]

USAGE, UNKNOWN = 2, 3
_NAME_LENGTH_MAX = 255
_BRAND = re.compile(r"\*|[a-z0-9_]{1,32}", re.ASCII)
_PROCESSOR = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)


def put(merchant: str, *, name: str, routes: Sequence[str], disabled: bool) -> None:
    """Put a merchant on record, in place of what was there."""
    if not name.strip() or len(name) > _NAME_LENGTH_MAX or not name.isprintable() or has_card_number(name):
        _fail("the name is empty, too long, or holds what may not go on record", code=USAGE)
    record = Merchant(
        id=_merchant_id(merchant),
        name=name,
        routes=parse_routes(routes),
        disabled=disabled,
        updated_at=Micros(time.time_ns() // 1_000),
    )
    try:
        write(process_settings("kafka_bootstrap")["kafka_bootstrap"], MERCHANTS, [(record.id, record)])
    except LogUnavailable as error:
        _fail(f"it is not known whether it was written: {error}. The same again does no harm", code=UNKNOWN)
    typer.echo(f"{record.id} is on record{', disabled' if disabled else ''}")


def list_merchants(*, as_json: bool) -> None:
    """Print the merchants that are on record, by id."""
    known: dict[str, Merchant] = {}
    try:
        for placed in read_all(process_settings("kafka_bootstrap")["kafka_bootstrap"], MERCHANTS, only="Merchant"):
            if isinstance(placed.record, Merchant):
                known[placed.key] = placed.record
            elif placed.record is None:
                known.pop(placed.key, None)
    except LogUnavailable as error:
        _fail(f"the log does not answer: {error}", code=UNKNOWN)
    found = [known[key] for key in sorted(known)]
    if as_json:
        typer.echo(json.dumps([_described(one) for one in found], indent=2))
    else:
        _print(found)


def parse_routes(routes: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Routes as they are typed, by brand; raises typer.BadParameter.

    >>> parse_routes(["visa=isonet,cardnet", "*=cardnet"])
    {'visa': ('isonet', 'cardnet'), '*': ('cardnet',)}
    """
    parsed: dict[str, tuple[str, ...]] = {}
    for text in routes:
        brand, _, names = text.partition("=")
        processors = tuple(names.split(","))
        if not _BRAND.fullmatch(brand) or not all(map(_PROCESSOR.fullmatch, processors)):
            raise typer.BadParameter("a route is BRAND=PROCESSOR,PROCESSOR…; the brand * is any other")
        if brand in parsed:
            raise typer.BadParameter("a brand has one route")
        if len(processors) > ROUTE_LENGTH_MAX or len(set(processors)) < len(processors):
            raise typer.BadParameter(f"a route names each processor once, and {ROUTE_LENGTH_MAX} at most")
        parsed[brand] = processors
    return parsed


def _described(one: Merchant) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.name,
        "routes": {brand: list(processors) for brand, processors in one.routes.items()},
        "disabled": one.disabled,
        "updated_at": to_rfc3339(one.updated_at),
    }


def _print(found: Sequence[Merchant]) -> None:
    for one in found:
        routes = " ".join(f"{brand}={','.join(processors)}" for brand, processors in one.routes.items())
        name = "".join(letter if letter.isprintable() else "�" for letter in one.name)
        state = " (disabled)" if one.disabled else ""
        typer.echo(f"{one.id}{state}: {name}; {routes or 'the route of the settings'}; {to_rfc3339(one.updated_at)}")
    if not found:
        typer.echo("none is on record: all take the route of the settings")


def _merchant_id(text: str) -> MerchantId:
    try:
        return parse_merchant_id(text)
    except InvalidIdentifier as error:
        raise typer.BadParameter(str(error)) from None


def _fail(sentence: str, *, code: int) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)
