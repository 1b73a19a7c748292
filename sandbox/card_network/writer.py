"""The one thread that writes the ledger.

Takes jobs from the event loop, runs all that have queued in one transaction, commits, and only then hands their
results back: nothing is answered that is not written. `network` submits the jobs.

One thread because SQLite has one writer anyway; in a thread because a commit that waits for the disk must not hold up
answers, look-ups and the clock of the faults.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sandbox.card_network.ledger import Books, Ledger

__all__ = ["LedgerWriter"]

_logger = logging.getLogger(__name__)
_JOBS_PER_TRANSACTION_MAX = 1000

T = TypeVar("T")


@dataclass(slots=True)
class _Pending:
    """A job, the caller who waits for it, and its result until the commit. `submit` knows the type."""

    job: Callable[[Books], Any]
    future: asyncio.Future[Any]
    result: Any = None

    def settle(self, error: Exception | None) -> None:
        if self.future.done():  # the caller was cancelled; what is booked stays booked
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(self.result)


class LedgerWriter:
    """Runs jobs against the ledger, many to a transaction. Started and stopped on the event loop that submits."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queue: SimpleQueue[_Pending | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer")
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    async def stop(self) -> None:
        """Finish what was submitted, then end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def submit(self, job: Callable[[Books], T]) -> T:
        """The result of `job`, once its transaction is committed. Raises sqlite3.Error, and then nothing is booked."""
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Pending(job, future))
        return await future

    def _run(self) -> None:
        connection = self._ledger.connect()
        books = Books(connection)
        stopping = False
        while not stopping:
            batch: list[_Pending] = []
            entry = self._queue.get()
            while entry is not None:
                batch.append(entry)
                if len(batch) == _JOBS_PER_TRANSACTION_MAX:
                    break
                try:
                    entry = self._queue.get_nowait()
                except Empty:
                    break
            stopping = entry is None
            self._hand_back(batch, self._commit(connection, books, batch))
        connection.close()

    def _commit(self, connection: sqlite3.Connection, books: Books, batch: list[_Pending]) -> Exception | None:
        """One transaction for the whole batch: none of it is booked if any of it fails."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            for pending in batch:
                pending.result = pending.job(books)
            connection.execute("COMMIT")
        except Exception as error:
            _logger.exception("the ledger could not be written: %d requests are answered with an error", len(batch))
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return error
        return None

    def _hand_back(self, batch: list[_Pending], error: Exception | None) -> None:
        def settle() -> None:
            for pending in batch:
                pending.settle(error)

        assert self._loop is not None
        self._loop.call_soon_threadsafe(settle)
