"""An import of a settlement file that is interrupted between its lines: `python -m tests.chaos.interrupted BY AT FILE`.

The command `paystream settlement import FILE`, but with few lines to a transaction, and interrupted at its AT-th
commit: by `kill` it dies, by `shut_out` it stands still until somebody lets it go on. An even AT interrupts right after
commit AT / 2, an odd one in the transaction that follows commit (AT - 1) / 2, before it commits. So what is
interrupted is a file of which a part stands in the log. Driven by `settling`, with an environment as `commands` makes
it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from unittest.mock import patch

__all__ = ["LINES_PER_TRANSACTION", "Interruption", "interrupted_at", "places"]

LINES_PER_TRANSACTION = 10


class Interruption(StrEnum):
    """What befalls an import before it is run to its end."""

    kill = "kill"
    shut_out = "shut_out"
    """It stands still while another of the same file goes to its end, and then goes on."""


def places(lines: int) -> range:
    """Where the import of so many lines can be interrupted so that some are written and some are not; maybe nowhere."""
    transactions = -(-lines // LINES_PER_TRANSACTION)
    return range(2, 2 * transactions)


def interrupted_at(
    place: int, commit: Callable[[Callable[[float], object]], None], interrupt: Callable[[], None]
) -> Callable[[Callable[[float], object]], None]:
    """In the place of what commits a transaction: the same, and the interruption at its place."""
    committed = 0

    def commit_or_not(of_producer: Callable[[float], object]) -> None:
        nonlocal committed
        if place == 2 * committed + 1:
            interrupt()
        commit(of_producer)
        committed += 1
        if place == 2 * committed:
            interrupt()

    return commit_or_not


def main() -> None:
    """Run as a program."""
    from topology.settlement_files import importing, kafka_log

    by, place, file = sys.argv[1:]
    number = signal.SIGKILL if Interruption(by) is Interruption.kill else signal.SIGSTOP
    commit = interrupted_at(int(place), kafka_log._until_done, lambda: os.kill(os.getpid(), number))
    sys.argv[1:] = ["settlement", "import", file]
    from paystream.cli import main as paystream

    with (
        patch.object(importing, "LINES_PER_TRANSACTION", LINES_PER_TRANSACTION),
        patch.object(kafka_log, "_until_done", commit),
    ):
        paystream()


if __name__ == "__main__":
    main()
