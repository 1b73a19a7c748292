"""Merchants whose payments each take a route of their own, for tests and benchmarks that want both protocols.

Makes their API keys, writes them to the topic `merchants`, and waits until ingress has heard of them. A route is that
of any brand.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from paystream.topic_access import write
from sandbox.stack.credentials import make_test_key
from schemas.identifiers import parse_merchant_id
from schemas.operations import Merchant
from schemas.times import Micros
from schemas.topics import MERCHANTS

__all__ = ["RoutedMerchant", "api_keys_setting", "put_on_record"]

_HEARD_WITHIN_SECONDS = 30.0
_ANSWER_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedMerchant:
    """A merchant, and the processors that its payments go to, in order of preference."""

    id: str
    route: tuple[str, ...]
    api_key: str = field(default_factory=make_test_key, repr=False)


def api_keys_setting(merchants: Sequence[RoutedMerchant]) -> str:
    """The setting by which a stack knows them: NAME=VALUE."""
    return "PAYSTREAM_API_KEYS=" + ",".join(f"{one.api_key}={one.id}" for one in merchants)


def put_on_record(merchants: Sequence[RoutedMerchant], *, kafka: str, ingress: str) -> None:
    """Put them on record, and wait until an attempt of each goes where it should; raises TimeoutError.

    Makes payments of a few minor units on the way.
    """
    at = Micros(time.time_ns() // 1_000)
    records = [
        Merchant(id=parse_merchant_id(one.id), name=one.id, routes={"*": one.route}, disabled=False, updated_at=at)
        for one in merchants
    ]
    write(kafka, MERCHANTS, [(record.id, record) for record in records])
    deadline = time.monotonic() + _HEARD_WITHIN_SECONDS
    for one in merchants:
        while _processor_of_an_attempt(ingress, one.api_key) != one.route[0]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the payments of {one.id} do not go to {one.route[0]}")
            time.sleep(_LOOK_EVERY_SECONDS)


def _processor_of_an_attempt(ingress: str, api_key: str) -> str | None:
    """To which processor an attempt of now goes; None where it was not made."""
    try:
        intent = _post(f"{ingress}/paymentIntent", api_key, {"amount": 5, "currency": "usd"})["id"]
        told = _post(f"{ingress}/paymentIntent/{intent}/transaction", api_key, {"payment_method": "tok_visa"})
    except urllib.error.URLError:
        return None
    return str(told.get("processor"))


def _post(url: str, api_key: str, body: object) -> dict[str, Any]:
    headers = {
        "Authorization": f"Bearer {api_key}",
        "Idempotency-Key": uuid.uuid4().hex,
        "Content-Type": "application/json",
    }
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
        return dict(json.loads(answer.read()))
