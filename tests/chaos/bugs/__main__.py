"""Runs a command with a bug in every Python process of it: `python -m tests.chaos.bugs BUG COMMAND…`.

Without arguments it lists the bugs.
"""

from __future__ import annotations

import os
import sys

from tests.chaos.bugs import BUGS, environment


def main(arguments: list[str]) -> None:
    """Run as a program."""
    if not arguments:
        for bug in BUGS.values():
            print(f"{bug.name:36} {bug.does}")
    elif arguments[0] not in BUGS or len(arguments) == 1:
        sys.exit(f"no such bug or no command: {' '.join(arguments)}")
    else:
        os.execvpe(arguments[1], arguments[1:], {**os.environ, **environment(arguments[0])})


if __name__ == "__main__":
    main(sys.argv[1:])
