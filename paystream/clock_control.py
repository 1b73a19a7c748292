"""Advances the test clock: a `ClockOffset` in every partition of `payments.timers`, and the simulated network's clock.

An offset is a total, so the same one again does no harm: what was done by halves is put right by advancing again, by
0s if need be. Reads `payments.timers` and, for what has left that topic, the changelogs of those who go by it. Two who
advance at the same moment may count as one. Driven by `paystream.clock`.
"""

from __future__ import annotations

import getpass
import http.client
import json
import time
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import typer

from ingress.card_numbers import has_card_number
from paystream.durations import duration_text, parse_duration
from paystream.environment import process_settings
from paystream.topic_access import LogUnavailable, partitions_of, read_all, write
from schemas.partitioner import key_in
from schemas.processing import ClockOffset, ShardClock
from schemas.times import Micros
from schemas.topics import OPEN_CAPTURES, PENDING, TIMERS, Topic
from topology.test_clock import OFFSET_MICROS_MAX

__all__ = ["advance", "show"]

REFUSED, USAGE, UNKNOWN = 1, 2, 3
_NETWORK_SECONDS = 5.0
_NAME_LENGTH_MAX = 255
# The flows that go by it, and where each keeps how far ahead it is.
_TAKEN_BY = {"reconciliation": PENDING, "settlement": OPEN_CAPTURES}


class NetworkUnavailable(Exception):
    """The simulated network did not answer, or not as expected."""


def advance(by: str, *, operator: str | None) -> None:
    """Let so much time pass; prints how far ahead the clock is then."""
    seconds = parse_duration(by)
    who = operator or _user()
    if len(who) > _NAME_LENGTH_MAX or has_card_number(who):
        _fail("the operator's name cannot go on record", code=USAGE)
    settings = process_settings("kafka_bootstrap")
    if not settings["test_clock"]:
        _fail("the test clock is off here: PAYSTREAM_TEST_CLOCK=on allows it, for test mode", code=REFUSED)
    bootstrap, network = settings["kafka_bootstrap"], settings["card_network_url"]
    try:
        partitions = partitions_of(bootstrap, TIMERS)
        known = [_written(bootstrap), *(_taken(bootstrap, changelog) for changelog in _TAKEN_BY.values())]
    except LogUnavailable as error:
        _fail(f"the log does not answer, and nothing was advanced: {error}", code=REFUSED)
    total_seconds = max((0, *(total for by_partition in known for total in by_partition.values()))) + seconds
    if total_seconds * 1_000_000 > OFFSET_MICROS_MAX:
        _fail(f"the test clock would be {duration_text(total_seconds)} ahead, and goes a hundred years", code=USAGE)
    if network is not None:
        # First, so that a hold which we let end has ended there too.
        try:
            _move_network(network, total_seconds)
        except NetworkUnavailable as error:
            _fail(f"the card network does not follow, and nothing else was advanced: {error}", code=REFUSED)
    offset = ClockOffset(offset_micros=total_seconds * 1_000_000, actor_id=who, at=Micros(time.time_ns() // 1_000))
    keys = [key_in(number, partitions, prefix=f"clock-{number}-") for number in range(partitions)]
    try:
        write(bootstrap, TIMERS, [(key, offset) for key in keys] if total_seconds else [])
    except LogUnavailable as error:
        _fail(f"it is not known whether every partition has it: {error}. Advance by 0s", code=UNKNOWN)
    typer.echo(f"the test clock is {duration_text(total_seconds)} ahead")


def show() -> None:
    """Print, partition by partition, how far ahead the clock is."""
    settings = process_settings("kafka_bootstrap")
    bootstrap, network = settings["kafka_bootstrap"], settings["card_network_url"]
    try:
        partitions = partitions_of(bootstrap, TIMERS)
        written = _written(bootstrap)
        taken = {flow: _taken(bootstrap, changelog) for flow, changelog in _TAKEN_BY.items()}
    except LogUnavailable as error:
        _fail(f"the log does not answer: {error}", code=UNKNOWN)
    for number in range(partitions):
        heard = (f"{duration_text(by.get(number, 0))} at {flow}" for flow, by in taken.items())
        typer.echo(f"partition {number}: {duration_text(written.get(number, 0))} ahead in the log, {', '.join(heard)}")
    if network is not None:
        try:
            typer.echo(f"card network: {duration_text(_network(network, None))} ahead")
        except NetworkUnavailable as error:
            _fail(f"card network: {error}", code=UNKNOWN)


def _written(bootstrap: str) -> Mapping[int, int]:
    """By partition: the total in seconds of what was written and is still kept."""
    totals: dict[int, int] = {}
    for placed in read_all(bootstrap, TIMERS, only="ClockOffset"):
        if isinstance(placed.record, ClockOffset):
            total = placed.record.offset_micros // 1_000_000
            totals[placed.partition] = max(total, totals.get(placed.partition, 0))
    return totals


def _taken(bootstrap: str, changelog: Topic) -> Mapping[int, int]:
    """By partition: the total in seconds by which the flow goes that has this changelog."""
    return {
        placed.partition: placed.record.advances[-1].offset_micros // 1_000_000
        for placed in read_all(bootstrap, changelog, only="ShardClock")
        if isinstance(placed.record, ShardClock)
    }


def _move_network(url: str, total_seconds: int) -> None:
    """Let the simulated network be so far ahead in all; raises NetworkUnavailable."""
    behind_seconds = total_seconds - _network(url, None)
    if behind_seconds > 0:
        _network(url, {"advance_seconds": behind_seconds})


def _network(url: str, body: Mapping[str, int] | None) -> int:
    """How far ahead the network's clock is, after what is asked of it; raises NetworkUnavailable."""
    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.netloc, timeout=_NETWORK_SECONDS)
    try:
        if body is None:
            connection.request("GET", "/clock")
        else:
            connection.request("POST", "/clock", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        answer: Any = json.loads(response.read())
        if response.status != http.client.OK:
            raise NetworkUnavailable(f"it answers {response.status}")
        return int(answer["ahead_seconds"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise NetworkUnavailable(str(error)) from error
    finally:
        connection.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _fail(sentence: str, *, code: int) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)
