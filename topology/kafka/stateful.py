"""The keyed step of a flow: an epoch's inputs of one key are decided together, on the record that the store holds.

Bytewax gives the shape and the epochs, and keeps nothing: its recovery is off, the changelog is the state. So the step
takes what comes as one batch, and not as a logic for each key, which would be made and dropped again for every input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream

from schemas.codec import Record
from topology.kafka.flow import FlowContext
from topology.kafka.items import Injected, Input, Item, Output, Received
from topology.kafka.store import UnreadableState

__all__ = ["stateful"]

S = TypeVar("S", bound=Record)

Decide = Callable[[str, int, S | None, list[Input]], tuple[S | None, list[Output]]]

_INPUT = (Received, Injected)


def stateful(
    step: str, inputs: Stream[Item], context: FlowContext, *, state: type[S], decide: Decide[S]
) -> Stream[Item]:
    """`decide` is given key, shard, the record of the key (None: there is none) and its inputs in the log's order.

    It answers with the record to keep (None: none, a tombstone) and what is to be written; that of a whole batch goes
    on as one item. What is no input (dead letters, epoch marks) is passed on as it is. A state that cannot be read, by
    this step or by `decide` (UnreadableState), fails the run.
    """
    return op.flat_map_batch(step, inputs, _Step(context, state, decide).decide)


class _Step(Generic[S]):
    """Decides batches."""

    def __init__(self, context: FlowContext, state: type[S], decide: Decide[S]) -> None:
        self._context = context
        self._state = state
        self._decide = decide

    def decide(self, batch: list[Item]) -> list[Item]:
        """Decide, key by key, and keep what has changed."""
        passed_on: list[Item] = []
        by_key: dict[str, list[Input]] = {}
        for item in batch:
            key, given = item
            if not isinstance(given, _INPUT):
                passed_on.append(item)
            elif (inputs := by_key.get(key)) is None:
                by_key[key] = [given]
            else:
                inputs.append(given)
        outputs: list[Output] = []
        for key, inputs in by_key.items():
            outputs += self._of_key(key, inputs)
        if outputs:
            passed_on.append(("", outputs))
        return passed_on

    def _of_key(self, key: str, inputs: list[Input]) -> list[Output]:
        partition, store = inputs[0].partition, self._context.store
        try:
            before = store.load(key, self._state, partition=partition)
            # What it decides may have to read other states of the shard.
            after, outputs = self._decide(key, partition, before, inputs)
        except UnreadableState as error:
            self._context.fail(error)
            return []
        if after is not before and after != before:
            store.save(key, after, partition=partition)
        return outputs
