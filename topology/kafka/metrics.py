"""What a flow's process tells Prometheus about itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "COMMITTED",
    "DEAD_LETTERED",
    "ENDED",
    "EPOCH_SECONDS",
    "FENCED",
    "INPUTS",
    "INPUT_HELD",
    "RESTORE_SECONDS",
    "SHARDS",
]

INPUTS = Counter("paystream_inputs_total", "Inputs handed to the flow.", ["flow"])
INPUT_HELD = Gauge("paystream_input_held", "1 while input stays in the log, since too much waits here.", ["flow"])
COMMITTED = Counter("paystream_epochs_committed_total", "Epochs committed.", ["flow"])
EPOCH_SECONDS = Histogram(
    "paystream_epoch_commit_seconds",
    "Time from the close of an epoch to its commit.",
    ["flow"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
DEAD_LETTERED = Counter("paystream_dead_letters_total", "Records written to payments.dead-letters.", ["flow", "cause"])
SHARDS = Gauge("paystream_shards", "Shards that this process holds and has restored.", ["flow"])
RESTORE_SECONDS = Gauge("paystream_restore_seconds", "How long the last restore took.", ["flow"])
ENDED = Counter("paystream_runs_ended_total", "Runs of the dataflow that ended, by why.", ["flow", "reason"])
FENCED = Counter("paystream_fenced_total", "Times this process was fenced by its own name.", ["flow"])
