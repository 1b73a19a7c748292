"""The setting by which a stack knows its merchants is one that Paystream takes."""

from __future__ import annotations

from ingress.keys import Keyring
from paystream.settings import load
from sandbox.routed import RoutedMerchant, api_keys_setting


def test_the_setting_names_each_merchant_by_a_key_that_ingress_accepts() -> None:
    merchants = [
        RoutedMerchant(id="mer_a", route=("cardnet",)),
        RoutedMerchant(id="mer_b", route=("isonet", "cardnet")),
    ]
    name, _, value = api_keys_setting(merchants).partition("=")
    keys = load({name: value}, required=("api_keys",))["api_keys"]
    keyring = Keyring.of({entry.key: entry.merchant_id for entry in keys})
    principals = [keyring.principal(one.api_key) for one in merchants]
    assert [None if found is None else found.merchant_id for found in principals] == ["mer_a", "mer_b"]


def test_keys_do_not_print_themselves() -> None:
    one = RoutedMerchant(id="mer_a", route=("cardnet",))
    assert one.api_key not in repr(one)
