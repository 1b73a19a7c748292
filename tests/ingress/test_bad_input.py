"""Everything that ingress judges alone: refused as a problem with its 4xx, not logged, not echoed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.ingress.conftest import World
from tests.ingress.refusals import CANCEL, CREATE, JSON, KEY, PAN, TRANSACTION, assert_problem, refused

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"amount": 1999, "currency": "usd"',
        b'{"amount": 1999, "currency": "usd"} {}',
        b"\xff\xfe",
        b'{"amount": 1, "currency": "us\xff"}',
        b'\xef\xbb\xbf{"amount": 1999, "currency": "usd"}',
        b'{"amount": NaN, "currency": "usd"}',
        b'{"amount": 01, "currency": "usd"}',
        b'{"amount": 1, "currency": "usd", "description": "\\ud800"}',
        b'{"amount": 1, "amount": 2, "currency": "usd"}',
        b'{"amount": 1, "currency": "usd", "metadata": {"a": "1", "a": "2"}}',
    ],
)
async def test_malformed_json(world: World, client: httpx.AsyncClient, content: bytes) -> None:
    await refused(world, client, content, code="json_malformed")


@pytest.mark.parametrize("content", [b"[]", b"null", b"1", b'"text"', b"[" * 30_000, b'{"amount": ' + b"[" * 30_000])
async def test_json_of_another_kind(world: World, client: httpx.AsyncClient, content: bytes) -> None:
    await refused(world, client, content, code="parameter_invalid")


@pytest.mark.parametrize(
    "amount",
    ["-1", "0", "-0", "19.99", "19.0", "1e3", '"1999"', "true", "null", "[1]", "{}", "1000000000000", "9" * 5000],
)
async def test_amount(world: World, client: httpx.AsyncClient, amount: str) -> None:
    content = f'{{"amount": {amount}, "currency": "usd"}}'.encode()
    problem = await refused(world, client, content, code="parameter_invalid")
    assert problem["param"] == "amount"


@pytest.mark.parametrize("amount", [1, 999_999_999_999])
@pytest.mark.parametrize("currency", ["usd", "jpy", "kwd"])
async def test_amounts_and_currencies_at_the_edge_are_taken(
    client: httpx.AsyncClient, amount: int, currency: str
) -> None:
    response = await client.post("/paymentIntent", json={"amount": amount, "currency": currency}, headers=KEY)
    assert response.status_code == 201, response.text
    assert response.json()["amount"] == amount
    assert response.json()["currency"] == currency


@pytest.mark.parametrize("currency", ["USD", "Usd", "xxx", "us", "usdd", "", " usd", "usd\n", "us\u0000"])
async def test_currency(world: World, client: httpx.AsyncClient, currency: str) -> None:
    content = json.dumps({**CREATE, "currency": currency}).encode()
    problem = await refused(world, client, content, code="parameter_invalid")
    assert problem["param"] == "currency"


@pytest.mark.parametrize("currency", [1, None, ["usd"], True])
async def test_currency_of_another_type(world: World, client: httpx.AsyncClient, currency: object) -> None:
    problem = await refused(
        world, client, json.dumps({**CREATE, "currency": currency}).encode(), code="parameter_invalid"
    )
    assert problem["param"] == "currency"


@pytest.mark.parametrize(
    "metadata",
    [
        {str(number): "" for number in range(51)},
        {"k" * 41: "v"},
        {"": "v"},
        {"k": "v" * 501},
        {"k": 1},
        {"k": None},
        {"k": {"k": "v"}},
        ["k", "v"],
        "k=v",
        None,
        {"k": "a\u0000b"},
        {"a\u0000b": "v"},
    ],
)
async def test_metadata(world: World, client: httpx.AsyncClient, metadata: object) -> None:
    problem = await refused(
        world, client, json.dumps({**CREATE, "metadata": metadata}).encode(), code="parameter_invalid"
    )
    assert problem["param"] == "metadata"


async def test_metadata_at_the_edge_are_taken(client: httpx.AsyncClient) -> None:
    metadata = {f"{number:é>40}": "ü" * 500 for number in range(50)}
    response = await client.post("/paymentIntent", json={**CREATE, "metadata": metadata}, headers=KEY)
    assert response.status_code == 201, response.text
    assert response.json()["metadata"] == metadata


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capture_method", "later"),
        ("capture_method", 1),
        ("description", 1),
        ("description", "d" * 1001),
        ("description", "a\u0000b"),
    ],
)
async def test_other_fields(world: World, client: httpx.AsyncClient, field: str, value: object) -> None:
    problem = await refused(world, client, json.dumps({**CREATE, field: value}).encode(), code="parameter_invalid")
    assert problem["param"] == field


@pytest.mark.parametrize("missing", ["amount", "currency"])
async def test_missing_field(world: World, client: httpx.AsyncClient, missing: str) -> None:
    body = {name: value for name, value in CREATE.items() if name != missing}
    problem = await refused(world, client, json.dumps(body).encode(), code="parameter_invalid")
    assert problem["param"] == missing


async def test_unknown_field_without_an_echo(world: World, client: httpx.AsyncClient) -> None:
    content = json.dumps({**CREATE, "canary_name": "canary value"}).encode()
    problem = await refused(world, client, content, code="parameter_unknown")
    assert "canary" not in json.dumps(problem)


@pytest.mark.parametrize("key", [None, "", " ", "k" * 256, "schlüssel", "tab\there"])
async def test_idempotency_key(world: World, client: httpx.AsyncClient, key: str | None) -> None:
    headers = [("content-type", "application/json")]
    if key is not None:
        headers.append(("idempotency-key", key))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    response = await client.post("/paymentIntent", content=json.dumps(CREATE).encode(), headers=raw)
    # Spaces around a header's value are not part of it.
    missing = key is None
    assert_problem(response, 400, "idempotency_key_missing" if missing else "idempotency_key_invalid")
    assert not world.log.commands


async def test_idempotency_key_twice(world: World, client: httpx.AsyncClient) -> None:
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    response = await client.post("/paymentIntent", json=CREATE, headers=headers)
    assert_problem(response, 400, "header_repeated")
    assert not world.log.commands


@pytest.mark.parametrize("key", ["k", "k" * 255, "a b", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"])
async def test_idempotency_keys_at_the_edge_are_taken(client: httpx.AsyncClient, key: str) -> None:
    response = await client.post("/paymentIntent", json=CREATE, headers={"idempotency-key": key})
    assert response.status_code == 201, response.text


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/paymentIntent", {**CREATE, "description": f"card {PAN}"}),
        ("/paymentIntent", {**CREATE, "metadata": {"card": PAN}}),
        ("/paymentIntent", {**CREATE, "metadata": {PAN: "card"}}),
        ("/paymentIntent", {**CREATE, "currency": PAN}),
        (TRANSACTION, {"payment_method": PAN}),
        (TRANSACTION, {"payment_method": "tok_4242424242424242"}),
    ],
)
async def test_card_number(world: World, client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> None:
    problem = await refused(world, client, json.dumps(body).encode(), code="card_number", url=url)
    assert "4242" not in json.dumps(problem)


async def test_card_number_as_idempotency_key(world: World, client: httpx.AsyncClient) -> None:
    problem = await refused(
        world, client, json.dumps(CREATE).encode(), code="card_number", headers={"idempotency-key": f"order {PAN}"}
    )
    assert "4242" not in json.dumps(problem)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "payment_method"),
        ({"payment_method": "visa"}, "payment_method"),
        ({"payment_method": "tok_"}, "payment_method"),
        ({"payment_method": "tok_a-b"}, "payment_method"),
        ({"payment_method": "tok_" + "a" * 65}, "payment_method"),
        ({"payment_method": 1}, "payment_method"),
        ({"type": "refund"}, "type"),
        ({"type": 1}, "type"),
        ({"type": "authorization"}, "payment_method"),
        ({"type": "capture", "amount": 0}, "amount"),
        ({"type": "capture", "amount": -1}, "amount"),
        ({"type": "capture", "amount": 1.5}, "amount"),
        ({"type": "capture", "amount": "1"}, "amount"),
        ({"type": "capture", "amount": True}, "amount"),
        ({"type": "capture", "amount": 10**12}, "amount"),
    ],
)
async def test_transaction_body(world: World, client: httpx.AsyncClient, body: dict[str, Any], param: str) -> None:
    problem = await refused(world, client, json.dumps(body).encode(), code="parameter_invalid", url=TRANSACTION)
    assert problem["param"] == param


@pytest.mark.parametrize(
    ("url", "body"),
    [
        (TRANSACTION, {"type": "void", "amount": 1}),
        (TRANSACTION, {"type": "capture", "payment_method": "tok_visa"}),
        (TRANSACTION, {"payment_method": "tok_visa", "amount": 1}),
        (CANCEL, {"reason": "none"}),
    ],
)
async def test_fields_that_do_not_belong_together(
    world: World, client: httpx.AsyncClient, url: str, body: dict[str, Any]
) -> None:
    await refused(world, client, json.dumps(body).encode(), code="parameter_unknown", url=url)


@pytest.mark.parametrize("url", ["/paymentIntent", TRANSACTION, CANCEL])
async def test_body_over_64_kib(world: World, client: httpx.AsyncClient, url: str) -> None:
    content = b'{"description": "' + b"d" * 65_536 + b'"}'
    await refused(world, client, content, status=413, code="body_too_large", url=url)


async def test_body_over_64_kib_in_chunks(world: World, client: httpx.AsyncClient) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 100_000_000:
            taken += 10_000
            yield b" " * 10_000

    await refused(world, client, endless(), status=413, code="body_too_large")
    assert taken < 2_000_000


async def test_body_of_exactly_64_kib_is_taken(client: httpx.AsyncClient) -> None:
    content = json.dumps(CREATE).encode().ljust(65_536)
    response = await client.post("/paymentIntent", content=content, headers={**KEY, **JSON})
    assert response.status_code == 201, response.text
