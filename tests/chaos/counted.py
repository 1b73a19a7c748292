"""The counting flow with a bug in its processes, and what a look from outside finds about it.

For bugs of the runtime that all flows share, which show on any flow: what was sent, the committed outputs, and the
state and offsets that a next owner would go on from. It knows of the flow only that every input of a key gets the next
number of that key. Driven by `test_bugs_runtime`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from schemas.codec import decode
from schemas.partitioner import partition as partition_of
from schemas.processing import TimerFired
from tests.chaos.bugs import environment
from tests.harness.counting import Counting
from tests.harness.counting_flow import TICK, output_topic

__all__ = ["Counted", "findings"]

Output = tuple[int, str]


class Counted(Counting):
    """One counting flow, with this bug in all of its processes, or without any."""

    def __init__(self, bootstrap: str, directory: Path, *, bug: str | None) -> None:
        super().__init__(bootstrap, directory)
        self.environment |= environment(bug)

    def keys_of(self, partition: int) -> list[str]:
        """The keys that lie on a partition, in their own order."""
        return sorted(key for key in self._keys if partition_of(key, self.partitions) == partition)

    def come_to_rest(self) -> None:
        """Wait until all that was sent has been read: one more input on each partition is answered after all others."""
        last = [self.keys_of(partition)[0] for partition in range(self.partitions)]
        self.send_to(*last)
        self.wait_until(
            lambda: all(self.sent[key][-1] in (name for _number, name in self.counted[key]) for key in last),
            what="the last output of each partition",
            within_seconds=45.0,
        )

    def findings(self) -> list[str]:
        """What is wrong, once all has been read."""
        outputs: defaultdict[str, list[Output]] = defaultdict(list)
        for key, value in self._read_all(output_topic(self.prefix).name):
            output = decode(value)
            assert isinstance(output, TimerFired)
            outputs[key].append((output.step, output.name))
        return list(findings(self.sent, outputs, self.state()))


def findings(
    sent: Mapping[str, Sequence[str]], outputs: Mapping[str, Sequence[Output]], state: Mapping[str, int]
) -> Iterator[str]:
    """Every input that was lost or applied twice, out of order, or under a number that is not the next; by key."""
    for key in sorted({*sent, *outputs, *state}):
        numbers = [number for number, _name in outputs.get(key, ())]
        names = [name for _number, name in outputs.get(key, ()) if name != TICK]
        times = Counter(names)
        wanted = sent.get(key, ())
        lost = [name for name in wanted if name not in times]
        twice = [name for name in times if times[name] > 1]
        if lost:
            yield f"lost: {key} has no output for {lost}"
        if twice:
            yield f"twice: {key} has several outputs for {twice}"
        if not lost and not twice and names != list(wanted):
            yield f"order: {key} has {names}, was given {list(wanted)}"
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"numbers: {key} has {numbers}"
        if state.get(key, 0) != len(numbers):
            yield f"state: {key} is {state.get(key, 0)} after {len(numbers)} outputs"
