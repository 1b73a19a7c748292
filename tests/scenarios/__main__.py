"""`python -m tests.scenarios > docs/scenarios.md`: the table as a document."""

from __future__ import annotations

from tests.scenarios.document import document
from tests.scenarios.table import PHASES

if __name__ == "__main__":
    print(document(PHASES), end="")
