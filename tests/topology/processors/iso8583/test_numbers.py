"""DE 7, 11 and 37: no pair of DE 7 and DE 11 is given twice, whoever owns the shard, whatever the clock says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.processing import CallKind, Numbering
from schemas.times import Micros, later
from tests.topology.processors.iso8583.calls import asked
from topology.calls.metrics import NUMBERS_AHEAD_SECONDS
from topology.calls.numbering import ShardNumbers
from topology.kafka import StateStore
from topology.processors.iso8583.messages import prepared
from topology.processors.iso8583.numbers import TRACE_NUMBERS, Trace, trace_of

NOW = Micros(1_795_667_620_123_456)  # 2026-11-26T04:33:40.123456Z


class Shards:
    """The changelog of a flow, and the owner of its shards in between takeovers."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.log: dict[str, bytes | None] = {}
        self.take_over()

    def take_over(self) -> None:
        """Another process restores what was committed."""
        self.store = StateStore()
        for key, value in self.log.items():
            self.store.restore(key, value)
        self.numbers = ShardNumbers(self.store, shards=self.shards)

    def commit(self) -> None:
        for key, _shard, value in self.store.take_changes():
            self.log[key] = value

    def trace(self, shard: int, now: Micros) -> Trace:
        return trace_of(self.numbers.lease(shard, now))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["commit", "commit", "commit", "lost", "takeover"]),
        st.lists(st.integers(0, 3), max_size=12),
        # The clock goes on, stands still and is set back.
        st.sampled_from([0.0, 0.0, 0.2, 1.0, 61.0, -0.5, -3.0, -3600.0]),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.sampled_from([4, 200_000, 333_333, 499_999]))
def test_no_pair_is_given_twice(steps: list[tuple[str, list[int], float]], shards: int) -> None:
    """With so many shards a slice is 249,999 numbers, or 5, 3 and 2: it wraps within a second."""
    world, now = Shards(shards), NOW
    given_out: set[tuple[str, str]] = set()
    last: dict[int, str] = {}
    for end, taken, seconds in steps:
        now = later(now, seconds=seconds)
        traces = [(shard, _of_few(world, shard, now)) for shard in taken]
        if end == "lost":
            # The epoch never committed: no call carried what was taken in it.
            world.take_over()
            continue
        world.commit()
        for shard, trace in traces:
            pair = trace.de7, trace.de11
            assert pair not in given_out
            given_out.add(pair)
            assert trace.de7 >= last.get(shard, "")
            last[shard] = trace.de7
        if end == "takeover":
            world.take_over()


def _of_few(world: Shards, shard: int, now: Micros) -> Trace:
    """`trace_of`, for more shards than DE 37 can tell apart: only there do slices wrap within a few steps."""
    lease = world.numbers.lease(shard, now)
    size = TRACE_NUMBERS // lease.shards
    ordinal, at = lease.take(cycle=size)
    seconds = f"{at // 1_000_000 % 10**10:010}"
    return Trace(seconds, f"{shard * size + ordinal % size + 1:06}", "")


def test_a_slice_that_wraps_within_a_second_goes_on_in_the_next() -> None:
    world = Shards(1_000)
    traces = [world.trace(1, NOW) for _ in range(2_000)]
    assert len({(trace.de7, trace.de11) for trace in traces}) == 2_000
    assert {trace.de7 for trace in traces} == {"1126043340", "1126043341", "1126043342"}
    assert {int(trace.de11) for trace in traces} == set(range(1_000, 1_999))
    assert len({trace.de37 for trace in traces}) == 2_000


@pytest.mark.parametrize("shards", [1, 4, 64, 1_000])
def test_the_slices_do_not_touch(shards: int) -> None:
    size = TRACE_NUMBERS // shards
    world = Shards(shards)
    firsts = [int(world.trace(shard, NOW).de11) for shard in range(shards)]
    assert firsts == [shard * size + 1 for shard in range(shards)]
    for shard in (0, shards - 1):
        world.store.save(f"numbers-{shard}", Numbering(given=size - 1, last_at=NOW), partition=shard)
        assert int(world.trace(shard, NOW).de11) == (shard + 1) * size <= TRACE_NUMBERS
        assert int(world.trace(shard, NOW).de11) == shard * size + 1


def test_what_the_numbers_look_like() -> None:
    world = Shards(64)
    assert world.trace(63, NOW) == Trace("1126043340", "984313", "1R0000000000")
    assert world.trace(63, later(NOW, seconds=-7_200.0)) == Trace("1126043340", "984314", "1R0000000001")
    assert world.trace(63, later(NOW, seconds=1.0)) == Trace("1126043341", "984315", "1R0000000002")


def ahead_seconds(shard: int) -> float:
    return float(NUMBERS_AHEAD_SECONDS.labels(str(shard))._value.get())


def test_a_clock_that_jumped_ahead_is_told_of_until_the_true_time_has_come(caplog: pytest.LogCaptureFixture) -> None:
    world = Shards(4)
    world.trace(2, later(NOW, seconds=3_600.0))
    assert ahead_seconds(2) == 0
    assert not caplog.records
    # The clock is put right; who owns the shard now is told, once.
    world.commit()
    world.take_over()
    for seconds in (0.0, 10.0):
        assert world.trace(2, later(NOW, seconds=seconds)).de7 == "1126053340"
    assert ahead_seconds(2) == pytest.approx(3_590.0, abs=1.0)
    (told,) = caplog.records
    assert told.levelname == "ERROR"
    assert "shard 2 are numbered 3600 s ahead" in told.getMessage()
    assert world.trace(2, later(NOW, seconds=3_601.0)).de7 == "1126053341"
    assert ahead_seconds(2) == 0
    # The next time is another one.
    world.trace(2, NOW)
    assert len(caplog.records) == 2


def test_a_clock_that_is_set_back_a_little_is_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    world = Shards(4)
    world.trace(0, NOW)
    world.trace(0, later(NOW, seconds=-299.0))
    assert 298 < ahead_seconds(0) < 300
    assert not caplog.records


def test_more_shards_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="1296"):
        Shards(1_297).trace(0, NOW)


def test_an_authorization_has_its_amount_on_record_too() -> None:
    world = Shards(4)
    assert prepared(asked(data={}), world.numbers.lease(0, NOW)) == {
        "de7": "1126043340",
        "de11": "000001",
        "de37": "000000000000",
        "de4": "1999",
    }
    assert prepared(asked(CallKind.void, data={}), world.numbers.lease(0, NOW)).keys() == {"de7", "de11", "de37"}


@pytest.mark.parametrize("kind", [CallKind.authorize, CallKind.capture, CallKind.void])
def test_what_has_numbers_or_may_have_been_made_takes_none(kind: CallKind) -> None:
    world = Shards(4)
    for entry in (asked(kind), asked(kind, data={}, repeat=True), asked(kind, data={}, restored=True)):
        assert prepared(entry, world.numbers.lease(0, NOW)) == {}
    assert world.store.take_changes() == []
