"""Becomes a Paystream process of the version that lies in a tree, and of no other.

    python -P launch.py TREE ARGUMENT…

Driven by `fleet`, which runs it with PYTHONPATH=TREE. Ends at once if a package comes from elsewhere, for example from
the tree that is installed: then old and new would be the same, and a test of both would prove nothing.
"""

import importlib
import runpy
import sys
from pathlib import Path

PACKAGES = ("paystream", "ingress", "topology", "schemas", "sinks")


def main(arguments: list[str]) -> None:
    """Check where the packages come from, then run `python -m paystream ARGUMENT…`."""
    tree = Path(arguments[0]).resolve()
    for package in PACKAGES:
        found = Path(str(importlib.import_module(package).__file__)).resolve()
        if found.parent.parent != tree:
            sys.exit(f"{package} comes from {found.parent.parent} and not from {tree}")
    sys.argv = ["paystream", *arguments[1:]]
    runpy.run_module("paystream", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
