"""How messages are named on a link that has no key of ours (ISO 8583): by when, by whom and in which turn they left.

Reads and writes nothing. `iso8583.reading` makes traces, `arrivals` recognises repeats and originals by them.
"""

from typing import NamedTuple

__all__ = ["Original", "Trace"]


class Original(NamedTuple):
    """What a capture or reversal knows its authorization by: DE 90, and DE 41 that stays the same."""

    transmitted: str
    """DE 7 of the authorization, MMDDhhmmss."""
    trace: str
    """DE 11, six digits."""
    acquirer: str
    """DE 32, filled with zeros to eleven digits."""
    terminal: str
    """DE 41."""

    @property
    def name(self) -> str:
        """What stands in for the authorization's reference, as long as nobody knows that."""
        return f"iso:{self.transmitted}:{self.trace}:{self.acquirer}:{self.terminal}"


class Trace(NamedTuple):
    """What a message is known by: a second one with the same trace is the first one again."""

    transmitted: str
    trace: str
    acquirer: str
    terminal: str
    retrieval: str
    """DE 37, the number that stands in the settlement file."""

    @property
    def original(self) -> Original:
        """What a later message calls this one."""
        return Original(self.transmitted, self.trace, self.acquirer, self.terminal)
