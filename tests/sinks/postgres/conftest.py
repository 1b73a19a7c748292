"""An empty read model for each test, a writer on it, and a plain connection to look into it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from sinks.postgres import ReadModelWriter
from tests.sinks.postgres.databases import empty_read_model


@pytest.fixture
def uri(postgres_uri: str) -> str:
    """The URI of a database with the schema in it and nothing else."""
    return empty_read_model(postgres_uri)


@pytest.fixture
def writer(uri: str) -> Iterator[ReadModelWriter]:
    """A writer that owns partition 0 at offset 0."""
    writer = ReadModelWriter(uri)
    writer.load_progress("payments.events", [0])
    yield writer
    writer.close()


@pytest.fixture
def database(uri: str) -> Iterator[psycopg.Connection]:
    """A connection of the test's own, in autocommit."""
    with psycopg.connect(uri, autocommit=True) as connection:
        yield connection
