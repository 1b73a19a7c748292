"""`python -m sandbox.stack up|down|status|erase`: the stack or parts of it, without Paystream's own command line.

python -m sandbox.stack up --directory DIR --parts kafka,postgres
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sandbox.stack import EVERYTHING, Part, StackError, StackOptions, down, erase, status, up

T = TypeVar("T")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.stack", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "erase"])
    parser.add_argument("--directory", type=Path, default=Path(".paystream"), help="where the data is (%(default)s)")
    parser.add_argument("--parts", type=_parts, default=EVERYTHING, help="comma list of " + ", ".join(Part))
    parser.add_argument("--brokers", type=int, default=1, help="1 or 3")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--ingress-processes", type=int, default=1)
    parser.add_argument(
        "--flow", type=_pair(int), action="append", default=[], help="how many processes of it, as NAME=COUNT"
    )
    parser.add_argument(
        "--setting", type=_pair(str), action="append", default=[], help="for Paystream's processes, as NAME=VALUE"
    )
    parser.add_argument(
        "--card-network", action="append", default=[], help="an argument for the simulated card network"
    )
    parser.add_argument("--settlement-cut-off", help="when the card network's settlement dates end, as HH:MM@ZONE")
    parser.add_argument("--proxied", action="store_true", help="put proxies that can be told to fail between the parts")
    parser.add_argument(
        "--data", type=_pair(Path), action="append", default=[], help="where a part keeps its data, as NAME=FOLDER"
    )
    parser.add_argument(
        "--end-with-parent", action="store_true", help="end when the process that started this one ends"
    )
    chosen = parser.parse_args(arguments)
    if chosen.command != "up":
        return {"down": down, "status": status, "erase": erase}[chosen.command](chosen.directory)
    try:
        options = StackOptions(
            directory=chosen.directory,
            parts=chosen.parts,
            brokers=chosen.brokers,
            partitions=chosen.partitions,
            ingress_processes=chosen.ingress_processes,
            flow_processes=dict(chosen.flow),
            card_network_arguments=tuple(chosen.card_network),
            settlement_cut_off=chosen.settlement_cut_off,
            environment=dict(chosen.setting),
            proxied=chosen.proxied,
            data=dict(chosen.data),
            ends_with_parent=chosen.end_with_parent,
        )
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return up(options)


def _parts(text: str) -> frozenset[Part]:
    return frozenset(Part(name) for name in text.split(","))


def _pair(value_type: Callable[[str], T]) -> Callable[[str], tuple[str, T]]:
    def parse(text: str) -> tuple[str, T]:
        name, equals, value = text.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(f"{text} is not of the form NAME=VALUE")
        return name, value_type(value)

    return parse


if __name__ == "__main__":
    sys.exit(main())
