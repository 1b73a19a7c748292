"""Settings: read once, checked at start, every problem said at once and no secret shown."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from paystream.settings import TABLE, SettingsError, load, markdown_table
from sandbox.card_network.cards import CARDS

README = Path(__file__).parent.parent.parent / "README.md"
KEY = "ps_sk_test_" + "A" * 36


def test_defaults_hold_where_nothing_is_set() -> None:
    settings = load({}, required=())
    assert settings["partitions"] == 4
    assert settings["ladder_seconds"] == (10, 60, 300, 1800, 3600, 21600, 86400)
    assert settings["kafka_bootstrap"] is None


def test_every_problem_is_said_at_once() -> None:
    environment = {"PAYSTREAM_HTTP_PORT": "70000", "PAYSTREAM_PARTITIONS": "many", "PAYSTREAM_PARTITION": "4"}
    with pytest.raises(SettingsError) as refused:
        load(environment, required=("kafka_bootstrap",))
    text = "\n".join(refused.value.problems)
    assert "PAYSTREAM_KAFKA_BOOTSTRAP is not set" in text
    assert "PAYSTREAM_HTTP_PORT ('70000') is no port" in text
    assert "PAYSTREAM_PARTITIONS ('many') must be a number" in text
    assert "PAYSTREAM_PARTITION is no setting" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BOOTSTRAP", "localhost"),
        ("POSTGRES_URI", "mysql://x"),
        ("INSTANCE", "a b"),
        ("PUBLIC_URL", "http://x/path"),
        ("API_KEYS", KEY),
        ("API_KEYS", f"{KEY}=merchant"),
        ("CLIENT_SECRET_KEY", "id:xyz"),
        ("CALL_DEADLINE_SECONDS", "0"),
        ("LADDER_SECONDS", "1,,2"),
        ("CALLS_IN_FLIGHT", "0"),
        ("ISO8583_ADDRESS", "localhost"),
        ("ISO8583_ADDRESS", "host:70000"),
        ("ISO8583_ADDRESS", "tcp://host:1"),
        ("ISO8583_ACQUIRER_ID", "123456789012"),
        ("ISO8583_ACQUIRER_ID", "ACQUIRER"),
        ("ISO8583_TERMINAL_ID", "SHORT"),
        ("ISO8583_CONNECTIONS", "0"),
        ("ISO8583_REVERSAL_FAMILY", "0402"),
        ("ROUTE", "Card Net"),
        ("SETTLEMENT_CUT_OFFS", "cardnet=24:00@UTC"),
        ("SETTLEMENT_CUT_OFFS", "cardnet=12:00@Europe/Nowhere"),
        ("SETTLEMENT_CUT_OFFS", "cardnet=12:00@../../etc/passwd"),
        ("SETTLEMENT_CUT_OFFS", "12:00@UTC"),
        ("SETTLEMENT_GRACE_DAYS", "-1"),
        ("SETTLEMENT_GRACE_DAYS", "31"),
        ("SETTLEMENT_HOLIDAYS", "2026-12-25"),
        ("SETTLEMENT_HOLIDAYS", "cardnet=25.12.2026"),
        ("S3_ENDPOINT_URL", "127.0.0.1:9000"),
    ],
)
def test_nonsense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"PAYSTREAM_{name}"):
        load({f"PAYSTREAM_{name}": value}, required=())


def test_no_secret_is_shown() -> None:
    environment = {
        "PAYSTREAM_API_KEYS": f"{KEY}=mer_a",
        "PAYSTREAM_CLIENT_SECRET_KEY": "k1:" + "ab" * 32,
        "PAYSTREAM_POSTGRES_URI": "postgresql://u:geheim@h/d",
    }
    settings = load(environment, required=("api_keys",))
    shown = repr(settings) + repr(settings["api_keys"])
    assert KEY not in shown
    assert "geheim" not in shown
    assert "abab" not in shown
    with pytest.raises(SettingsError) as refused:
        load({"PAYSTREAM_API_KEYS": KEY}, required=())
    assert KEY not in str(refused.value)


def test_the_readme_has_the_table() -> None:
    """After a change: `python -m paystream.settings`."""
    assert markdown_table() in README.read_text()
    assert all(setting.meaning for setting in TABLE)


def test_the_readme_lists_every_test_card() -> None:
    text = README.read_text()
    for card in CARDS.values():
        # As they stand on cards: those of fifteen digits in three groups.
        groups = ((0, 4), (4, 10), (10, 15)) if len(card.number) == 15 else ((0, 4), (4, 8), (8, 12), (12, 16))
        number = " ".join(card.number[begin:end] for begin, end in groups)
        assert f"| `{card.token}` | {number} |" in text


def test_the_card_network_settles_both_of_its_protocols_at_midnight_unless_told_otherwise() -> None:
    midnight = (time(0, 0), ZoneInfo("UTC"))
    assert load({}, required=())["settlement_cut_offs"] == {"cardnet": midnight, "isonet": midnight}


def test_settlement_is_set_by_processor() -> None:
    settings = load(
        {
            "PAYSTREAM_SETTLEMENT_CUT_OFFS": "cardnet=22:30@Europe/Berlin,isonet=00:00@UTC",
            "PAYSTREAM_SETTLEMENT_HOLIDAYS": "cardnet=2026-12-25+2027-01-01",
        },
        required=(),
    )
    assert settings["settlement_cut_offs"] == {
        "cardnet": (time(22, 30), ZoneInfo("Europe/Berlin")),
        "isonet": (time(0, 0), ZoneInfo("UTC")),
    }
    assert settings["settlement_holidays"] == {"cardnet": frozenset({date(2026, 12, 25), date(2027, 1, 1)})}
    assert settings["settlement_grace_days"] == 3
