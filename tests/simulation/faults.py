"""Single deliberate faults, one a function, that the simulation has to find: in domain, sides, forgetting and log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from msgspec import structs

from schemas.processing import CallKind, Outcome
from schemas.times import Micros
from tests.simulation.log import Change, SimulatedLog
from tests.simulation.process import Process
from topology import payments
from topology.calls import entries, in_flight
from topology.calls.side import ProcessingSide
from topology.domain import decide, interpreter, results_of_authorizations, results_of_captures, timers
from topology.domain.decision import Decision
from topology.domain.findings import Finding, nothing_decided
from topology.domain.transitions import TABLE, On
from topology.forgetting import Forgetting
from topology.kafka import Produce
from topology.pending.side import ReconciliationSide
from topology.pending.watch import Watch

__all__ = ["FAULTS", "Fault"]

Fault = Callable[[pytest.MonkeyPatch], None]
_NOW_AND_THEN = 12


FAULTS: dict[str, Fault] = {}
"""By what each of them does."""


def _fault(fault: Fault) -> Fault:
    FAULTS[fault.__name__.removeprefix("_").replace("_", " ")] = fault
    return fault


# In the domain.


@_fault
def _an_approval_while_it_is_voided_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(results_of_authorizations, "resolving_void", lambda *_: None)


@_fault
def _not_found_is_believed(patch: pytest.MonkeyPatch) -> None:
    honest = results_of_authorizations._in_doubt

    def believing(authorization: Any, result: Any) -> Finding | Decision:
        if result.outcome is Outcome.not_found:
            return Finding(on=On.authorization_declined, transaction=authorization)
        return honest(authorization, result)

    patch.setattr(results_of_authorizations, "_in_doubt", believing)


@_fault
def _a_capture_in_doubt_has_failed(patch: pytest.MonkeyPatch) -> None:
    honest = nothing_decided

    def hasty(capture: Any, result: Any, unknown: On) -> Finding | Decision:
        if result.outcome is Outcome.unknown:
            return Finding(on=On.capture_failed_manual, transaction=capture)
        return honest(capture, result, unknown)

    patch.setattr(results_of_captures, "nothing_decided", hasty)


@_fault
def _the_sequence_stands_still(patch: pytest.MonkeyPatch) -> None:
    module = import_module("topology.domain.evolve")
    honest = module.evolve

    def still(intent: Any, change: Any) -> Any:
        after = honest(intent, change)
        return structs.replace(after, sequence=intent.sequence) if change.type == "transaction.noted" else after

    patch.setattr(module, "evolve", still)


@_fault
def _another_amount_is_not_voided(patch: pytest.MonkeyPatch) -> None:
    _without_void(patch, On.amount_not_approved)


@_fault
def _a_hold_that_could_not_be_voided_is_left(patch: pytest.MonkeyPatch) -> None:
    _without_void(patch, On.void_failed_amount)


@_fault
def _the_challenge_never_times_out(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(timers._READERS, "challenge_timeout", lambda *_: None)


def _without_void(patch: pytest.MonkeyPatch, on: On) -> None:
    table = {key: replace(row, opens=None) if key[1] is on else row for key, row in TABLE.items()}
    patch.setattr(interpreter, "TABLE", table)


# In forgetting.


@_fault
def _what_was_forgotten_is_made_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(payments, "decide", lambda intent, given, **_: decide(intent, given))


@_fault
def _what_was_not_seen_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    honest = Forgetting._forget

    def hasty(self: Forgetting, shard: int) -> None:
        self._resting[shard].update(dict.fromkeys(self._resting[shard], Micros(0)))
        honest(self, shard)

    patch.setattr(Forgetting, "_forget", hasty)


# In processing and reconciliation.


@_fault
def _a_call_in_doubt_is_repeated_anywhere(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ProcessingSide, "_why_not_again", lambda *_: None)
    patch.setattr(entries, "may_repeat", lambda *_, **__: True)


@_fault
def _not_sent_is_said_of_a_restored_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(in_flight, "may_have_been_called", lambda call: call.repeat)


@_fault
def _the_unknown_is_tried_again(patch: pytest.MonkeyPatch) -> None:
    honest = entries.Entries.answered

    def blind(self: entries.Entries, answered: entries.Answered) -> None:
        call = self._calls.get(answered.transaction_id)
        if call is None or answered.answer.outcome is not Outcome.unknown:
            honest(self, answered)
            return
        self._wait(call)
        self._slots.retry(call.processor, self._waiter(call))

    patch.setattr(entries.Entries, "answered", blind)


@_fault
def _a_call_leaves_before_its_entry_stands(patch: pytest.MonkeyPatch) -> None:
    honest = Process.begin

    def hasty(self: Process, *given: Any) -> bool:
        begun = honest(self, *given)
        if self._open is not None and isinstance(self.side, ProcessingSide):
            self.side.committed(self._open.effects)
            self._open.effects.clear()
        return begun

    patch.setattr(Process, "begin", hasty)


@_fault
def _captures_are_repeated_anywhere(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Watch, "_may_repeat", lambda _self, lookup: lookup.call is CallKind.capture)
    patch.setattr(entries, "may_repeat", lambda *_, **__: True)


@_fault
def _a_look_up_dies_with_its_process(patch: pytest.MonkeyPatch) -> None:
    honest = ReconciliationSide._go_through

    def forgetful(self: ReconciliationSide, key: str) -> None:
        honest(self, key)
        self._waiting.clear()

    patch.setattr(ReconciliationSide, "_go_through", forgetful)


@_fault
def _a_repeat_is_not_called(patch: pytest.MonkeyPatch) -> None:
    patch.delitem(in_flight._ASKING, "transaction.repeated")


# In the log.


@_fault
def _a_change_of_state_is_lost(patch: pytest.MonkeyPatch) -> None:
    honest = SimulatedLog._change

    def losing(self: SimulatedLog, changelog: Any, changes: Sequence[Change], at: Any) -> None:
        honest(self, changelog, changes if at % _NOW_AND_THEN else changes[:-1], at)

    patch.setattr(SimulatedLog, "_change", losing)


@_fault
def _messages_are_lost_and_offsets_stand(patch: pytest.MonkeyPatch) -> None:
    honest = SimulatedLog._write

    def losing(self: SimulatedLog, messages: Sequence[Produce], at: Any) -> None:
        honest(self, messages if at % _NOW_AND_THEN else [], at)

    patch.setattr(SimulatedLog, "_write", losing)


@_fault
def _offsets_are_lost_and_messages_stand(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedLog, "_move", lambda *_: None)


@_fault
def _what_is_told_does_not_stand(patch: pytest.MonkeyPatch) -> None:
    """The fold tells of an epoch whose transaction was aborted."""
    honest = SimulatedLog.commit

    def aborting(self: SimulatedLog, group: str, *, at: Any, **more: Any) -> None:
        if group != "payments" or at % _NOW_AND_THEN:
            honest(self, group, at=at, **more)

    patch.setattr(SimulatedLog, "commit", aborting)
