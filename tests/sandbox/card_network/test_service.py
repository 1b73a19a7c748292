"""The network over HTTP: what it answers and what its ledger then says."""

from datetime import UTC, datetime

import httpx
import pytest

from .network_process import NetworkProcess, unique

LEDGER_FIELDS = [
    "reference",
    "payment_intent",
    "type",
    "status",
    "amount_minor",
    "currency",
    "at",
    "requests",
    "processor",
    "hold",
    "capture_before",
]


def test_an_authorization_is_approved_and_booked(network: NetworkProcess) -> None:
    body = network.authorization()
    answer = network.post("/authorizations", body)
    assert answer == {
        "reference": body["reference"],
        "type": "authorization",
        "status": "approved",
        "processor_reference": answer["processor_reference"],
        "amount_minor": 1999,
        "currency": "usd",
        "capture_before": answer["capture_before"],
    }
    left = datetime.fromisoformat(answer["capture_before"]) - datetime.now(UTC)
    assert 604_790 < left.total_seconds() <= 604_800
    row = network.row(body["reference"])
    assert row is not None
    assert list(row) == LEDGER_FIELDS
    assert {**row, "at": ""} == {
        "reference": body["reference"],
        "payment_intent": "pi_1",
        "type": "authorization",
        "status": "approved",
        "amount_minor": 1999,
        "currency": "usd",
        "at": "",
        "requests": 1,
        "processor": "cardnet",
        "hold": "held",
        "capture_before": answer["capture_before"],
    }
    assert row["at"].endswith("Z")
    assert network.look_up(answer["reference"]) == answer


