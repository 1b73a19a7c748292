"""The settlement files in the documentation are read as what they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.topology.settlement_files.files import read

PAGE = Path(__file__).parents[3] / "docs" / "settlement-files.md"


@pytest.mark.parametrize(("fence", "form"), [("json", "nested-json"), ("csv", "csv")])
def test_the_files_that_are_shown_are_such_files(fence: str, form: str) -> None:
    """With a fee, of which the processor has no reference of ours."""
    found = re.search(rf"```{fence}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    lines, _file = read(found[1], form)
    assert {(line.kind, line.currency, line.reference is None) for line in lines} == {
        ("capture", "usd", False),
        ("capture", "jpy", False),
        ("fee", "usd", True),
    }
