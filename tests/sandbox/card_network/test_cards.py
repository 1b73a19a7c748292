import pytest

from ingress.test_tokens import BRANDS
from sandbox.card_network.cards import CARDS, holds_card_number


def test_every_test_card_has_a_real_number_of_its_own() -> None:
    numbers = [card.number for card in CARDS.values()]
    assert len(set(numbers)) == len(numbers) == 23
    assert all(holds_card_number(number) for number in numbers)


def test_the_usual_tokens_have_the_usual_last_digits() -> None:
    assert {token: card.last4 for token, card in list(CARDS.items())[:9]} == {
        "tok_visa": "4242",
        "tok_mastercard": "4444",
        "tok_amex": "0005",
        "tok_chargeDeclined": "0002",
        "tok_chargeDeclinedInsufficientFunds": "9995",
        "tok_chargeDeclinedProcessingError": "0119",
        "tok_chargeDeclinedExpiredCard": "0069",
        "tok_chargeDeclinedIncorrectCvc": "0127",
        "tok_threeDSecureRequired": "3220",
    }


def test_the_merchant_api_knows_the_brand_of_each_test_card() -> None:
    assert {token: card.brand for token, card in CARDS.items()} == BRANDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4242424242424242", True),
        ("card 4242 4242-4242 4242, please", True),
        ("378282246310005", True),  # fifteen digits
        ("4242424242424241", False),  # Luhn
        ("tx_a4242424242424242", False),  # touches a letter
        ("42424242424242424242", False),  # twenty digits
        ("1000000000000008", False),  # starts with 1
        ("tok_visa", False),
        ("", False),
    ],
)
def test_a_card_number_is_known_by_its_shape_and_check_digit(text: str, expected: bool) -> None:
    assert holds_card_number(text) is expected
