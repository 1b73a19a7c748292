"""The inputs of the bench of the fold, as the systems beside ours can read them."""

from __future__ import annotations

from bench.fold.mix import STAGES, Payment
from schemas.codec import HEADER_BYTES, decode, encode, record_name
from schemas.commands import PaymentCommand
from schemas.registry import latest_ids
from schemas.times import Micros


def test_every_input_is_written_under_the_newest_schema() -> None:
    """The application on Kafka Streams knows no other, also where ours would write the one before."""
    inputs = [Payment(7).input(stage, Micros(1)) for stage in range(STAGES)]
    for given in inputs:
        newest = latest_ids()[record_name(given.value)]
        assert given.value[:HEADER_BYTES] == b"\x00" + newest.to_bytes(4, "big")
    commands = [record for given in inputs if isinstance(record := decode(given.value), PaymentCommand)]
    assert [decode(encode(command)) for command in commands] == commands
    assert len(commands) == 2
