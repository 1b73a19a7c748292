"""The pictures in the docs are those of the dataflows."""

from __future__ import annotations

from topology.drawing import PAGE, page


def test_the_drawn_flows_are_the_flows() -> None:
    """After a change: `python -m topology.drawing`."""
    assert PAGE.read_text() == page()
