"""How many connections the process may hold, and the limit of open files that goes with it.

Without open files to spare nothing works any more, not even the way to Kafka. So connections end where they leave
enough of them for all else. Driven by `server`, at the start.
"""

from __future__ import annotations

import logging
import resource

__all__ = ["CONNECTIONS_MAX", "OVERFLOW", "allow_connections"]

CONNECTIONS_MAX = 2_500
"""2,000 clients at once, and room for those who look after the process."""
OVERFLOW = 0.25
"""How many more connections, as a part of those, are held for as long as it takes to refuse them politely."""
_FILES_WANTED = 8_192
"""All those connections, a whole backlog of others that are closed at once, and all else."""
_FILES_RESERVED = 256
"""For the connections to Kafka and PostgreSQL, some ten per broker, and all else."""

_logger = logging.getLogger(__name__)


def allow_connections() -> int:
    """How many connections can be held, with the limit of open files raised as far as is wanted and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The kernel never has it unlimited, whatever the constant says.
    if soft < _FILES_WANTED:
        soft = min(_FILES_WANTED, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    connections = min(CONNECTIONS_MAX, int((soft - _FILES_RESERVED) / (1 + OVERFLOW)))
    if connections < CONNECTIONS_MAX:
        connections = max(connections, 1)
        _logger.warning("only %d files may be open: no more than %d connections are served", soft, connections)
    return connections
