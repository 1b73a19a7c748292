"""What a processor with an HTTP API declares of itself: GET /capabilities.

The flows decide by these promises what a crash left in doubt, so nothing is called or believed on a guess: it is asked
again, later and later, until it has answered. Driven by an adapter, on the loop that its calls run on.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import msgspec

from schemas.processing import CallKind
from topology.processors.port import Capabilities

__all__ = ["declared_capabilities"]

log = logging.getLogger("paystream.processors")

_RETRY_SECONDS_MIN = 0.25
_RETRY_SECONDS_MAX = 5.0
_ANSWER_SECONDS_MAX = 5.0


class _Deduplicates(msgspec.Struct, frozen=True):
    authorization: bool
    capture: bool
    void: bool


class _Declared(msgspec.Struct, frozen=True):
    deduplicates: _Deduplicates
    lookup: bool
    longest_hold_seconds: int


async def declared_capabilities(base_url: str, *, deduplication_seconds: float) -> Capabilities:
    """Ask until it answers, however long that takes.

    For how long it remembers a key is not in the answer; that comes from its contract, as `deduplication_seconds`.
    """
    url, wait_seconds, told = f"{base_url}/capabilities", _RETRY_SECONDS_MIN, ""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False, raise_for_status=True) as session:
        while True:
            try:
                async with session.get(url, allow_redirects=False) as response:
                    declared = msgspec.json.decode(await response.read(), type=_Declared)
                    return _capabilities(declared, deduplication_seconds)
            except Exception as error:  # noqa: BLE001
                # Whatever it is, it is told and asked again: a flow must not end because a processor misbehaves.
                detail = f"{type(error).__name__} {error}"
            if detail != told:
                log.warning("%s: nothing is called there until it answers (%s)", url, detail)
                told = detail
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _RETRY_SECONDS_MAX)


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
