"""The command line as its user meets it: help, wrong settings, topics."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def paystream(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PAYSTREAM_")}
    return subprocess.run(
        [sys.executable, "-m", "paystream", *arguments],
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command() -> None:
    answer = paystream("--help")
    assert answer.returncode == 0
    for command in ("ingress", "flow", "topics", "stack", "migrate", "reconcile", "clock", "merchants", "settlement"):
        assert command in answer.stdout


@pytest.mark.parametrize(
    "command", [("ingress",), ("flow", "payments"), ("flow", "postgres"), ("flow", "settlement"), ("migrate",)]
)
def test_a_missing_setting_is_one_clear_sentence(command: tuple[str, ...]) -> None:
    answer = paystream(*command)
    assert answer.returncode == 2
    assert "is not set" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unknown_flow_is_refused() -> None:
    answer = paystream("flow", "refunds")
    assert answer.returncode == 2
    assert "refunds" in answer.stderr


def test_topics_are_created_once_and_drift_is_reported(kafka_bootstrap: str) -> None:
    settings = {"PAYSTREAM_KAFKA_BOOTSTRAP": kafka_bootstrap, "PAYSTREAM_PARTITIONS": "4"}
    first = paystream("topics", "create", **settings)
    assert first.returncode == 0, first.stderr
    again = paystream("topics", "create", **settings)
    assert (again.returncode, again.stdout) == (0, "")
    other = paystream("topics", "create", **{**settings, "PAYSTREAM_PARTITIONS": "8"})
    assert other.returncode == 1
    assert "payments.commands: partitions is 4, expected 8" in other.stderr


def test_the_table_of_topics_is_shown() -> None:
    answer = paystream("topics", "list")
    assert answer.returncode == 0
    assert "payments.commands" in answer.stdout


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        (("migrate",), ("PAYSTREAM_POSTGRES_URI", "postgresql://u:geheim@127.0.0.1:1/d")),
    ],
)
def test_a_server_that_is_away_is_one_line(command: tuple[str, ...], setting: tuple[str, str]) -> None:
    answer = paystream(*command, **dict([setting]))
    assert answer.returncode == 1
    assert answer.stderr.strip()
    assert "Traceback" not in answer.stderr
    assert "geheim" not in answer.stderr
