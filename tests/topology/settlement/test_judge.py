"""The judge: asks what may be asked, in batches, off the dataflow's thread; waits while the read model is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from schemas.times import Micros, later
from sinks.postgres import Asked, Finding, ReadModelUnavailable
from tests.harness.driver import FakeClock
from topology.settling import judge as judging
from topology.settling.findings import Judged, Question
from topology.settling.judge import ReadModelJudge

NOW = Micros(1_790_000_000_000_000)


class Reader:
    """A read model that has come as far as it is told."""

    def __init__(self) -> None:
        self.at: Micros | None = later(NOW, seconds=3_600)
        self.failure: Exception | None = None
        self.asked: list[list[str]] = []
        self.threads: set[str] = set()
        self.closed = 0

    def watermark(self, *, partitions: int) -> Micros | None:
        assert partitions == 4
        if self.failure is not None:
            raise self.failure
        return self.at

    def find(self, asked: Sequence[Asked]) -> list[Finding]:
        self.threads.add(threading.current_thread().name)
        self.asked.append([each.reference for each in asked])
        return [Finding(line_is_judged=each.reference.endswith("7")) for each in asked]

    def close(self) -> None:
        self.closed += 1


def question(number: int) -> Question:
    asked = Asked(processor="cardnet", reference=f"tx_{number}")
    return Question(key=f"cardnet:tx_{number}", partition=number % 4, asked=asked, due_at=Micros(number))


@pytest.fixture(autouse=True)
def without_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_ASK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(judging, "_RETRY_SECONDS", 0.01)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def judge(reader: Reader, clock: FakeClock) -> Iterator[ReadModelJudge]:
    judge = ReadModelJudge(reader, partitions=4, wall=clock)
    judge.start()
    yield judge
    judge.close()


def within_a_second(condition: Callable[[], object]) -> bool:
    until = time.monotonic() + 1.0
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return bool(condition())


def taken(judge: ReadModelJudge, count: int) -> list[tuple[Question, Judged]]:
    answers: list[tuple[Question, Judged]] = []

    def take() -> bool:
        answers.extend(judge.take(100))
        return len(answers) >= count

    assert within_a_second(take), answers
    return answers


def test_questions_are_answered_in_their_order_on_a_thread_of_its_own(judge: ReadModelJudge, reader: Reader) -> None:
    questions = [question(number) for number in range(10)]
    judge.submit(questions)
    answers = taken(judge, 10)
    assert [asked for asked, _judged in answers] == questions
    assert [judged.finding.line_is_judged for _asked, judged in answers] == [number == 7 for number in range(10)]
    assert [judged.due_at for _asked, judged in answers] == list(range(10))
    assert reader.threads == {"settlement-judge"}


def test_many_are_asked_in_batches(judge: ReadModelJudge, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_BATCH", 4)
    reader.at = None
    judge.submit([question(number) for number in range(10)])
    reader.at = later(NOW, seconds=3_600)
    taken(judge, 10)
    assert [len(batch) for batch in reader.asked] == [4, 4, 2]


def test_nothing_is_asked_before_the_read_model_has_come_past_the_question(
    judge: ReadModelJudge, reader: Reader, clock: FakeClock
) -> None:
    reader.at = later(NOW, seconds=10)
    judge.submit([question(1)])
    clock.advance(60)
    judge.submit([question(2)])
    assert [asked.key for asked, _judged in taken(judge, 1)] == ["cardnet:tx_1"]
    time.sleep(0.05)
    assert (judge.take(10), judge.waiting()) == ([], 1)
    reader.at = later(NOW, seconds=100)
    assert [asked.key for asked, _judged in taken(judge, 1)] == ["cardnet:tx_2"]


def test_a_clock_that_was_set_back_mixes_nothing_up(judge: ReadModelJudge, reader: Reader, clock: FakeClock) -> None:
    reader.at = later(NOW, seconds=10)
    clock.advance(60)
    judge.submit([question(1)])
    clock.advance(-60)
    judge.submit([question(2)])
    time.sleep(0.05)
    assert (judge.take(10), judge.waiting()) == ([], 2)
    reader.at = later(NOW, seconds=100)
    assert [asked.key for asked, _judged in taken(judge, 2)] == ["cardnet:tx_1", "cardnet:tx_2"]


def test_the_clocks_may_be_a_little_apart(judge: ReadModelJudge, reader: Reader) -> None:
    reader.at = later(NOW, seconds=1.0)
    judge.submit([question(1)])
    time.sleep(0.05)
    assert judge.take(1) == []


def test_a_read_model_that_has_not_begun_is_waited_for(judge: ReadModelJudge, reader: Reader) -> None:
    reader.at = None
    judge.submit([question(1)])
    time.sleep(0.05)
    assert judge.take(1) == []
    reader.at = later(NOW, seconds=3_600)
    taken(judge, 1)


def test_questions_wait_while_the_read_model_is_away(judge: ReadModelJudge, reader: Reader) -> None:
    reader.failure = ReadModelUnavailable("away")
    judge.submit([question(1), question(2)])
    time.sleep(0.05)
    assert (judge.take(2), judge.waiting()) == ([], 2)
    reader.failure = None
    assert len(taken(judge, 2)) == 2


def test_a_bug_in_it_ends_the_process_that_waits_for_it(judge: ReadModelJudge, reader: Reader) -> None:
    reader.failure = ZeroDivisionError("a bug")
    judge.submit([question(1)])

    def has_died() -> bool:
        try:
            judge.take(1)
        except RuntimeError:
            return True
        return False

    assert within_a_second(has_died)


def test_it_can_be_started_again_and_has_forgotten_what_it_was_asked(judge: ReadModelJudge, reader: Reader) -> None:
    reader.at = None
    judge.submit([question(1)])
    judge.close()
    assert reader.closed == 1
    reader.at = later(NOW, seconds=3_600)
    judge.start()
    judge.submit([question(2)])
    assert [asked.key for asked, _judged in taken(judge, 1)] == ["cardnet:tx_2"]


def test_a_thread_that_did_not_end_in_time_ends_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not as a second one that asks on the connection of the next."""
    monkeypatch.setattr(judging, "_END_SECONDS_MAX", 0.01)
    released = threading.Event()

    class Slow(Reader):
        def find(self, asked: Sequence[Asked]) -> list[Finding]:
            released.wait(5.0)
            return super().find(asked)

    judge = ReadModelJudge(Slow(), partitions=4, wall=FakeClock(NOW))
    judge.start()
    judge.submit([question(1)])
    (before,) = _threads()
    time.sleep(0.05)
    judge.close()
    assert before.is_alive()
    judge.start()
    released.set()
    before.join(1.0)
    assert not before.is_alive()
    assert len(_threads()) == 1
    assert judge.take(10) == []
    monkeypatch.setattr(judging, "_END_SECONDS_MAX", 5.0)
    judge.close()


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "settlement-judge"]
