"""The nested format within bounds: numbers that are too long to be any, wherever they begin."""

from __future__ import annotations

import io

import pytest

from topology.settlement_files.formats import FORMATS
from topology.settlement_files.port import MISSING, Malformed, Trailer


@pytest.mark.parametrize("piece_bytes", [1, 7, 319, 320, 321, 4_096])
@pytest.mark.parametrize("begins_at", [0, 1, 200, 319])
def test_too_many_digits_are_found_wherever_they_begin(piece_bytes: int, begins_at: int) -> None:
    class Pieces(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            return super().read(piece_bytes)

    def said(digits: int) -> list[object]:
        text = f'{{"more":{" " * begins_at}{"9" * digits},"trailer":{{"lines":7}}}}'
        return list(FORMATS["nested-json"].items(Pieces(text.encode())))

    assert said(319) == [Trailer(0, MISSING, 7)]
    for digits in (639, 640, 5_000):
        assert said(digits) == [Malformed(0, "is followed by 320 digits in a row, or more")]
