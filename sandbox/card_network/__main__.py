"""`python -m sandbox.card_network --database FILE --port P …`: runs the simulated card network until SIGTERM.

Writes the ledger to FILE and answers HTTP, and ISO 8583 with `--iso-port`; the local stack starts it. Ends within two
seconds of SIGTERM, whatever hangs, with exit code 0.
"""

import argparse
import asyncio
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from types import FrameType

import msgspec
import uvicorn

from sandbox.card_network.app import create_app
from sandbox.card_network.delivery import TransportProtocol
from sandbox.card_network.faults import Dice, FaultPlan
from sandbox.card_network.iso8583.server import IsoServer
from sandbox.card_network.ledger import Ledger
from sandbox.card_network.network import CardNetwork
from sandbox.card_network.settlement_calendar import SettlementCalendar

_FAULT_OPTIONS = {
    "latency_ms": "time added to every answer",
    "timeout_rate": "share of requests that the caller hears nothing of",
    "reset_rate": "share of requests whose connection is reset",
    "duplicate_rate": "share of answers that are written twice",
    "decline_rate": "share of approvals that are declined instead",
    "seed": "seed of the faults",
    "late_seconds": "how much later a late request arrives",
    "slow_seconds": "how long a slow card thinks",
    "hang_seconds": "how long a time-out holds the connection",
    "short_hold_seconds": "how long the hold of a card lasts that has a short one",
    "lost_request_share": "how many of what is lost are requests; the rest are answers",
    "iso_other_connection_rate": "share of ISO 8583 answers that come back on another connection",
    "iso_doubt_rate": "share of ISO 8583 answers that say nothing",
}
# A client that keeps connections open must be the one that closes them, or a request crosses with the close.
_KEEP_ALIVE_SECONDS = 120
_GRACE_SECONDS = 1


class _Server(uvicorn.Server):
    """A server that tells the application when it begins to end."""

    def __init__(self, config: uvicorn.Config, *, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.card_network", description="The simulated card network.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--database", type=Path, required=True, help="file of the ledger; made if it is not there")
    parser.add_argument("--public-url", help="how a customer's browser reaches it (default: http://HOST:PORT)")
    parser.add_argument(
        "--no-authorization-deduplication",
        action="store_true",
        help="an authorization asked twice under one reference is two holds",
    )
    parser.add_argument("--iso-port", type=int, help="port for ISO 8583; without it, only HTTP is spoken")
    parser.add_argument("--settlement-cut-off", help="HH:MM at which a settlement date ends (default: a day in UTC)")
    parser.add_argument("--settlement-time-zone", default="UTC", help="of the cut-off (default: %(default)s)")
    plan = FaultPlan()
    parser.add_argument(
        "--iso-response-codes",
        default=",".join(plan.iso_response_codes),
        help="codes of ISO 8583 answers that say nothing (default: %(default)s)",
    )
    for name, text in _FAULT_OPTIONS.items():
        option = "--" + name.replace("_", "-")
        value_type = int if name == "seed" else float
        default = getattr(plan, name)
        parser.add_argument(option, type=value_type, default=default, help=f"{text} (default: {default:g})")
    return parser.parse_args()


def _end(_signal_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    # Before the server takes the signals, and again when it hands them back after a clean end.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    arguments = _arguments()
    try:
        options = {name: getattr(arguments, name) for name in _FAULT_OPTIONS}
        options["iso_response_codes"] = arguments.iso_response_codes.split(",")
        plan = msgspec.convert(options, FaultPlan)
        calendar = SettlementCalendar.parse(arguments.settlement_cut_off, arguments.settlement_time_zone)
    except (msgspec.ValidationError, ValueError) as error:
        sys.exit(f"card network: {error}")
    stopping = asyncio.Event()
    try:
        network = CardNetwork(
            Ledger(arguments.database),
            dice=Dice(plan),
            deduplicates_authorizations=not arguments.no_authorization_deduplication,
        )
    except sqlite3.Error as error:
        sys.exit(f"card network: the ledger {arguments.database} cannot be opened: {error}")
    public_url = (arguments.public_url or f"http://{arguments.host}:{arguments.port}").rstrip("/")
    iso_server = None
    if arguments.iso_port is not None:
        iso_server = IsoServer(network, host=arguments.host, port=arguments.iso_port, stopping=stopping)
    app = create_app(network, public_url=public_url, stopping=stopping, calendar=calendar, iso_server=iso_server)
    config = uvicorn.Config(
        app,
        host=arguments.host,
        port=arguments.port,
        loop="uvloop",
        http=TransportProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _Server(config, stopping=stopping).run()


if __name__ == "__main__":
    main()
