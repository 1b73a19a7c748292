"""What the fold forgets (DESIGN.md section 5): final PaymentIntents that whoever creates them again must have seen.

A create says up to when its id was absent from the read model. Each shard keeps how far it has forgotten: the latest of
these moments, less a slack. A final intent that rests since before then is forgotten by a tombstone, and a create that
was looked up before then is refused, so that no id is ever given out twice. How far it has forgotten is a record of the
shard's changelog, and commits with the tombstones.

When an intent came to rest is taken too late rather than too early: by this machine's clock, by the latest watermark,
or by the newest record of the restore, whichever is latest, and a tenth of the slack later than that. By this tenth the
broker's clock may be ahead, and its record of the last event later than the decision. Driven by `topology.payments`;
one for each run of the flow.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict

from prometheus_client import Counter

from schemas.codec import encode
from schemas.operations import Forgotten
from schemas.partitioner import partition
from schemas.payment import PaymentIntent, PaymentIntentStatus
from schemas.times import Micros, later
from topology.kafka import Clock, StateStore

__all__ = ["Forgetting", "is_at_rest"]

_FINAL = frozenset({PaymentIntentStatus.succeeded, PaymentIntentStatus.canceled})
_PREFIX = "forgotten-"
# A watermark that moved by less is not worth a record.
_STEP_SECONDS = 1.0
# More than come to rest for one that is created, so that it catches up; few enough to hold up no epoch.
_TOMBSTONES_PER_CREATE_MAX = 20

FORGOTTEN = Counter("paystream_payments_forgotten_total", "Final PaymentIntents that left the fold's memory.")


def is_at_rest(intent: PaymentIntent) -> bool:
    """Whether nothing more is expected: final, and no Transaction open."""
    return intent.status in _FINAL and all(one.completed_at is not None for one in intent.transactions)


class Forgetting:
    """How far each shard has forgotten, and which intents may be next."""

    def __init__(self, store: StateStore, *, partitions: int, clock: Clock, slack_seconds: float) -> None:
        self._store = store
        self._partitions = partitions
        self._clock = clock
        self._slack_seconds = slack_seconds
        self._margin_seconds = slack_seconds / 10
        self._latest = store.newest_at
        self._up_to: dict[int, Micros | None] = {}
        self._resting: defaultdict[int, OrderedDict[str, Micros]] = defaultdict(OrderedDict)
        """By shard: since when an intent rests; an older one may stand behind a newer one and waits for it then.

        Not a plain dict: to find its first entry, all that were taken from its front are passed over each time.
        """
        self._restored = [key for key, _value in store.items() if not key.startswith(_PREFIX)]
        """What may rest since before the restore; their shards are found out when it is their turn."""
        self._restored_at = self._rests_since()

    def up_to(self, shard: int) -> Micros | None:
        """A create that was looked up before this moment is refused; None: nothing was ever forgotten."""
        if shard not in self._up_to:
            known = self._store.load(_key(shard), Forgotten, partition=shard)
            self._up_to[shard] = None if known is None else known.up_to
        return self._up_to[shard]

    def note(self, key: str, shard: int, intent: PaymentIntent) -> None:
        """An intent has changed."""
        resting = self._resting[shard]
        resting.pop(key, None)
        if is_at_rest(intent):
            resting[key] = self._rests_since()

    def advance(self, shard: int, absent_at: Micros) -> None:
        """A create has come whose id was absent up to that moment: forget what rests since long before."""
        self._latest = max(self._latest, absent_at)
        reached = later(absent_at, seconds=-self._slack_seconds)
        known = self.up_to(shard)
        if reached > (0 if known is None else later(known, seconds=_STEP_SECONDS)):
            self._up_to[shard] = reached
            self._store.put(_key(shard), partition=shard, value=encode(Forgotten(up_to=reached)))
        self._forget(shard)

    def _forget(self, shard: int) -> None:
        up_to = self.up_to(shard)
        if up_to is None:
            return
        self._sort_restored()
        resting = self._resting[shard]
        for _ in range(_TOMBSTONES_PER_CREATE_MAX):
            key = next(iter(resting), None)
            if key is None or resting[key] >= up_to:
                return
            del resting[key]
            intent = self._store.load(key, PaymentIntent, partition=shard)
            if intent is not None and is_at_rest(intent):
                self._store.put(key, partition=shard, value=None)
                FORGOTTEN.inc()

    def _sort_restored(self) -> None:
        for _ in range(min(_TOMBSTONES_PER_CREATE_MAX, len(self._restored))):
            key = self._restored.pop()
            self._resting[partition(key, self._partitions)].setdefault(key, self._restored_at)

    def _rests_since(self) -> Micros:
        """When what comes to rest now will surely have been appended, by any clock."""
        self._latest = max(self._latest, self._clock.now())
        return later(self._latest, seconds=self._margin_seconds)


def _key(shard: int) -> str:
    """No PaymentIntent has such a key."""
    return f"{_PREFIX}{shard}"