@pytest.mark.parametrize(
    ("token", "code", "decline_code"),
    [
        ("tok_chargeDeclined", "card_declined", "generic_decline"),
        ("tok_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("tok_chargeDeclinedProcessingError", "processing_error", None),
        ("tok_unheardOf", "invalid_token", None),
    ],
)
def test_a_decline_is_booked_too(network: NetworkProcess, token: str, code: str, decline_code: str | None) -> None:
    answer = network.authorize(token)
    reference = answer["reference"]
    assert answer == {
        "reference": reference,
        "type": "authorization",
        "status": "declined",
        "code": code,
        "decline_code": decline_code,
    }
    row = network.row(reference)
    assert row is not None
    assert row["status"] == "declined"
    assert network.look_up(reference) == answer


def test_a_capture_takes_the_money_once(network: NetworkProcess) -> None:
    reference = network.authorize()["reference"]
    answer = network.capture(reference, amount_minor=1500)
    assert answer == {
        "reference": answer["reference"],
        "type": "capture",
        "status": "approved",
        "processor_reference": answer["processor_reference"],
        "amount_minor": 1500,
        "currency": "usd",
    }
    second = network.capture(reference, amount_minor=499)
    assert second == {
        "reference": second["reference"],
        "type": "capture",
        "status": "declined",
        "code": "authorization_captured",
        "authorization_state": "captured",
    }
    assert network.void(reference)["authorization_state"] == "captured"


def test_a_void_releases_the_hold(network: NetworkProcess) -> None:
    reference = network.authorize()["reference"]
    answer = network.void(reference)
    assert (answer["type"], answer["status"]) == ("void", "approved")
    assert network.capture(reference)["authorization_state"] == "gone"
    row = network.row(answer["reference"])
    assert row is not None
    assert (row["type"], row["amount_minor"], row["currency"]) == ("void", 1999, "usd")


def test_a_part_of_a_hold_is_released(network: NetworkProcess) -> None:
    reference = network.authorize()["reference"]
    body: dict[str, object] = {
        "reference": unique(),
        "payment_intent": "pi_1",
        "authorization_reference": reference,
        "remaining_minor": 500,
    }
    assert network.post("/voids", body) == network.post("/voids", body)
    assert network.client.post("/voids", json={**body, "remaining_minor": 400}).status_code == 409
    row = network.row(body["reference"])
    assert row is not None
    assert (row["status"], row["amount_minor"], row["requests"]) == ("approved", 1499, 2)
    assert network.capture(reference, amount_minor=501)["code"] == "amount_exceeds_authorized"
    assert network.capture(reference, amount_minor=500)["status"] == "approved"


def test_a_partial_approval_says_what_is_held(network: NetworkProcess) -> None:
    body = network.authorization("tok_partialApproval")
    answer = network.post("/authorizations", body)
    assert (answer["status"], answer["amount_minor"]) == ("approved", 999)
    assert network.post("/authorizations", body) == answer
    assert network.capture(answer["reference"], amount_minor=1000)["authorization_state"] == "open"


def test_a_hold_may_be_gone_before_it_is_captured(network: NetworkProcess) -> None:
    answer = network.authorize("tok_authorizationGone")
    assert answer["status"] == "approved"
    capture = network.capture(answer["reference"])
    assert (capture["code"], capture["authorization_state"]) == ("authorization_expired", "gone")


def test_a_short_hold_is_told(network: NetworkProcess) -> None:
    left = datetime.fromisoformat(network.authorize("tok_shortHold")["capture_before"]) - datetime.now(UTC)
    assert 0 < left.total_seconds() <= 10


def test_more_than_was_held_is_not_captured(network: NetworkProcess) -> None:
    reference = network.authorize()["reference"]
    answer = network.capture(reference, amount_minor=2000)
    assert (answer["code"], answer["authorization_state"]) == ("amount_exceeds_authorized", "open")


def test_the_same_reference_has_the_same_answer(network: NetworkProcess) -> None:
    authorization = network.authorization()
    capture = {**network.authorization(), "authorization_reference": authorization["reference"]}
    del capture["token"]
    late_void: dict[str, object] = {
        "reference": unique(),
        "payment_intent": "pi_1",
        "authorization_reference": unique(),
    }
    for path, body in (("/authorizations", authorization), ("/captures", capture), ("/voids", late_void)):
        answers = [network.post(path, body) for _ in range(3)]
        assert answers[0] == answers[1] == answers[2] == network.look_up(str(body["reference"]))
        assert answers[0]["status"] == "approved"
        row = network.row(body["reference"])
        assert row is not None
        assert row["requests"] == 3


def test_another_body_under_a_reference_is_refused(network: NetworkProcess) -> None:
    authorization = network.authorization()
    network.post("/authorizations", authorization)
    void = {
        "reference": authorization["reference"],
        "payment_intent": "pi_1",
        "authorization_reference": authorization["reference"],
    }
    for path, body in (("/authorizations", {**authorization, "amount_minor": 5}), ("/voids", void)):
        response = network.client.post(path, json=body)
        assert (response.status_code, response.json()) == (409, {"error": "reference_reused"})
    row = network.row(authorization["reference"])
    assert row is not None
    assert (row["type"], row["amount_minor"], row["requests"]) == ("authorization", 1999, 1)


def test_a_void_that_comes_first_refuses_the_authorization(network: NetworkProcess) -> None:
    body = network.authorization()
    void = network.void(str(body["reference"]))
    assert void["status"] == "approved"
    assert network.look_up(str(body["reference"])) is None
    answer = network.post("/authorizations", body)
    assert (answer["status"], answer["code"]) == ("declined", "voided_before_arrival")
    row = network.row(void["reference"])
    assert row is not None
    assert (row["status"], row["amount_minor"], row["currency"]) == ("approved", None, None)


def test_the_ledger_is_in_booking_order(network: NetworkProcess) -> None:
    asked = [network.authorize()["reference"] for _ in range(5)]
    booked = [row["reference"] for row in network.ledger() if row["reference"] in asked]
    assert booked == asked
    times = [row["at"] for row in network.ledger()]
    assert times == sorted(times)


def test_a_look_up_of_nothing_is_404(network: NetworkProcess) -> None:
    assert network.look_up(unique()) is None


def test_it_says_what_it_promises(network: NetworkProcess) -> None:
    assert network.client.get("/capabilities").json() == {
        "name": "cardnet",
        "deduplicates": {"authorization": True, "capture": True, "void": True},
        "lookup": True,
        "longest_hold_seconds": 604_800,
    }
    assert network.client.get("/healthz").status_code == 200


def test_the_settlement_report_has_todays_captures(network: NetworkProcess) -> None:
    capture = network.capture(network.authorize()["reference"], amount_minor=1000)
    today = datetime.now(UTC).date().isoformat()
    response = network.client.get("/settlement-report", params={"date": today})
    assert response.headers["content-type"].startswith("text/csv")
    lines = response.text.splitlines()
    (line,) = [line for line in lines if capture["reference"] in line]
    fields = line.split(",")
    assert fields[1:9] == [
        capture["processor_reference"],
        capture["reference"],
        "capture",
        "1000",
        "usd",
        "25",
        "975",
        "usd",
    ]
    approved = [
        row
        for row in network.ledger()
        if (row["processor"], row["type"], row["status"]) == ("cardnet", "capture", "approved")
    ]
    assert lines[-1].split(",")[2] == str(len(approved))


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/authorizations", b"{", 400),
        ("POST", "/authorizations", b"{}", 400),
        ("POST", "/captures", b'{"reference":"a"}', 400),
        ("POST", "/voids", b"[]", 400),
        ("POST", "/authorizations", b" " * 70_000, 413),
        ("POST", "/faults", b'{"timeout_rate":2}', 400),
        ("POST", "/faults", b"[]", 400),
        ("GET", "/authorizations", b"", 405),
        ("GET", "/nothing", b"", 404),
        ("GET", "/settlement-report", b"", 400),
        ("GET", "/settlement-report?date=yesterday", b"", 400),
        ("GET", "/settlement-report?date=2026-10-20&processor=nobody", b"", 400),
        ("GET", "/settlements/nobody/2026-10-20.csv", b"", 404),
        ("GET", "/settlements/cardnet/2026-10-20.xml", b"", 404),
        ("GET", "/settlements/cardnet/20.csv", b"", 400),
        ("POST", "/settlement/adjustments", b"{}", 400),
        ("POST", "/clock", b'{"advance_seconds":-1}', 400),
        ("POST", "/clock", b"[]", 400),
        ("GET", "/challenges/cn_none", b"", 404),
        ("POST", "/challenges/cn_none", b"outcome=complete", 404),
    ],
)
def test_a_bad_request_is_a_4xx_with_a_name(
    network: NetworkProcess, method: str, path: str, content: bytes, status: int
) -> None:
    response = network.client.request(method, path, content=content)
    assert response.status_code == status
    assert isinstance(response.json()["error"], str)


def test_a_card_number_is_refused_and_not_repeated(network: NetworkProcess) -> None:
    for changes in ({"token": "4242424242424242"}, {"payment_intent": "4242424242424242"}):
        response = network.client.post("/authorizations", json=network.authorization(**changes))
        assert response.status_code == 400
        assert "4242" not in response.text
    assert "4242424242424242" not in network.client.get("/ledger").text


def test_a_long_ledger_is_streamed(network: NetworkProcess) -> None:
    with httpx.Client(base_url=network.base_url) as client:
        for _ in range(1100):
            client.post("/authorizations", json=network.authorization())
    rows = network.ledger()
    assert len(rows) > 1100
    assert len({row["reference"] for row in rows}) == len(rows)
