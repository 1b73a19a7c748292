"""DIRECTORY/stack.json: where everything of a running stack is.

Present only while everything is ready, replaced by rename whenever a child has another pid, removed at the stop.
Written by `stack`; read by `control`, by tests and by whoever wants to talk to the stack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Addresses"]


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses of one stack, which stay the same as long as it runs. A part that was not asked for has none."""

    kafka: str | None = None
    postgres: str | None = field(default=None, repr=False)
    s3: str | None = None
    card_network: str | None = None
    card_network_iso8583: str | None = None
    """host:port"""
    ingress_processes: tuple[str, ...] = ()
    services: dict[str, str] = field(default_factory=dict)
    """Process name -> URL of its /healthz, /readyz and /metrics."""
    proxy: str | None = None
    """Where the proxies take orders."""
    api_key: str = field(repr=False)
    s3_access_key: str
    s3_secret_key: str = field(repr=False)

    @property
    def ingress(self) -> str | None:
        return self.ingress_processes[0] if self.ingress_processes else None

    def describe(self, processes: dict[str, int]) -> dict[str, Any]:
        """The content of stack.json."""
        content = {
            "ingress": self.ingress,
            "card_network": self.card_network,
            "card_network_iso8583": self.card_network_iso8583,
            "s3": self.s3,
            "kafka": self.kafka,
            "postgres": self.postgres,
            "proxy": self.proxy,
            "api_key": self.api_key,
            "processes": processes,
            "ingress_processes": list(self.ingress_processes),
            "services": self.services,
            "metrics": {name: f"{url}/metrics" for name, url in self.services.items()},
            "s3_access_key": self.s3_access_key,
            "s3_secret_key": self.s3_secret_key,
        }
        return {key: value for key, value in content.items() if value is not None}
