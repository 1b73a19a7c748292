"""Faults by seed: what is done to whom, when, and for how long.

Faults come in bursts, in which they overlap; between bursts the system may get to its feet again, so that the next one
finds payments under way. `plan` and `plan_of_settlement` are pure: a seed gives the same faults at the same times.
Driven by `run` and `settling`; carried out by `nemesis`. `network_arguments` is what the card network does by itself.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "CERTAIN",
    "FLOWS",
    "SESSION_SECONDS",
    "Fault",
    "FaultKind",
    "network_arguments",
    "plan",
    "plan_of_settlement",
    "targets_of",
]

FLOWS = ("flow-payments", "flow-processing", "flow-reconciliation", "flow-settlement", "flow-postgres")
_BEHIND_PROXIES = ("kafka", "postgres", "card-network")
# Processes with a second port, which has a proxy of its own.
_SECOND_PROXIES = {"card-network": "card-network-iso"}
# What has a disk of its own that can be filled. Not the only broker: one that is killed, and started again while its
# disk is full, truncates its metadata log and forgets all topics. Of three brokers the others have them still; of the
# only one the log itself is gone, and nothing is left to keep a promise with.
_ON_DISKS = ("kafka-", "postgres", "card-network")
_NOT_OURS = ("s3", "proxy")
SESSION_SECONDS = 6.0
"""The session time-out of a member of a group: who pauses for longer loses its shards."""


class FaultKind(StrEnum):
    """What is done to a process, or to what it needs."""

    kill = "kill"
    pause = "pause"
    stop = "stop"
    kill_all = "kill_all"
    twin = "twin"
    extra_owner = "extra_owner"
    cut = "cut"
    stall = "stall"
    fill_disk = "fill_disk"


_WEIGHTS: Mapping[FaultKind, float] = {
    FaultKind.kill: 9,
    FaultKind.pause: 6,
    FaultKind.stop: 3,
    FaultKind.twin: 2,
    FaultKind.extra_owner: 2.5,
    FaultKind.cut: 4,
    FaultKind.stall: 3,
    FaultKind.fill_disk: 2,
    FaultKind.kill_all: 0.4,
}
_LONG = 0.2
# Whoever appends little has some room in the last block of each file.
_FULL_SECONDS = (3.0, 7.0)
# Of the card network: how often what it is asked, or its answer, is lost, broken off or doubled; how often it answers
# by ISO 8583 on another connection or by a code that says nothing. Each is there in most seeds, and not in all.
_NETWORK_RATES_MAX: Mapping[str, float] = {
    "timeout-rate": 0.03,
    "reset-rate": 0.03,
    "duplicate-rate": 0.05,
    "iso-other-connection-rate": 0.4,
    "iso-doubt-rate": 0.04,
}
_NETWORK_RATE_IS_ZERO = 0.2
# Whose death and whose standing still every seed has to show, whatever else it draws.
_CERTAIN_TARGETS = ("flow-processing", "flow-reconciliation", "flow-settlement")
_CERTAIN_KINDS = (FaultKind.kill, FaultKind.pause)
CERTAIN = tuple((kind, target) for target in _CERTAIN_TARGETS for kind in _CERTAIN_KINDS)
"""What is in every plan of so many faults: by kind and target."""
# What is late arrives while its void is under way, or has been acknowledged.
_LATE_SECONDS = 12.0
_FAULTS_IN_SETTLEMENT = 4
_SETTLEMENT_SECONDS = 4.0
_OF_SETTLEMENT = ("flow-settlement", "flow-postgres", "flow-payments", "flow-reconciliation")
_SETTLEMENT_KINDS = (FaultKind.kill, FaultKind.pause, FaultKind.stop)
_FAULTS_IN_BURST = 5
_BURST = 0.5
"""How much of the time from burst to burst the faults of one are spread over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: `target` is a name in stack.json, a flow for twins and extra owners, a proxy for cuts, "" for all.

    `at_seconds` counts from the beginning, as if every burst could begin at its time.
    """

    at_seconds: float
    burst: int
    kind: FaultKind
    target: str
    lasts_seconds: float = 0.0


def targets_of(kind: FaultKind, processes: Sequence[str], *, has_small_disks: bool) -> list[str]:
    """All that a kind of fault can be done to, in a stack of these processes."""
    processes = sorted(name for name in processes if name not in _NOT_OURS)
    match kind:
        case FaultKind.kill_all:
            return [""]
        case FaultKind.twin | FaultKind.extra_owner:
            return [name for name in FLOWS if name in processes]
        case FaultKind.cut | FaultKind.stall:
            behind = [name for name in processes if name.startswith(_BEHIND_PROXIES)]
            return [*behind, *(_SECOND_PROXIES[name] for name in behind if name in _SECOND_PROXIES)]
        case FaultKind.fill_disk:
            return [name for name in processes if has_small_disks and name.startswith(_ON_DISKS)]
        case FaultKind.kill | FaultKind.pause | FaultKind.stop:
            return processes


def plan(
    seed: int, processes: Sequence[str], *, faults: int, within_seconds: float, has_small_disks: bool
) -> list[Fault]:
    """So many faults within a time, in order; those of `CERTAIN` are among them."""
    chance = random.Random(f"nemesis-{seed}")
    targets = {kind: targets_of(kind, processes, has_small_disks=has_small_disks) for kind in FaultKind}
    weights = {kind: weight for kind, weight in _WEIGHTS.items() if targets[kind]}
    bursts = math.ceil(faults / _FAULTS_IN_BURST)
    every_seconds = within_seconds / bursts
    certain = dict(zip(chance.sample(range(faults), min(len(CERTAIN), faults)), CERTAIN, strict=False))
    planned = []
    for number in range(faults):
        burst = number % bursts
        (kind,) = chance.choices(list(weights), list(weights.values()))
        target = chance.choice(targets[kind])
        kind, target = certain.get(number, (kind, target))
        planned.append(
            Fault(
                at_seconds=(burst + chance.uniform(0, _BURST)) * every_seconds,
                burst=burst,
                kind=kind,
                target=target,
                lasts_seconds=chance.uniform(*_FULL_SECONDS) if kind is FaultKind.fill_disk else _duration(chance),
            )
        )
    return sorted(planned, key=lambda fault: fault.at_seconds)


def plan_of_settlement(seed: int, processes: Sequence[str], *, while_: str) -> list[Fault]:
    """A few faults while something happens to settlement; one of them kills the settlement flow, in any case."""
    chance = random.Random(f"nemesis-of-{while_}-{seed}")
    targets = [name for name in processes if name.startswith(_OF_SETTLEMENT)]
    others = [(chance.choice(_SETTLEMENT_KINDS), chance.choice(targets)) for _ in range(_FAULTS_IN_SETTLEMENT - 1)]
    planned = [
        Fault(
            at_seconds=chance.uniform(0.0, _SETTLEMENT_SECONDS),
            burst=0,
            kind=kind,
            target=target,
            lasts_seconds=chance.uniform(0.3, 2.0),
        )
        for kind, target in ((FaultKind.kill, "flow-settlement"), *others)
    ]
    return sorted(planned, key=lambda fault: fault.at_seconds)


def network_arguments(seed: int) -> list[str]:
    """How the card network of a seed misbehaves by itself, as arguments of its command line."""
    chance = random.Random(f"network-{seed}")
    rates = {
        name: 0.0 if chance.random() < _NETWORK_RATE_IS_ZERO else round(chance.uniform(most / 4, most), 4)
        for name, most in _NETWORK_RATES_MAX.items()
    }
    named = {**rates, "seed": seed, "late-seconds": _LATE_SECONDS}
    return [f"--{name}={value}" for name, value in named.items()]


def _duration(chance: random.Random) -> float:
    """Mostly a hiccup, or nothing would be under way when the next fault comes; sometimes longer than a session."""
    if chance.random() < _LONG:
        return chance.uniform(SESSION_SECONDS + 0.5, SESSION_SECONDS + 3.0)
    return chance.uniform(0.3, 2.0)
