"""A little card network: what it has booked is the truth that a payment has to end in.

It answers the same call under the same reference as before (a void that it refused it looks at again), and it may
remember the void of an authorization that it has not seen, or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from schemas.identifiers import TransactionId
from schemas.processing import AuthorizationState, CallKind, Outcome


class Hold(StrEnum):
    """What has become of an authorization at the network."""

    none = "none"
    challenged = "challenged"
    standing = "standing"
    captured = "captured"
    voided = "voided"
    lapsed = "lapsed"


@dataclass(frozen=True)
class Call:
    """A call under way: what is asked of which processor, and about which authorization."""

    kind: CallKind
    transaction_id: TransactionId
    processor: str
    authorization_id: TransactionId
    amount_minor: int


@dataclass(frozen=True)
class Answer:
    """What the network says."""

    outcome: Outcome
    state: AuthorizationState | None = None
    amount_minor: int | None = None
    code: str | None = None


APPROVED, DECLINED = Answer(Outcome.approved), Answer(Outcome.declined)
REFUSED = replace(DECLINED, state=AuthorizationState.open)
_STATE_OF = {
    Hold.none: AuthorizationState.gone,
    Hold.challenged: AuthorizationState.gone,
    Hold.voided: AuthorizationState.gone,
    Hold.lapsed: AuthorizationState.gone,
    Hold.captured: AuthorizationState.captured,
    Hold.standing: AuthorizationState.open,
}


@dataclass
class Network:
    """The books of all processors, by processor and reference."""

    remembers_voids: bool
    answers: dict[tuple[str, TransactionId], Answer] = field(default_factory=dict)
    holds: dict[tuple[str, TransactionId], Hold] = field(default_factory=dict)
    held_minor: dict[tuple[str, TransactionId], int] = field(default_factory=dict)
    captured_minor: dict[tuple[str, TransactionId], int] = field(default_factory=dict)
    voided_unseen: set[tuple[str, TransactionId]] = field(default_factory=set)

    def carry_out(self, call: Call, whim: Answer) -> Answer:
        """Answer a call; the `whim` is what the network does where it is free to do this or that."""
        key = (call.processor, call.transaction_id)
        known = self.answers.get(key)
        if known is not None and not (call.kind is CallKind.void and known == REFUSED):
            return known
        answer = {
            CallKind.authorize: self._authorize,
            CallKind.capture: self._capture,
            CallKind.void: self._void,
        }[call.kind](call, whim)
        self.answers[key] = answer
        return answer

    def _authorize(self, call: Call, whim: Answer) -> Answer:
        key = (call.processor, call.transaction_id)
        if key in self.voided_unseen:
            self.holds[key] = Hold.none
            return replace(DECLINED, code="voided_before_arrival")
        held = {Outcome.approved: Hold.standing, Outcome.challenge: Hold.challenged}
        self.holds[key] = held.get(whim.outcome, Hold.none)
        self.held_minor[key] = call.amount_minor if whim.amount_minor is None else whim.amount_minor
        return whim

    def _capture(self, call: Call, whim: Answer) -> Answer:
        key = (call.processor, call.authorization_id)
        hold = self.holds.get(key, Hold.none)
        if hold is not Hold.standing:
            return replace(DECLINED, state=_STATE_OF[hold])
        # That a void was refused tells that something stands, not how much: no more is given than is held.
        if whim.outcome is not Outcome.approved or call.amount_minor > self.held_minor[key]:
            return REFUSED
        self.holds[key] = Hold.captured
        self.captured_minor[key] = call.amount_minor
        return APPROVED

    def _void(self, call: Call, whim: Answer) -> Answer:
        key = (call.processor, call.authorization_id)
        hold = self.holds.get(key)
        if hold is None:
            if self.remembers_voids:
                self.voided_unseen.add(key)
            return APPROVED
        if hold is Hold.captured:
            return replace(DECLINED, state=AuthorizationState.captured)
        if hold is Hold.standing and whim.outcome is not Outcome.approved:
            return REFUSED
        if hold in (Hold.standing, Hold.challenged):
            self.holds[key] = Hold.voided
            return APPROVED
        return APPROVED if whim.outcome is Outcome.approved else replace(DECLINED, state=AuthorizationState.gone)

    def customer_ends_challenge(self, key: tuple[str, TransactionId], *, passed: bool) -> None:
        """The customer passes the challenge, or fails it; nothing happens where it is not open any more."""
        if self.holds.get(key) is Hold.challenged:
            self.holds[key] = Hold.standing if passed else Hold.none
            self.answers[key] = APPROVED if passed else DECLINED

    def hold_ends(self, authorization_id: TransactionId) -> None:
        """The longest hold is over: nothing stands any more, and nothing will be let in."""
        for processor in ("a", "b"):
            key = (processor, authorization_id)
            hold = self.holds.get(key)
            if hold is None:
                self.voided_unseen.add(key)
            elif hold in (Hold.standing, Hold.challenged):
                self.holds[key] = Hold.lapsed

    def look_up(self, key: tuple[str, TransactionId]) -> Answer:
        """What was answered, or would have been."""
        return self.answers.get(key, Answer(Outcome.not_found))
