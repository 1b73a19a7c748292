"""One card network for the tests that only ask it; references are unique, so they do not meet."""

from collections.abc import Iterator

import pytest

from .network_process import NetworkProcess

QUICK = ("--late-seconds", "1", "--slow-seconds", "0.2", "--hang-seconds", "0.4")


@pytest.fixture(scope="package")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    database = tmp_path_factory.mktemp("card_network") / "ledger.sqlite"
    with NetworkProcess(database, *QUICK) as process:
        yield process
