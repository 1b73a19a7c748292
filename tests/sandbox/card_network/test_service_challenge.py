"""The customer's challenge: the page, the decision, the notice to the caller."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from .network_process import NetworkProcess

CHALLENGE = "tok_threeDSecureRequired"


class Listener:
    """A caller's notify endpoint: keeps what it gets, and answers 500 to the first `failures`."""

    def __init__(self) -> None:
        self.failures = 0
        self.received: list[dict[str, Any]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                listener.failures -= 1
                self.send_response(500 if listener.failures >= 0 else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/notify"

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 5
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} notices"
            time.sleep(0.01)
        return self.received


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    thread = threading.Thread(target=listener.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield listener
    listener.server.shutdown()
    thread.join()
    listener.server.server_close()


def decide(network: NetworkProcess, url: str, outcome: str) -> int:
    return network.client.post(url, data={"outcome": outcome}).status_code


def test_an_open_challenge_is_not_in_the_ledger(network: NetworkProcess) -> None:
    answer = network.authorize(CHALLENGE)
    assert answer == {
        "reference": answer["reference"],
        "type": "authorization",
        "status": "challenge",
        "processor_reference": answer["processor_reference"],
        "url": f"{network.base_url}/challenges/{answer['processor_reference']}",
    }
    assert network.row(answer["reference"]) is None
    assert network.look_up(answer["reference"]) == answer
    refused = network.capture(answer["reference"])
    assert (refused["code"], refused["authorization_state"]) == ("authorization_not_approved", "open")


def test_the_page_has_two_buttons_and_no_script(network: NetworkProcess) -> None:
    answer = network.authorize(CHALLENGE)
    response = network.client.get(answer["url"])
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.text.count("<button") == 2
    assert "1999 USD" in response.text
    assert "<script" not in response.text


@pytest.mark.parametrize(("outcome", "status"), [("complete", "approved"), ("fail", "declined")])
def test_a_decided_challenge_is_booked_and_told(
    network: NetworkProcess, listener: Listener, outcome: str, status: str
) -> None:
    answer = network.authorize(CHALLENGE, notify_url=listener.url)
    later = network.authorize()
    assert decide(network, answer["url"], outcome) == 200
    expected = {"reference": answer["reference"], "processor_reference": answer["processor_reference"]}
    assert listener.wait_for(1) == [expected]
    found = network.look_up(answer["reference"])
    assert found is not None
    assert (found["status"], found.get("code")) == (status, None if outcome == "complete" else "authentication_failed")
    order = [row["reference"] for row in network.ledger()]
    assert order.index(later["reference"]) < order.index(answer["reference"])
    # A second click changes nothing and tells nobody; the other button is told that it is too late.
    assert decide(network, answer["url"], outcome) == 200
    assert decide(network, answer["url"], "fail" if outcome == "complete" else "complete") == 409
    assert "<button" not in network.client.get(answer["url"]).text
    assert network.look_up(answer["reference"]) == found
    assert listener.received == [expected]


def test_a_passed_challenge_can_be_captured(network: NetworkProcess) -> None:
    answer = network.authorize(CHALLENGE)
    decide(network, answer["url"], "complete")
    assert network.capture(answer["reference"])["status"] == "approved"


def test_the_notice_is_repeated_until_it_is_taken(network: NetworkProcess, listener: Listener) -> None:
    listener.failures = 2
    answer = network.authorize(CHALLENGE, notify_url=listener.url)
    assert decide(network, answer["url"], "complete") == 200
    assert len(listener.received) < 3, "the page waited for the notice"
    assert len({notice["reference"] for notice in listener.wait_for(3)}) == 1


def test_nobody_listening_is_no_harm(network: NetworkProcess) -> None:
    answer = network.authorize(CHALLENGE, notify_url="http://127.0.0.1:9/notify")
    assert decide(network, answer["url"], "complete") == 200


def test_a_void_closes_the_challenge(network: NetworkProcess) -> None:
    answer = network.authorize(CHALLENGE)
    assert network.void(answer["reference"])["status"] == "approved"
    assert decide(network, answer["url"], "complete") == 409
    found = network.look_up(answer["reference"])
    assert found is not None
    assert (found["status"], found["code"]) == ("declined", "voided")
    row = network.row(answer["reference"])
    assert row is not None
    assert row["status"] == "declined"
    assert network.void(answer["reference"])["authorization_state"] == "gone"


@pytest.mark.parametrize("form", ["", "outcome=perhaps", "other=complete"])
def test_an_unknown_outcome_is_refused(network: NetworkProcess, form: str) -> None:
    answer = network.authorize(CHALLENGE)
    assert network.client.post(answer["url"], content=form).status_code == 400
    assert network.look_up(answer["reference"]) == answer
