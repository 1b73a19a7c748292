"""The nested format within bounds: what is too long, and what it need not remember."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator

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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"{", b'"processor":"cardnet"}'),
        (b'{"batches":[{', b'"currency":"usd"}]}'),
        (b'{"batches":[{"merchant_batches":[{', b'"merchant":null}]}]}'),
        (b'{"batches":[{"merchant_batches":[{"lines":[{', b'"line":1}]}]}]}'),
        (b'{"batches":[{"totals":{', b'"lines":0}}]}'),
        (b'{"batches":[],"trailer":{', b'"lines":0}}'),
        (b'{"more":{', b'"less":0}}'),
    ],
    ids=["document", "batch", "merchant batch", "line", "totals", "trailer", "what is passed over"],
)
def test_however_much_else_stands_there_it_takes_no_memory(before: bytes, after: bytes) -> None:
    """Of 20 MB of members that nobody knows nothing is kept."""

    def pieces() -> Iterator[bytes]:
        yield before
        for number in range(0, 20_000, 50):
            yield b"".join(b'"%d":"%s",' % (other, b"x" * 1_000) for other in range(number, number + 50))
        yield after

    class Stream(io.BytesIO):
        left = pieces()

        def read(self, _size: int | None = -1, /) -> bytes:
            return next(self.left, b"")

    tracemalloc.start()
    try:
        said = [item for item in FORMATS["nested-json"].items(Stream()) if isinstance(item, Malformed)]
        _now, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert said == []
    assert peak_bytes < 2_000_000
