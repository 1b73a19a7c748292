"""Runs the dataflow of a flow for one epoch: on Bytewax itself, or by walking the same dataflow step by step.

Bytewax takes milliseconds to start and to end, whatever the epoch holds; thousands of seeds cannot pay that. What the
flow says is the `Dataflow` that its `build` returns, and its few steps are simple, so they are carried out here as
Bytewax would. `test_seeds` holds the two against each other, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

from bytewax.dataflow import Dataflow

from tests.harness.driver import Collect, OneEpoch, run_epoch
from topology.kafka import Clock, FlowContext, Side, StateStore
from topology.kafka.items import Item

__all__ = ["Build", "BytewaxEpochs", "DirectEpochs", "Epochs"]

Build = Callable[[FlowContext], Dataflow]


class Epochs(Protocol):
    """One life of a flow's process."""

    def __init__(self, build: Build, *, store: StateStore, side: Side, partitions: int, clock: Clock) -> None: ...

    def run(self, items: list[Item]) -> list[object]:
        """What the flow writes upon these items."""


class BytewaxEpochs:
    """Every epoch a run of Bytewax."""

    def __init__(self, build: Build, *, store: StateStore, side: Side, partitions: int, clock: Clock) -> None:
        self._build = build
        self._store = store
        self._side = side
        self._partitions = partitions
        self._clock = clock

    def run(self, items: list[Item]) -> list[object]:
        """What the flow writes upon these items."""
        return run_epoch(
            self._build, items, store=self._store, side=self._side, partitions=self._partitions, clock=self._clock
        )


class DirectEpochs:
    """The dataflow is built once, and each epoch walks through its steps."""

    def __init__(self, build: Build, *, store: StateStore, side: Side, partitions: int, clock: Clock) -> None:
        self._build = build
        self._written: list[object] = []
        self._context = FlowContext(
            source=OneEpoch([]), sink=Collect(self._written), store=store, side=side, partitions=partitions, clock=clock
        )

    @cached_property
    def _steps(self) -> list[Any]:
        """Built when first needed: many a process dies before that."""
        return self._build(self._context).substeps

    def run(self, items: list[Item]) -> list[object]:
        """What the flow writes upon these items."""
        streams: dict[str, list[Item]] = {}
        self._written.clear()
        for step in self._steps:
            match type(step).__name__:
                case "input":
                    streams[step.down.stream_id] = items
                case "flat_map_batch":
                    streams[step.down.stream_id] = list(step.mapper(streams[step.up.stream_id]))
                case "output":
                    part = step.sink.build_part(step.step_id, *step.sink.list_parts(), None)
                    part.write_batch([item for _key, item in streams[step.up.stream_id]])
                case other:
                    raise NotImplementedError(other)
        return list(self._written)
