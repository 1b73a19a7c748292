"""Free ports on the loopback address, kept from one start to the next where nobody has taken them meanwhile.

They are drawn from below the range from which the kernel takes the source ports of outgoing connections. A port in
that range can be lost while its child is being restarted: to any outgoing connection of the machine, and most easily
to the child's own clients, which reconnect to it over and over and can end up connected to themselves.
Reads and writes DIRECTORY/ports.json. Driven by `stack`.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from pathlib import Path

from sandbox.stack.errors import Unfit
from sandbox.stack.layout import read_json, write_privately

__all__ = ["choose_ports", "is_free"]

LOWEST_PORT = 10_000
TRIES = 2_000
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def choose_ports(names: Sequence[str], remembered: Path) -> dict[str, int]:
    """A free port for each name: the one it had before if that is still free. All are different."""
    before = read_json(remembered) or {}
    chosen: dict[str, int] = {}
    for name in names:
        port = before.get(name)
        if not isinstance(port, int) or port in chosen.values() or not is_free(port):
            port = _draw(excluded={*chosen.values(), *before.values()})
        chosen[name] = port
    write_privately(remembered, {**before, **chosen})
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on the port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do; without it a connection that was closed a moment ago would hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _draw(*, excluded: set[int]) -> int:
    first_ephemeral = int(EPHEMERAL_RANGE.read_text().split()[0])
    highest = first_ephemeral - 1 if first_ephemeral > LOWEST_PORT + TRIES else 54_999
    for _ in range(TRIES):
        port = random.SystemRandom().randint(LOWEST_PORT, highest)
        if port not in excluded and is_free(port):
            return port
    raise Unfit(
        f"No free port was found between {LOWEST_PORT} and {highest}; end some of the programs that listen there."
    )
