"""Plays one row: does what its steps say, in their order (`rows` has the language).

Driven by `playbill`, each row on a thread of its own. Every wait has an end; what came instead is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import httpx

from sandbox.card_network.booking import Status
from schemas.payment import PaymentEvent, PaymentIntent, PaymentIntentStatus, Transaction
from tests.harness.stack import wait_for
from tests.scenarios import crash
from tests.scenarios.rendezvous import Rendezvous
from tests.scenarios.rows import Phase, Row, shown
from tests.scenarios.stage import Stage
from tests.scenarios.steps import TOGETHER

__all__ = ["Player", "is_said"]

_PATIENCE_SECONDS = 45.0
_TOGETHER_SECONDS = 120.0
_STATUSES = frozenset(PaymentIntentStatus)
_DONE = (200, 201, 202)


class Player:
    """One row, being played. `may_go_on` is set when the next row may begin."""

    def __init__(
        self,
        row: Row,
        phase: Phase,
        stage: Stage,
        meetings: Mapping[str, Rendezvous],
        may_go_on: threading.Event,
    ) -> None:
        self.row = row
        self.phase = phase
        self.stage = stage
        self.may_go_on = may_go_on
        self._meetings = dict(meetings)
        self._shop = stage.shops[row.route]
        self._pids = stage.stack.processes
        self._create()

    def play(self) -> None:
        """Do all steps, and wait until the payment has ended as the row says."""
        try:
            for step in self.row.steps:
                self._do(step)
            self._end()
        finally:
            self.may_go_on.set()
            # Others must not wait for one that has failed.
            for meeting in self._meetings.values():
                meeting.leave()

    def events(self) -> Sequence[PaymentEvent]:
        """What the log has of the payment now."""
        return self.stage.log.of(self.intent)

    def state(self) -> PaymentIntent:
        """The payment as it stands in the log; it has been created."""
        return self.events()[-1].payment_intent

    def latest(self, kind: str) -> Transaction:
        """The latest Transaction of a type."""
        found = _latest(self.events(), kind)
        assert found is not None, f"there is no {kind}: {self._told()}"
        return found

    def _do(self, step: str) -> None:
        if step.startswith(TOGETHER):
            meeting = self._meetings.pop(step)
            action = step.removeprefix(TOGETHER)
            meeting.meet(lambda: self.stage.act(action, self.phase), within_seconds=_TOGETHER_SECONDS)
            return
        said, _, refusal = (part.strip() for part in step.partition("!"))
        verb, *words = said.split()
        verbs: Mapping[str, Callable[..., None]] = {
            "pay": self._pay,
            "capture": self._capture,
            "void": self._void,
            "cancel": self._cancel,
            "challenge": self._challenge,
        }
        if verb in verbs:
            verbs[verb](*words, refusal=refusal)
            return
        assert not refusal, step
        others: Mapping[str, Callable[..., None]] = {
            "until": self._until,
            "line": self._line,
            "resolve": self._resolve,
            "crash": lambda *_words: crash.arm(self.stage.directory / "crash", self.intent),
            "create": self._create,
            "rush": self._rush,
            "rest": lambda seconds: time.sleep(float(seconds)),
            "unsettled": self._unsettled,
            "next": self.may_go_on.set,
        }
        others[verb](*words)

    # Requests.

    def _create(self) -> None:
        self.intent = str(self._shop.create(self.row.amount, capture_method=self.row.capture_method)["id"])
        self._since = 0
        """The sequence at which the latest request was answered: what is waited for comes after it."""

    def _pay(self, card: str | None = None, *, refusal: str) -> None:
        self._transact({"payment_method": card or self.row.card}, refusal)

    def _capture(self, amount: str | None = None, *, refusal: str) -> None:
        self._transact({"type": "capture"} if amount is None else {"type": "capture", "amount": int(amount)}, refusal)

    def _void(self, *, refusal: str) -> None:
        self._transact({"type": "void"}, refusal)

    def _transact(self, body: Mapping[str, object], refusal: str) -> None:
        self._answered(self._shop.post(f"/paymentIntent/{self.intent}/transaction", body), refusal)

    def _cancel(self, *, refusal: str) -> None:
        self._answered(self._shop.post(f"/paymentIntent/{self.intent}/cancel", {}), refusal)

    def _answered(self, answer: httpx.Response, refusal: str) -> None:
        if refusal:
            told = answer.json().get("code")
            assert answer.status_code not in _DONE, f"carried out, and was to be refused ({refusal}): {answer.text}"
            assert told == refusal, f"refused by {told}, not by {refusal}"
        else:
            assert answer.status_code in _DONE, f"{answer.status_code} {answer.text}"
            told = answer.json()
            told = told.get("payment_intent", told)
            if isinstance(told, dict):
                self._since = int(told.get("sequence", self._since))

    def _challenge(self, outcome: str, *, refusal: str) -> None:
        action = next(e.payment_intent.next_action for e in self.events() if e.payment_intent.next_action is not None)
        answer = httpx.post(action.url, data={"outcome": outcome}, timeout=30)
        assert answer.status_code == int(refusal or 200), f"{answer.status_code} of {action.url}"

    # Waits.

    def _until(self, *words: str) -> None:
        match words:
            case ("booked", *declined, kind):
                self._wait_for(lambda: self._booked(kind) is not None, what=f"the network's booking of the {kind}")
                # Not waited for: what was booked otherwise stays so.
                assert not declined or self._booked(kind) is Status.declined, f"the network approved the {kind}"
            case ("not_found", kind):
                self._wait_for_event(lambda event: _was_not_found(_latest([event], kind)), what=f"a {kind} not found")
            case ("said", name):
                self._wait_in_log(lambda events: any(is_said(name, event) for event in events), what=f"word of {name}")
            case ("breaker", "open"):
                processor = self.row.route.partition(",")[0]
                self._wait_for(lambda: self.stage.is_breaker_open(processor), what="the open breaker")
            case ("restarted", name):
                self.stage.stack.wait_for_restart(name, former_pid=self._pids[name], within_seconds=_PATIENCE_SECONDS)
            case (status,):
                assert status in _STATUSES, status
                self._wait_for_event(lambda event: event.payment_intent.status == status, what=status)
            case (kind, status):
                self._wait_for_event(lambda event: _stands(_latest([event], kind), status), what=f"{kind} {status}")
            case _:
                raise AssertionError(f"until {words}")

    def _wait_for_event(self, holds: Callable[[PaymentEvent], bool], *, what: str) -> None:
        """Wait until this holds of an event since the latest request, even if it holds no more."""
        since = self._since
        self._wait_in_log(lambda events: any(holds(event) for event in events[max(since - 1, 0) :]), what=what)

    def _wait_in_log(self, holds: Callable[[Sequence[PaymentEvent]], bool], *, what: str) -> None:
        def in_time(events: Sequence[PaymentEvent]) -> bool:
            return bool(events) and holds(events)

        if not self.stage.log.wait_until(self.intent, in_time, within_seconds=_PATIENCE_SECONDS):
            raise AssertionError(f"{what} did not come within {_PATIENCE_SECONDS:.0f} s: {self._told()}")

    def _wait_for(self, condition: Callable[[], bool], *, what: str) -> None:
        wait_for(condition, what=what, within_seconds=_PATIENCE_SECONDS)

    def _booked(self, kind: str) -> Status | None:
        """As what the network has the latest Transaction of that type in its books; it may not be in the log yet."""
        known = _latest(self.events(), kind)
        if known is None:
            return None
        return next((booked.status for booked in self.stage.ledger() if booked.reference == known.id), None)

    def _end(self) -> None:
        """Wait until the payment has ended as the row says; it is told how it ended instead."""

        def ended(events: Sequence[PaymentEvent]) -> bool:
            intent = events[-1].payment_intent
            return intent.status == self.row.status and _history(intent) == self.row.history

        self._wait_in_log(ended, what=f"{', '.join(self.row.history) or 'nothing'}; {self.row.status}")

    def _told(self) -> str:
        """How the payment stands, and what led there, for whoever reads of a failure."""
        events = self.events()
        if not events:
            return "nothing is in the log"
        intent = events[-1].payment_intent
        steps = ", ".join(f"{event.type} by {event.actor.type} {event.actor.id}" for event in events)
        return f"{self.intent} is {intent.status} with {_history(intent)}, after {steps}"

    # What others do.

    def _line(self, action: str, *words: str) -> None:
        """An order about the payment's capture, or about what is named; without a Transaction if that is `none`."""
        kind = "capture"
        if words[:1] == ("of",):
            kind, words = words[1], words[2:]
        pairs = [word.partition("=") for word in words]
        fields: dict[str, object] = {
            name: int(value) if name.endswith("_minor") else value for name, _equals, value in pairs
        }
        if kind != "none":
            fields["reference"] = self.latest(kind).id
        order = {"processor": self.row.route.partition(",")[0], "action": action, **fields}
        self.stage.order_line(self.phase, order)

    def _resolve(self, kind: str, outcome: str) -> None:
        # A fresh read: from then on the read model has all that the operator needs to see.
        self._shop.status(self.intent)
        word = ("--outcome", outcome, "--evidence", "their books, by telephone", "--operator", "ada", "--yes")
        self.stage.operate("reconcile", "resolve", self.latest(kind).id, *word)

    def _unsettled(self, seconds: str) -> None:
        """Nothing is known of a settlement, and nothing comes for so long."""
        deadline = time.monotonic() + float(seconds)
        while time.monotonic() < deadline:
            told = self._shop.status(self.intent)["transactions"]
            assert not [one for one in told if one["type"] == "settlement"], f"settled before its time: {told}"
            time.sleep(1)

    def _rush(self, payments: str) -> None:
        """Other payments of the same merchant, all begun at once and not waited for."""

        def pay(_number: int) -> None:
            intent = self._shop.create()["id"]
            self._answered(self._shop.pay(intent, wait=None), "")

        list(self.stage.pool.map(pay, range(int(payments))))


def _latest(events: Sequence[PaymentEvent], kind: str) -> Transaction | None:
    if not events:
        return None
    found = [one for one in events[-1].payment_intent.transactions if one.type == kind]
    return found[-1] if found else None


def _stands(transaction: Transaction | None, status: str) -> bool:
    return transaction is not None and transaction.status == status


def _was_not_found(transaction: Transaction | None) -> bool:
    return transaction is not None and transaction.lookups_not_found > 0


def _history(intent: PaymentIntent) -> tuple[str, ...]:
    return tuple(shown(one) for one in intent.transactions)


def is_said(name: str, event: PaymentEvent) -> bool:
    """Whether an event is of that type, or was caused by that timer or person."""
    return name in (event.type, event.actor.id)
