"""What a processor with an HTTP API declares of itself: GET /capabilities, read once, before a flow starts.

A flow decides by these promises what a crash left in doubt, so it does not start on a guess: whoever starts it reads
them, or ends and is started again.
"""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec

from schemas.processing import CallKind
from topology.processors.port import Capabilities

__all__ = ["CapabilitiesUnknown", "declared_capabilities"]

_RETRY_SECONDS = 0.25
_ANSWER_SECONDS_MAX = 5.0


class CapabilitiesUnknown(Exception):
    """The processor did not say what it promises."""

    def __init__(self, base_url: str, detail: str) -> None:
        super().__init__(f"{base_url}/capabilities: {detail}")
        self.base_url = base_url
        self.detail = detail


class _Deduplicates(msgspec.Struct, frozen=True):
    authorization: bool
    capture: bool
    void: bool


class _Declared(msgspec.Struct, frozen=True):
    deduplicates: _Deduplicates
    lookup: bool
    longest_hold_seconds: int


def declared_capabilities(
    base_url: str, *, deduplication_seconds: float, timeout_seconds: float = 30.0
) -> Capabilities:
    """Ask until it answers, for `timeout_seconds` at most; raises CapabilitiesUnknown.

    For how long it remembers a key is not in the answer; that comes from its contract, as `deduplication_seconds`.
    """
    return asyncio.run(_declared(base_url, deduplication_seconds, timeout_seconds))


async def _declared(base_url: str, deduplication_seconds: float, timeout_seconds: float) -> Capabilities:
    detail = "no answer"
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS_MAX), trust_env=False) as session,
        ):
            while True:
                try:
                    async with session.get(f"{base_url}/capabilities", allow_redirects=False) as response:
                        body = await response.read()
                        detail = f"status {response.status}"
                        if response.status == 200:
                            return _capabilities(msgspec.json.decode(body, type=_Declared), deduplication_seconds)
                except (aiohttp.ClientError, TimeoutError) as error:
                    detail = type(error).__name__
                await asyncio.sleep(_RETRY_SECONDS)
    except msgspec.MsgspecError as error:
        raise CapabilitiesUnknown(base_url, str(error)) from None
    except TimeoutError:
        raise CapabilitiesUnknown(base_url, detail) from None


def _capabilities(declared: _Declared, deduplication_seconds: float) -> Capabilities:
    kinds = {
        CallKind.authorize: declared.deduplicates.authorization,
        CallKind.capture: declared.deduplicates.capture,
        CallKind.void: declared.deduplicates.void,
    }
    return Capabilities(
        deduplicates=frozenset(kind for kind, promised in kinds.items() if promised),
        lookup=declared.lookup,
        deduplication_seconds=deduplication_seconds,
        longest_hold_seconds=declared.longest_hold_seconds,
    )
