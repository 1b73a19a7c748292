"""The keyed step of a flow: an epoch's inputs of one key are decided together, on the record that the store holds.

Bytewax gives the shape (by key, in order) and keeps nothing: its recovery is off, the changelog is the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from schemas.codec import Record
from topology.kafka.flow import FlowContext
from topology.kafka.items import Input, Output
from topology.kafka.store import UnreadableState

__all__ = ["stateful"]

S = TypeVar("S", bound=Record)

Decide = Callable[[str, int, S | None, list[Input]], tuple[S | None, list[Output]]]


def stateful(
    step: str, inputs: KeyedStream[Input], context: FlowContext, *, state: type[S], decide: Decide[S]
) -> KeyedStream[list[Output]]:
    """`decide` is given key, shard, the record of the key (None: there is none) and its inputs in the log's order.

    It answers with the record to keep (None: none, a tombstone) and what is to be written, which goes on as one item.
    """
    return op.stateful_batch(step, inputs, lambda _resumed: _Logic(context, state, decide))


class _Logic(StatefulBatchLogic[Input, list[Output], None], Generic[S]):
    """One epoch's inputs of one key."""

    def __init__(self, context: FlowContext, state: type[S], decide: Decide[S]) -> None:
        self._context = context
        self._state = state
        self._decide = decide

    def on_batch(self, values: list[Input]) -> tuple[list[list[Output]], bool]:
        """Decide, and keep what has changed."""
        key, partition = values[0].key, values[0].partition
        store = self._context.store
        try:
            before = store.load(key, self._state, partition=partition)
        except UnreadableState as error:
            self._context.fail(error)
            return [], self.DISCARD
        after, outputs = self._decide(key, partition, before, values)
        if after is not before and after != before:
            store.save(key, after, partition=partition)
        return [outputs] if outputs else [], self.DISCARD

    def snapshot(self) -> None:
        """Nothing: the changelog is the state."""
