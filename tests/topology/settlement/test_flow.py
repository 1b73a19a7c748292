"""The settlement flow on the test driver, with a judge that answers when the test tells it to; crashes everywhere."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.operations import DeadLetter
from schemas.partitioner import partition
from schemas.payment import TransactionStatus
from schemas.settlement import Capture, Settlement, SettlementLine
from schemas.times import Micros
from schemas.topics import CAPTURES, DEAD_LETTERS, PROCESSOR_RESULTS, SETTLEMENT_LINES, SETTLEMENTS
from tests.topology.settlement.rig import DAY, KEY, Rig
from tests.topology.settlement.script import INTENT, START, TRANSACTION, capture, line
from topology.kafka import Received
from topology.settling import side

IN_DOUBT = TransactionStatus.pending


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_line_settles_a_capture_and_both_are_forgotten(rig: Rig) -> None:
    rig.capture()
    assert rig.driver.state(KEY).capture == capture()
    rig.line()
    assert rig.driver.state(KEY) is None
    ((number, key, _value),) = rig.driver.log[SETTLEMENTS.name]
    assert (key, number) == (INTENT, partition(INTENT, 4))
    (settlement,) = rig.driver.read(SETTLEMENTS)
    assert settlement == Settlement(
        payment_intent_id=INTENT,
        transaction_id=TRANSACTION,
        processor="cardnet",
        processor_reference="cn_1",
        outcome="settled",
        settlement_date=20_717,
        line=line(),
        at=START,
        capture_amount_minor=1_000,
        capture_currency="usd",
        reference=TRANSACTION,
    )


def test_a_line_of_nothing_is_kept_under_its_reference(rig: Rig) -> None:
    rig.line(line(reference=None))
    rig.known("nothing")
    ((number, key, _value),) = rig.driver.log[SETTLEMENTS.name]
    assert (key, number) == ("unmatched:cn_1", partition("unmatched:cn_1", 4))
    assert rig.outcomes() == ["missing_here"]


def test_a_line_decides_a_doubt_on_the_intents_partition(rig: Rig) -> None:
    rig.capture(IN_DOUBT)
    rig.line()
    ((number, key, _value),) = rig.driver.log[PROCESSOR_RESULTS.name]
    assert (key, number) == (INTENT, partition(INTENT, 4))
    assert rig.outcomes() == []
    rig.capture()
    assert rig.outcomes() == ["settled"]


def test_a_whole_file_comes_in_one_epoch(rig: Rig) -> None:
    others = [replace(capture(), transaction_id=f"tx_{number:032x}") for number in range(50)]
    rig.driver.pipe(CAPTURES, *others)
    rig.driver.pipe(
        SETTLEMENT_LINES, *[line(number + 1, reference=f"tx_{number:032x}") for number in range(50)], line(51)
    )
    assert rig.outcomes() == ["settled"] * 50
    assert [question.key for question in rig.judge.asked] == [KEY]


class TestWindows:
    def test_its_end_is_no_earlier_than_the_grace(self, rig: Rig) -> None:
        rig.capture()
        rig.driver.advance(3 * DAY)
        assert not rig.judge.asked
        # Monday's window ends at midnight; Tuesday, Wednesday and Thursday are the grace.
        rig.driver.advance(DAY - (14 * 3_600 + 13 * 60 + 20) + 0.001)
        assert [question.asked.settlement_id for question in rig.judge.asked] == [None]
        rig.known("captured")
        assert rig.outcomes() == ["missing_at_processor"]
        assert rig.driver.state(KEY) is None

    def test_it_is_asked_about_once(self, rig: Rig) -> None:
        rig.capture()
        rig.driver.advance(10 * DAY)
        for _ in range(3):
            rig.driver.advance(1.0)
        assert len(rig.judge.asked) == 1
        assert rig.gauge("paystream_open_captures") == 1

    def test_with_the_read_model_away_nothing_is_missing(self, rig: Rig) -> None:
        rig.capture()
        rig.driver.advance(30 * DAY)
        assert rig.outcomes() == []
        rig.line()
        assert rig.outcomes() == ["settled"]

    def test_a_late_line_after_it_settles(self, rig: Rig) -> None:
        rig.capture()
        rig.driver.advance(10 * DAY)
        rig.known("captured")
        rig.line()
        rig.known("missed")
        assert rig.outcomes() == ["missing_at_processor", "settled"]

    def test_a_doubt_that_is_resolved_has_a_window_of_its_own(self, rig: Rig) -> None:
        rig.capture(IN_DOUBT)
        rig.driver.advance(2 * DAY)
        rig.capture()
        rig.driver.advance(3 * DAY)
        assert not rig.judge.asked
        rig.driver.advance(4 * DAY)
        assert len(rig.judge.asked) == 1


class TestCrashes:
    def test_a_capture_waits_on(self, rig: Rig) -> None:
        rig.capture()
        rig.restart()
        rig.line()
        assert rig.outcomes() == ["settled"]

    def test_its_window_ends_all_the_same(self, rig: Rig) -> None:
        rig.capture()
        rig.restart()
        rig.driver.advance(10 * DAY)
        assert len(rig.judge.asked) == 1
        rig.restart()
        rig.driver.settle()
        assert len(rig.judge.asked) == 1, "asked again by whoever took over"
        rig.known("captured")
        assert rig.outcomes() == ["missing_at_processor"]

    def test_a_line_asks_again(self, rig: Rig) -> None:
        rig.line()
        rig.restart()
        assert len(rig.judge.asked) == 1
        rig.known("missed")
        assert rig.outcomes() == ["settled"]

    def test_an_answer_that_was_lost_is_asked_for_again(self, rig: Rig) -> None:
        rig.line()
        rig.known("nothing", lost=True)
        assert rig.outcomes() == []
        rig.driver.settle()
        rig.known("nothing")
        assert rig.outcomes() == ["missing_here"]

    def test_an_epoch_that_was_lost_leaves_nothing(self, rig: Rig) -> None:
        rig.capture()
        rig.line(lost=True)
        assert rig.outcomes() == []
        rig.line()
        assert rig.outcomes() == ["settled"]

    def test_a_question_is_asked_of_what_has_committed_only(self, rig: Rig) -> None:
        rig.line(lost=True)
        assert not rig.judge.asked

    def test_a_line_that_decided_a_doubt_waits_for_its_end(self, rig: Rig) -> None:
        rig.capture(IN_DOUBT)
        rig.line()
        rig.restart()
        assert len(rig.judge.asked) == 1
        rig.capture()
        assert rig.outcomes() == ["settled"]
        assert len(rig.results()) == 1

    def test_what_waits_is_counted_after_a_restart(self, rig: Rig) -> None:
        rig.capture()
        rig.driver.advance(3_600)
        rig.restart()
        rig.driver.settle()
        assert rig.gauge("paystream_open_captures") == 1
        assert rig.gauge("paystream_oldest_open_capture_seconds") == 3_600
        rig.line()
        rig.driver.settle()
        assert rig.gauge("paystream_open_captures") == 0


def test_after_a_stop_nothing_is_asked(rig: Rig) -> None:
    rig.side.stop()
    rig.line()
    assert not rig.judge.asked
    assert rig.side.idle()


class TestManyQuestions:
    """With the read model away a whole file may wait: of most lines no more than the key is kept beside the store."""

    LINES = tuple(line(number, reference=f"tx_{number:032x}") for number in range(1, 8))

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(side, "_QUESTIONS_MAX", 3)

    @pytest.mark.parametrize("restarts", [False, True])
    def test_lines_are_asked_about_in_their_turn(self, rig: Rig, restarts: bool) -> None:
        rig.line(*self.LINES)
        if restarts:
            rig.restart()
        asked = set[str]()
        for _ in self.LINES:
            assert len(rig.judge.asked) <= 3
            assert rig.gauge("paystream_settlement_questions_waiting") <= len(self.LINES)
            asked.add(rig.judge.asked[0].key)
            rig.known("nothing")
            rig.driver.settle()
        assert rig.outcomes() == ["missing_here"] * len(self.LINES)
        assert len(asked) == len(self.LINES)
        assert not rig.judge.asked
        assert rig.gauge("paystream_settlement_questions_waiting") == 0

    def test_a_line_that_found_its_capture_meanwhile_is_not_asked_about(self, rig: Rig) -> None:
        rig.line(*self.LINES)
        rig.driver.pipe(CAPTURES, *[replace(capture(), transaction_id=each.reference) for each in self.LINES[3:]])
        assert rig.outcomes() == ["settled"] * 4
        for _ in range(3):
            rig.known("nothing")
            rig.driver.settle()
        assert rig.outcomes() == ["missing_here"] * 3
        assert not rig.judge.asked

    def test_windows_that_end_together_are_asked_about_in_parts(self, rig: Rig) -> None:
        rig.driver.pipe(CAPTURES, *[replace(capture(), transaction_id=each.reference) for each in self.LINES])
        rig.line(*(line(number, reference=f"tx_9{number:031x}") for number in range(1, 4)))
        rig.driver.advance(10 * DAY)
        assert [question.asked.settlement_id is None for question in rig.judge.asked] == [False] * 3
        for _ in range(3):
            rig.known("nothing")
        for _ in range(2):
            rig.driver.settle()
        assert len(rig.judge.asked) == len(self.LINES)
        for _ in self.LINES:
            rig.known("captured")
        assert rig.outcomes() == ["missing_here"] * 3 + ["missing_at_processor"] * 7


def test_lines_that_wait_for_the_read_model_are_counted(rig: Rig) -> None:
    rig.line()
    rig.driver.settle()
    assert rig.gauge("paystream_settlement_questions_waiting") == 1


@pytest.mark.parametrize(
    ("record", "key", "cause"),
    [
        (capture(), "cardnet:tx_other", "key_mismatch"),
        (line(), "othernet:" + TRANSACTION, "key_mismatch"),
        (capture(at=Micros(-1)), KEY, "invalid_capture"),
        (capture(at=Micros(2**62)), KEY, "invalid_capture"),
    ],
)
def test_what_no_correct_writer_wrote_is_set_aside(
    rig: Rig, record: Capture | SettlementLine, key: str, cause: str
) -> None:
    topic = CAPTURES if isinstance(record, Capture) else SETTLEMENT_LINES
    rig.driver._run([(key, Received(key, topic.name, partition(key, 4), 0, record, b"raw"))], lost=False)
    (letter,) = rig.driver.read(DEAD_LETTERS)
    assert isinstance(letter, DeadLetter)
    assert (letter.cause, letter.flow) == (cause, "settlement")
    assert rig.driver.state(key) is None
