"""docs/openapi.json says what is served: the routes, the statuses and the fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.routing import Route

from ingress import views
from ingress.problems import REFUSALS
from schemas.identifiers import TransactionId
from schemas.payment import (
    CaptureMethod,
    PaymentIntentStatus,
    TransactionStatus,
    TransactionType,
)
from tests.ingress.conftest import World
from tests.ingress.fakes import a_transaction, an_intent
from topology.domain.refusals import Refusal

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
METHODS = {"get", "post", "put", "delete", "patch"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS & item.keys():
            yield method.upper(), path, item[method]


def test_served_routes_are_the_documented_ones(world: World) -> None:
    served = {
        (method, route.path)
        for route in world.app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == {(method, path) for method, path, _ in operations()}
    assert all(isinstance(route, Route) for route in world.app.routes)


def test_path_parameters_are_documented() -> None:
    for _, path, operation in operations():
        parameters = [_resolved(parameter) for parameter in operation.get("parameters", ())]
        documented = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
        assert documented == set(re.findall(r"{(\w+)}", path))


def test_every_merchants_route_needs_a_key_and_every_post_of_theirs_an_idempotency_key() -> None:
    open_to_all = {path for _, path, operation in operations() if operation.get("security") == []}
    assert open_to_all == {
        "/paymentIntent/{id}/return",
        "/processor/{name}/notify",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    for method, path, operation in operations():
        names = {_resolved(parameter)["name"] for parameter in operation.get("parameters", ())}
        assert ("Idempotency-Key" in names) == (method == "POST" and path not in open_to_all)


def test_references_resolve() -> None:
    text = json.dumps(DOCUMENT)
    for reference in re.findall(r'"\$ref": "([^"]+)"', text):
        assert _resolved({"$ref": reference})


def test_the_views_are_the_schemas() -> None:
    opened = a_transaction(TransactionId("tx_" + "0" * 32), an_intent())
    intent = replace(an_intent(), transactions=(opened,))
    schema = SCHEMAS["PaymentIntent"]
    shown = views.payment_intent(intent, client_secret="secret")
    assert list(shown) == list(schema["properties"])
    assert set(views.payment_intent(intent)) == set(schema["required"])
    assert list(views.status(intent)) == [*views.payment_intent(intent), "transactions"]
    (transaction,) = views.status(intent)["transactions"]
    assert list(transaction) == list(SCHEMAS["Transaction"]["properties"]) == SCHEMAS["Transaction"]["required"]
    assert list(views.transaction(opened, of=intent)) == [*transaction, "payment_intent"]


@pytest.mark.parametrize(
    ("schema", "field", "members"),
    [
        ("PaymentIntent", "status", PaymentIntentStatus),
        ("PaymentIntent", "capture_method", CaptureMethod),
        ("Transaction", "type", TransactionType),
        ("Transaction", "status", TransactionStatus),
    ],
)
def test_the_values_are_the_records(schema: str, field: str, members: Any) -> None:
    assert set(SCHEMAS[schema]["properties"][field]["enum"]) == set(members)


def test_refusals_of_commands_are_documented_and_named_as_the_fold_names_them() -> None:
    assert set(REFUSALS) <= set(Refusal)
    text = json.dumps(DOCUMENT["components"]["responses"])
    # These answer a return from a challenge, which nobody awaits.
    assert [name for name in REFUSALS if name not in text] == ["unknown_transaction", "no_open_challenge"]


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    found: dict[str, Any] = DOCUMENT
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found
