import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.card_network.booking import Booking, Kind, Status
from sandbox.card_network.ledger import Books, Ledger
from sandbox.card_network.writer import LedgerWriter


def booking(reference: str) -> Booking:
    return Booking(
        reference=reference,
        kind=Kind.void,
        status=Status.approved,
        payment_intent="pi_1",
        amount_minor=None,
        currency=None,
        processor_reference=f"cn_{reference}",
        at_micros=1,
        authorization_reference="tx_a",
    )


def inserting(reference: str) -> Callable[[Books], None]:
    return lambda books: books.insert(booking(reference))


def references(ledger: Ledger) -> list[str]:
    return [row[0] for chunk in ledger.rows() for row in chunk]


def test_what_is_answered_is_committed_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")

    async def scenario() -> None:
        writer = LedgerWriter(ledger)
        writer.start()
        names = [f"tx_{number:04}" for number in range(2500)]
        await asyncio.gather(*(writer.submit(inserting(name)) for name in names))
        assert references(ledger) == names
        await writer.stop()
        assert not writer.running

    asyncio.run(scenario())


def test_what_fails_books_nothing_and_the_writer_goes_on(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")

    def broken(books: Books) -> None:
        books.insert(booking("tx_1"))
        raise OSError("no space left on device")

    async def scenario() -> None:
        writer = LedgerWriter(ledger)
        writer.start()
        with pytest.raises(OSError, match="no space"):
            await writer.submit(broken)
        await writer.submit(inserting("tx_2"))
        await writer.stop()

    asyncio.run(scenario())
    assert references(ledger) == ["tx_2"]


def test_a_stop_finishes_what_was_submitted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")

    async def scenario() -> None:
        writer = LedgerWriter(ledger)
        writer.start()
        waiting = asyncio.ensure_future(writer.submit(inserting("tx_1")))
        await asyncio.sleep(0)
        await writer.stop()
        await waiting

    asyncio.run(scenario())
    assert references(ledger) == ["tx_1"]


def test_a_caller_who_leaves_does_not_unbook(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")

    async def scenario() -> None:
        writer = LedgerWriter(ledger)
        writer.start()
        waiting = asyncio.ensure_future(writer.submit(inserting("tx_1")))
        await asyncio.sleep(0)
        waiting.cancel()
        await writer.stop()

    asyncio.run(scenario())
    assert references(ledger) == ["tx_1"]


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path)
    Ledger(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(sqlite3.DatabaseError, match="another version"):
        Ledger(path)


def test_the_order_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    for name in ("tx_b", "tx_a"):
        connection = Ledger(path).connect()
        Books(connection).insert(booking(name))
        connection.close()
    assert references(Ledger(path)) == ["tx_b", "tx_a"]
