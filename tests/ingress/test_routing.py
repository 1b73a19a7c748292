"""Which processors an attempt may go to, and who may begin anything."""

from __future__ import annotations

import httpx
import pytest

from ingress.merchants import Directory
from ingress.metrics import Metrics
from ingress.routing import Routing
from schemas.commands import Authorize
from schemas.identifiers import MerchantId
from schemas.operations import Merchant
from tests.ingress.conftest import OTHER_KEY, World
from tests.ingress.fakes import MERCHANT, NOW, an_intent
from tests.ingress.refusals import assert_problem

pytestmark = pytest.mark.anyio

DEFAULT = ("cardnet",)


def merchant(*, disabled: bool = False, **routes: tuple[str, ...]) -> Merchant:
    """The demo merchant; `any` stands for any other brand."""
    named = {"*" if brand == "any" else brand: route for brand, route in routes.items()}
    return Merchant(id=MERCHANT, name="Demo", routes=named, disabled=disabled, updated_at=NOW)


def routing(*known: Merchant) -> tuple[Routing, Metrics]:
    directory, metrics = Directory(), Metrics()
    directory.replace({one.id: one for one in known})
    processors = frozenset({"cardnet", "isonet", "other"})
    return Routing(directory, route=DEFAULT, processors=processors, metrics=metrics), metrics


ROUTES: list[tuple[str, Merchant | None, str | None, tuple[str, ...]]] = [
    ("nobody has spoken of the merchant", None, "visa", DEFAULT),
    ("a merchant without routes", merchant(), "visa", DEFAULT),
    ("the brand's", merchant(visa=("isonet", "cardnet"), any=("other",)), "visa", ("isonet", "cardnet")),
    ("any other's", merchant(visa=("isonet",), any=("other",)), "amex", ("other",)),
    ("another brand's, and no other", merchant(visa=("isonet",)), "amex", DEFAULT),
    ("a card that is not known", merchant(visa=("isonet",), any=("other",)), None, ("other",)),
    ("a card that is not known, and no other", merchant(visa=("isonet",)), None, DEFAULT),
    ("a processor that is not configured", merchant(visa=("gone", "isonet")), "visa", ("isonet",)),
    ("none that is configured", merchant(visa=("gone", "lost")), "visa", ()),
    ("none at all", merchant(visa=(), any=("other",)), "visa", ()),
]


@pytest.mark.parametrize(("what", "known", "brand", "route"), ROUTES, ids=[row[0] for row in ROUTES])
def test_the_route(what: str, known: Merchant | None, brand: str | None, route: tuple[str, ...]) -> None:
    decided, _metrics = routing(*([] if known is None else [known]))
    assert decided.route(MERCHANT, brand=brand) == route, what


def test_what_was_passed_over_is_counted() -> None:
    decided, metrics = routing(merchant(any=("gone", "isonet")))
    decided.route(MERCHANT, brand=None)
    skipped = metrics.registry.get_sample_value("paystream_ingress_processors_skipped_total", {"processor": "gone"})
    assert skipped == 1


async def test_the_route_goes_with_the_command(world: World, client: httpx.AsyncClient) -> None:
    world.merchants.replace({MERCHANT: merchant(any=("gone", "cardnet"), amex=())})
    assert await route_of("tok_visa", world, client) == ("cardnet",)


@pytest.mark.parametrize(
    ("token", "route"),
    [
        ("tok_visa", ("isonet", "cardnet")),
        ("tok_chargeDeclined", ("isonet", "cardnet")),
        ("tok_mastercard", ("isonet",)),
        ("tok_amex", ("cardnet",)),
        ("tok_of_no_test_card", ("cardnet",)),
    ],
)
async def test_a_card_goes_the_way_of_its_brand(
    token: str, route: tuple[str, ...], world: World, client: httpx.AsyncClient
) -> None:
    """The last two go as any other: the one has no route of its own, of the other no brand is known."""
    known = merchant(visa=("isonet", "cardnet"), mastercard=("isonet",), any=("cardnet",))
    world.merchants.replace({MERCHANT: known})
    assert await route_of(token, world, client) == route


async def route_of(token: str, world: World, client: httpx.AsyncClient) -> tuple[str, ...]:
    """The route that an attempt with the token is given."""
    intent = an_intent()
    world.fold.intents[intent.id] = intent
    path = f"/paymentIntent/{intent.id}/transaction"
    answer = await client.post(path, json={"payment_method": token}, headers={"idempotency-key": "a"})
    assert answer.status_code == 201
    body = world.log.commands[-1].body
    assert isinstance(body, Authorize)
    return body.route


async def test_without_a_processor_the_fold_is_asked_and_refuses(world: World, client: httpx.AsyncClient) -> None:
    """It also knows whether this is the repetition of an attempt that had a route."""
    world.merchants.replace({MERCHANT: merchant(any=("gone",))})
    world.fold.refusals[Authorize] = "no_route"
    intent = an_intent()
    world.fold.intents[intent.id] = intent
    answer = await client.post(
        f"/paymentIntent/{intent.id}/transaction",
        json={"payment_method": "tok_visa"},
        headers={"idempotency-key": "a"},
    )
    assert_problem(answer, 422, "no_route")
    body = world.log.commands[-1].body
    assert isinstance(body, Authorize)
    assert body.route == ()


