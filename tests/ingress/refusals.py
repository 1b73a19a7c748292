"""What a refused request looks like, and requests to be refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx

from ingress.problems import PROBLEM_TYPE_PREFIX
from tests.ingress.conftest import World
from tests.ingress.fakes import an_intent

CREATE: dict[str, Any] = {"amount": 1999, "currency": "usd"}
PAN = "4242 4242-42424242"
KEY = {"idempotency-key": "order 1"}
JSON = {"content-type": "application/json"}
TRANSACTION = f"/paymentIntent/{an_intent().id}/transaction"
CANCEL = f"/paymentIntent/{an_intent().id}/cancel"


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code
    assert problem["type"] == PROBLEM_TYPE_PREFIX + code
    assert problem["status"] == status
    assert problem["title"]
    return problem


async def refused(
    world: World,
    client: httpx.AsyncClient,
    content: bytes | AsyncIterator[bytes],
    *,
    status: int = 400,
    code: str,
    url: str = "/paymentIntent",
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    response = await client.post(url, content=content, headers={**KEY, **JSON, **(headers or {})})
    problem = assert_problem(response, status, code)
    assert not world.log.commands
    assert not world.read_model.looked_up
    return problem
