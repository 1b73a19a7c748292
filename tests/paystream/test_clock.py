"""`paystream clock` as its user meets it: on topics in memory, with the simulated network's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from paystream import clock_control
from paystream.cli import app
from schemas.processing import ClockOffset, ShardClock
from schemas.times import Micros
from schemas.topics import OPEN_CAPTURES, PENDING, TIMERS, Topic
from tests.paystream.topics_in_memory import PARTITIONS, TopicsInMemory
from tests.sandbox.card_network.network_process import NetworkProcess


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> TopicsInMemory:
    """Topics of a system whose test clock may be advanced."""
    monkeypatch.setenv("PAYSTREAM_TEST_CLOCK", "on")
    monkeypatch.delenv("PAYSTREAM_CARD_NETWORK_URL", raising=False)
    return TopicsInMemory().install(monkeypatch, clock_control)


@pytest.fixture
def network(topics: TopicsInMemory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[NetworkProcess]:
    """A network that is served."""
    with NetworkProcess(tmp_path / "ledger.sqlite") as process:
        monkeypatch.setenv("PAYSTREAM_CARD_NETWORK_URL", process.base_url)
        yield process


def ahead_seconds(network: NetworkProcess) -> object:
    return network.client.get("/clock").json()["ahead_seconds"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["clock", *arguments])


def written(topics: TopicsInMemory) -> list[tuple[int, int]]:
    """What was written, as (partition, seconds)."""
    offsets = [(one.partition, one.record) for one in topics.records[TIMERS.name]]
    return [(number, one.offset_micros // 1_000_000) for number, one in offsets if isinstance(one, ClockOffset)]


def offset(seconds: int) -> ClockOffset:
    return ClockOffset(offset_micros=seconds * 1_000_000, actor_id="ada", at=Micros(1))


def test_an_advance_goes_to_every_partition_and_adds_up(topics: TopicsInMemory) -> None:
    told = run("advance", "10m", "--operator", "ada")
    assert (told.exit_code, told.stdout) == (0, "the test clock is 10m ahead\n")
    assert run("advance", "2d").stdout == "the test clock is 2d10m ahead\n"
    first, second = written(topics)[:PARTITIONS], written(topics)[PARTITIONS:]
    assert sorted(first) == [(number, 600) for number in range(PARTITIONS)]
    assert sorted(second) == [(number, 600 + 172_800) for number in range(PARTITIONS)]
    record = topics.records[TIMERS.name][0].record
    assert isinstance(record, ClockOffset)
    assert record.actor_id == "ada"


@pytest.mark.parametrize("changelog", [PENDING, OPEN_CAPTURES], ids=["reconciliation", "settlement"])
def test_what_has_left_the_topic_still_counts(topics: TopicsInMemory, changelog: Topic) -> None:
    topics.put(changelog, "clock-2", ShardClock(advances=(offset(60), offset(3_600))), at=2)
    run("advance", "1m")
    assert {seconds for _number, seconds in written(topics)} == {3_660}


def test_what_was_done_by_halves_is_put_right(topics: TopicsInMemory) -> None:
    topics.put(TIMERS, "clock-1-0", offset(600), at=1)
    assert run("advance", "0s").exit_code == 0
    assert sorted(written(topics)[1:]) == [(number, 600) for number in range(PARTITIONS)]


def test_the_network_follows_and_catches_up(topics: TopicsInMemory, network: NetworkProcess) -> None:
    topics.put(TIMERS, "clock-1-0", offset(600), at=1)
    told = run("advance", "1d")
    assert told.exit_code == 0, told.output
    assert ahead_seconds(network) == 600 + 86_400
    run("advance", "0s")
    assert ahead_seconds(network) == 600 + 86_400
    assert "card network: 1d10m ahead" in run("show").stdout


def test_a_network_that_does_not_follow_stops_all(topics: TopicsInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTREAM_CARD_NETWORK_URL", "http://127.0.0.1:1")
    told = run("advance", "1d")
    assert told.exit_code == 1
    assert "nothing else was advanced" in told.output
    assert written(topics) == []


def test_where_it_is_off_it_is_refused(topics: TopicsInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTREAM_TEST_CLOCK", "off")
    told = run("advance", "1d")
    assert told.exit_code == 1
    assert "PAYSTREAM_TEST_CLOCK=on" in told.output
    assert written(topics) == []


@pytest.mark.parametrize("by", ["10", "-1d", "soon", "999999999d", "1.5h", ""])
def test_nonsense_is_wrong_usage(topics: TopicsInMemory, by: str) -> None:
    assert run("advance", "--", by).exit_code == 2
    assert written(topics) == []


def test_it_goes_a_hundred_years_in_all(topics: TopicsInMemory) -> None:
    assert run("advance", "30000d").exit_code == 0
    before = written(topics)
    told = run("advance", "30000d")
    assert (told.exit_code, written(topics)) == (2, before)
    assert "60000d ahead" in told.output


@pytest.mark.parametrize("who", ["4242 4242 4242 4242", "x" * 256])
def test_a_name_that_may_not_go_on_record(topics: TopicsInMemory, who: str) -> None:
    told = run("advance", "1m", "--operator", who)
    assert told.exit_code == 2
    assert who not in told.output


def test_a_log_that_is_away(topics: TopicsInMemory) -> None:
    topics.away = True
    assert run("advance", "1d").exit_code == 1
    assert run("show").exit_code == 3


def test_an_advance_without_acknowledgement_is_not_known(topics: TopicsInMemory) -> None:
    topics.loses = True
    told = run("advance", "1d")
    assert told.exit_code == 3
    assert "Advance by 0s" in told.output


def test_the_clock_is_shown_by_partition(topics: TopicsInMemory) -> None:
    run("advance", "90m")
    topics.put(PENDING, "clock-2", ShardClock(advances=(offset(5_400),)), at=2)
    topics.put(OPEN_CAPTURES, "clock-3", ShardClock(advances=(offset(60), offset(3_600))), at=3)
    lines = run("show").stdout.splitlines()
    assert lines[2] == "partition 2: 1h30m ahead in the log, 1h30m at reconciliation, 0s at settlement"
    assert lines[3] == "partition 3: 1h30m ahead in the log, 0s at reconciliation, 1h at settlement"


def test_the_switch_is_on_or_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTREAM_TEST_CLOCK", "maybe")
    assert run("show").exit_code == 2
