"""What is made to be wrong in a seed's settlement files: chosen by chance among what the payments came to.

`choose` is pure: a seed and a log give the same adjustments. Each is about another Transaction, so that what a capture
must come to follows from one of them alone. Driven by `settling`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from tests.chaos.evidence import ISO8583, Adjustment, Leg, Step
from tests.chaos.merchants import HTTP

__all__ = ["choose"]

_OF_EACH = 2
_OTHER_CURRENCY = "eur"
_KINDS = ("fee", "refund", "chargeback")


def choose(seed: int, steps: Iterable[Step]) -> list[Adjustment]:
    """Adjustments to the files of both processors; fewer where there are not enough Transactions of a kind."""
    chance = random.Random(f"settlement-{seed}")
    last = {step.intent: step for step in steps}
    found: list[Adjustment] = []
    for processor in (HTTP, ISO8583):
        captured = [leg for leg in _captured(last.values()) if leg.processor == processor]
        chance.shuffle(captured)
        found.extend(_of_captures(chance, captured))
        never = [leg for leg in _never_captured(last.values()) if leg.processor == processor]
        chance.shuffle(never)
        found.extend(_added(processor, leg.id, amount=leg.amount) for leg in never[:_OF_EACH])
        nobody = f"tx_{chance.getrandbits(128):032x}"
        found.append(_added(processor, nobody, amount=chance.randint(1, 99_999)))
    return found


def _of_captures(chance: random.Random, captured: Sequence[Leg]) -> Iterator[Adjustment]:
    """`captured` are those of one processor, in any order: each is taken once."""
    left = iter(captured)
    for action in ("omit", "double", "change"):
        for _, leg in zip(range(_OF_EACH), left, strict=False):
            amount = leg.amount + chance.randint(1, 500) if action == "change" else None
            yield Adjustment(action=action, processor=leg.processor, reference=leg.id, amount=amount)
    for _, leg in zip(range(_OF_EACH), left, strict=False):
        yield Adjustment(action="change", processor=leg.processor, reference=leg.id, currency=_OTHER_CURRENCY)
    for kind, leg in zip(_KINDS, left, strict=False):
        # Captured and settled as it should be, and charged for or given back afterwards.
        amount = 0 if kind == "fee" else -leg.amount
        yield _added(leg.processor, leg.id, kind=kind, amount=amount)


def _added(processor: str, reference: str, *, amount: int, kind: str = "capture") -> Adjustment:
    return Adjustment(action="add", processor=processor, reference=reference, kind=kind, amount=amount, currency="usd")


def _captured(last: Iterable[Step]) -> list[Leg]:
    found = [leg for step in last for leg in step.legs if leg.type == "capture" and leg.status == "succeeded"]
    return sorted(found, key=lambda leg: leg.id)


def _never_captured(last: Iterable[Step]) -> list[Leg]:
    """Authorizations of payments that came to nothing, and will: a charge of these is one that we know nothing of."""
    ended = [step for step in last if step.status == "canceled" and step.received == 0]
    found = [leg for step in ended for leg in step.legs if leg.type == "authorization"]
    return sorted(found, key=lambda leg: leg.id)
