"""API keys: form, checksum, and which merchant one stands for."""

from __future__ import annotations

import pytest

from ingress.client_secret import ClientSecretKey
from ingress.keys import InvalidApiKey, Keyring, checksum
from sandbox.stack.credentials import make_test_key
from schemas.identifiers import InvalidIdentifier, PaymentIntentId
from tests.ingress.conftest import API_KEY


def test_a_key_of_the_stack_is_accepted() -> None:
    key = make_test_key()
    principal = Keyring.of({key: "mer_demo"}).principal(key)
    assert principal is not None
    assert principal.merchant_id == "mer_demo"
    assert not principal.livemode
    assert key not in repr(principal)


def _key(kind: str, mode: str) -> str:
    body = f"ps_{kind}_{mode}_" + "C" * 30
    return body + checksum(body)


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (_key("sk", "live"), "live"),
        (_key("pk", "test"), "secret"),
        (API_KEY[:-1], "malformed"),
        (API_KEY[:-1] + ("0" if API_KEY[-1] != "0" else "1"), "malformed"),
        ("ps_sk_test_" + "é" * 36, "malformed"),
        ("", "malformed"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_at_the_start_without_an_echo(key: str, word: str) -> None:
    with pytest.raises(InvalidApiKey, match=word) as error:
        Keyring.of({key: "mer_demo"})
    assert not key or key not in str(error.value)


def test_a_merchant_has_to_be_one() -> None:
    with pytest.raises(InvalidIdentifier):
        Keyring.of({API_KEY: "demo"})


@pytest.mark.parametrize("key", ["", "ps", API_KEY + "0", API_KEY.swapcase(), API_KEY[:-6] + "000000", "é" * 47])
def test_an_unknown_key_is_nobody(key: str) -> None:
    assert Keyring.of({API_KEY: "mer_demo"}).principal(key) is None


def test_keys_and_secrets_do_not_print_themselves() -> None:
    secret_key = ClientSecretKey(id="k1", key=b"0123456789abcdef")
    assert "0123456789abcdef" not in repr(secret_key)
    assert API_KEY not in repr(Keyring.of({API_KEY: "mer_demo"}))


def test_a_client_secret_depends_on_the_intent_and_the_key() -> None:
    one = ClientSecretKey(id="k1", key=b"0123456789abcdef")
    other = ClientSecretKey(id="k1", key=b"fedcba9876543210")
    intent, another = PaymentIntentId("pi_" + "0" * 32), PaymentIntentId("pi_" + "1" * 32)
    assert one.secret(intent) == one.secret(intent)
    assert one.secret(intent).startswith(f"{intent}_secret_k1_")
    assert len({one.secret(intent), one.secret(another), other.secret(intent)}) == 3
    with pytest.raises(ValueError, match="16 bytes"):
        ClientSecretKey(id="k1", key=b"short")
