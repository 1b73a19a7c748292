"""What every request has in common: who asks, the Idempotency-Key, how long the client waits, and the body's bytes.

Each function reads one of them from a Starlette request or raises a Problem. A header that may stand only once and
stands twice is refused, since whoever sits before us may have looked at the other one.
"""

from __future__ import annotations

import asyncio
import re

from starlette.requests import ClientDisconnect, Request

from ingress.bodies import refuse_card_number
from ingress.keys import Keyring, Principal
from ingress.problems import Problem

__all__ = ["authenticate", "idempotency_key", "preferred_wait_seconds", "read_json"]

BODY_BYTES_MAX = 64 * 1024
BODY_TIMEOUT_SECONDS = 10.0
WAIT_SECONDS_MAX = 30

_BEARER = re.compile(r"bearer +(?P<token>[\x21-\x7e]{1,200})", re.ASCII | re.IGNORECASE)
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
# Parameters may be empty (RFC 9110, 5.6.6).
_JSON = re.compile(r'application/json\s*(?:(?:;\s*)+charset\s*=\s*"?utf-8"?\s*)?(?:;\s*)*', re.ASCII | re.IGNORECASE)
# A quotation that does not end goes on to the end, lest the search begin anew at each of its quotes.
_PREFERENCE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+')
_WAIT = re.compile(r'wait\s*=\s*(?:"\s*(\d+)\s*"|(\d+))\s*(?:;.*)?', re.ASCII | re.IGNORECASE)


def authenticate(request: Request, keyring: Keyring) -> Principal:
    """Who asks; raises the 401 Problem, the same for a missing, a malformed and an unknown key."""
    header = _single_header(request, "authorization")
    form = _BEARER.fullmatch(header) if header is not None else None
    principal = keyring.principal(form["token"]) if form is not None else None
    if principal is None:
        raise Problem(
            401,
            "unauthorized",
            "The request carries no API key that is valid here.",
            headers={"www-authenticate": 'Bearer realm="paystream"'},
        )
    return principal


def idempotency_key(request: Request) -> str:
    """The Idempotency-Key; raises Problem."""
    key = _single_header(request, "idempotency-key")
    if key is None:
        raise Problem.invalid("idempotency_key_missing", "Every POST needs an Idempotency-Key.")
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        title = "The Idempotency-Key is not 1 to 255 printable ASCII characters."
        raise Problem.invalid("idempotency_key_invalid", title)
    refuse_card_number(key, param="Idempotency-Key")
    return key


def preferred_wait_seconds(request: Request) -> int | None:
    """The seconds of `Prefer: wait=n` (RFC 7240), 30 at most; None without it. Other preferences are ignored."""
    for header in request.headers.getlist("prefer"):
        for preference in _PREFERENCE.findall(header):
            if wait := _WAIT.fullmatch(preference.strip()):
                digits = (wait[1] or wait[2]).lstrip("0")
                # Three digits are more than is granted; int() refuses some thousands.
                return min(int(digits[:3] or 0), WAIT_SECONDS_MAX)
    return None


async def read_json(request: Request, *, optional: bool = False) -> bytes:
    """The body, 64 KiB at most, which says of itself that it is JSON; raises Problem.

    An optional body may be empty, and then needs no Content-Type.
    """
    media_type = _single_header(request, "content-type")
    if media_type is None and not optional:
        raise _unsupported("The Content-Type is missing; it has to be application/json.")
    if media_type is not None and not _JSON.fullmatch(media_type):
        raise _unsupported("The Content-Type is not application/json in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _unsupported("The body is encoded (Content-Encoding); it has to be sent as it is.")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            body = await _read(request)
    except TimeoutError:
        raise Problem(
            408, "body_timeout", "The body did not arrive in time.", headers={"connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Problem.invalid("body_incomplete", "The body ended before its end.") from None
    if body and media_type is None:
        raise _unsupported("The Content-Type is missing; it has to be application/json.")
    return body


async def _read(request: Request) -> bytes:
    """The body's bytes, of which no more than the limit are ever kept."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BODY_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise _too_large()
    return bytes(body)


def _single_header(request: Request, name: str) -> str | None:
    values = request.headers.getlist(name)
    if len(values) > 1:
        raise Problem.invalid("header_repeated", "A header that may stand only once stands twice.", param=name)
    return values[0].strip(" \t") if values else None


def _too_large() -> Problem:
    # The rest of the body is not waited for, so the connection cannot be used again.
    title = f"The body has more than {BODY_BYTES_MAX} bytes."
    return Problem(413, "body_too_large", title, headers={"connection": "close"})


def _unsupported(detail: str) -> Problem:
    return Problem(415, "unsupported_media_type", "The body is not of a kind that is taken here.", detail=detail)
