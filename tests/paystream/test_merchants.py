"""`paystream merchants` as its user meets it, on topics in memory."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from paystream import merchant_admin
from paystream.cli import app
from schemas.operations import Merchant
from schemas.topics import MERCHANTS
from tests.paystream.topics_in_memory import TopicsInMemory


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> TopicsInMemory:
    return TopicsInMemory().install(monkeypatch, merchant_admin)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["merchants", *arguments])


def put(*arguments: str) -> Result:
    return run("put", "mer_shop", "--name", "A shop", *arguments)


def test_what_is_put_is_on_record_under_the_merchant(topics: TopicsInMemory) -> None:
    assert put("--route", "visa=isonet,cardnet", "--route", "*=cardnet").exit_code == 0
    (placed,) = topics.records[MERCHANTS.name]
    assert placed.key == "mer_shop"
    assert isinstance(placed.record, Merchant)
    assert (placed.record.id, placed.record.name, placed.record.disabled) == ("mer_shop", "A shop", False)
    assert placed.record.routes == {"visa": ("isonet", "cardnet"), "*": ("cardnet",)}


def test_the_last_word_is_listed(topics: TopicsInMemory) -> None:
    assert "none is on record" in run("list").stdout
    put("--route", "*=cardnet")
    run("put", "mer_another", "--name", "Another")
    put("--disable")
    told = json.loads(run("list", "--json").stdout)
    assert [(one["id"], one["disabled"], one["routes"]) for one in told] == [
        ("mer_another", False, {}),
        ("mer_shop", True, {}),
    ]
    lines = run("list").stdout.splitlines()
    assert lines[1].startswith("mer_shop (disabled): A shop; the route of the settings;")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--route", "visa"),
        ("--route", "visa="),
        ("--route", "=cardnet"),
        ("--route", "Visa=cardnet"),
        ("--route", "visa=Card Net"),
        ("--route", "visa=cardnet,cardnet"),
        ("--route", "visa=a", "--route", "visa=b"),
        ("--route", "visa=" + ",".join(f"p{number}" for number in range(21))),
        ("--name", ""),
        ("--name", "4242 4242 4242 4242"),
        ("--name", "a\x1b[2J"),
        ("--name", "x" * 256),
    ],
)
def test_nonsense_is_wrong_usage(topics: TopicsInMemory, arguments: tuple[str, ...]) -> None:
    told = put(*arguments)
    assert told.exit_code == 2, told.output
    assert topics.records[MERCHANTS.name] == []
    assert "4242" not in told.output


def test_an_id_that_is_none(topics: TopicsInMemory) -> None:
    assert run("put", "shop", "--name", "A shop").exit_code == 2


def test_a_log_that_does_not_answer(topics: TopicsInMemory) -> None:
    topics.loses = True
    assert put().exit_code == 3
    topics.away = True
    assert run("list").exit_code == 3