async def test_a_disabled_merchant_begins_nothing_and_ends_everything(world: World, client: httpx.AsyncClient) -> None:
    world.merchants.replace({MERCHANT: merchant(disabled=True)})
    intent = an_intent()
    world.fold.intents[intent.id] = world.read_model.intents[intent.id] = intent
    path = f"/paymentIntent/{intent.id}"
    create = {"amount": 1999, "currency": "usd"}
    assert_problem(
        await client.post("/paymentIntent", json=create, headers={"idempotency-key": "new"}), 403, "merchant_disabled"
    )
    attempt = {"payment_method": "tok_visa"}
    assert_problem(
        await client.post(f"{path}/transaction", json=attempt, headers={"idempotency-key": "a"}),
        403,
        "merchant_disabled",
    )
    assert list(world.fold.intents.values()) == [intent]
    assert (await client.get(f"{path}/status")).status_code == 200
    for kind in ("capture", "void"):
        await client.post(f"{path}/transaction", json={"type": kind}, headers={"idempotency-key": kind})
    answer = await client.post(f"{path}/cancel", headers={"idempotency-key": "c"})
    assert answer.status_code == 200
    assert [command.merchant_disabled for command in world.log.commands] == [True, True, False, False, False]


async def test_a_create_that_was_carried_out_before_is_answered_all_the_same(
    world: World, client: httpx.AsyncClient
) -> None:
    create, headers = {"amount": 1999, "currency": "usd"}, {"idempotency-key": "k"}
    first = await client.post("/paymentIntent", json=create, headers=headers)
    world.read_model.intents.update(world.fold.intents)
    world.merchants.replace({MERCHANT: merchant(disabled=True)})
    again = await client.post("/paymentIntent", json=create, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_repeated_request_of_a_merchant_disabled_meanwhile_is_told_what_it_did(
    world: World, client: httpx.AsyncClient
) -> None:
    """Also where the read model does not have it yet, and the fold alone knows."""
    create, intent = {"amount": 1999, "currency": "usd"}, an_intent()
    world.fold.intents[intent.id] = intent
    path, attempt = f"/paymentIntent/{intent.id}/transaction", {"payment_method": "tok_visa"}
    asked = (("/paymentIntent", create, {"idempotency-key": "k"}), (path, attempt, {"idempotency-key": "a"}))
    first = [await client.post(url, json=body, headers=key) for url, body, key in asked]
    world.merchants.replace({MERCHANT: merchant(disabled=True)})
    again = [await client.post(url, json=body, headers=key) for url, body, key in asked]
    assert [each.status_code for each in (*first, *again)] == [201] * 4
    assert [each.json()["id"] for each in first] == [each.json()["id"] for each in again]
    assert all(each.headers["idempotent-replayed"] == "true" for each in again)
    other = await client.post(path, json={"payment_method": "tok_slow"}, headers={"idempotency-key": "a"})
    assert_problem(other, 422, "idempotency_mismatch")


async def test_what_the_fold_has_forgotten_is_told_to_a_merchant_disabled_meanwhile(
    world: World, client: httpx.AsyncClient
) -> None:
    intent = an_intent()
    world.fold.intents[intent.id] = intent
    path, attempt = f"/paymentIntent/{intent.id}/transaction", {"payment_method": "tok_visa"}
    headers = {"idempotency-key": "a", "prefer": "wait=5"}
    assert (await client.post(path, json=attempt, headers=headers)).json()["status"] == "succeeded"
    world.read_model.intents[intent.id] = world.fold.intents.pop(intent.id)
    world.merchants.replace({MERCHANT: merchant(disabled=True)})
    again = await client.post(path, json=attempt, headers=headers)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")


async def test_others_are_not_concerned(world: World) -> None:
    world.merchants.replace({MERCHANT: merchant(disabled=True)})
    async with world.client(OTHER_KEY) as other:
        answer = await other.post(
            "/paymentIntent", json={"amount": 5, "currency": "usd"}, headers={"idempotency-key": "k"}
        )
    assert answer.status_code == 201


async def test_until_merchants_are_known_nothing_is_begun(world: World, client: httpx.AsyncClient) -> None:
    world.merchants.ready = False
    answer = await client.post(
        "/paymentIntent", json={"amount": 5, "currency": "usd"}, headers={"idempotency-key": "k"}
    )
    assert_problem(answer, 503, "not_ready")
    assert world.log.commands == []
    intent = an_intent()
    world.fold.intents[intent.id] = intent
    answer = await client.post(f"/paymentIntent/{intent.id}/cancel", headers={"idempotency-key": "c"})
    assert answer.status_code == 200
    missing = (await client.get("/readyz")).json()["missing"]
    assert list(missing) == ["merchants"]


def test_changes_are_taken_one_by_one() -> None:
    directory = Directory()
    assert not directory.ready
    directory.replace({MERCHANT: merchant()})
    directory.change([(MERCHANT, merchant(disabled=True)), ("mer_x", None)])
    found = directory.find(MERCHANT)
    assert found is not None
    assert found.disabled
    directory.change([(MERCHANT, None)])
    assert directory.find(MERCHANT) is None
    assert directory.find(MerchantId("mer_x")) is None
