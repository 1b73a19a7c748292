"""What can go wrong with a request, as RFC 9457 problems: a stable `type` and `code`, never an echo of what was sent.

Handlers raise a Problem; `respond` and the handlers beside it, which `app` registers, are the one place where an
exception becomes a response.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = [
    "PROBLEM_TYPE_PREFIX",
    "REFUSALS",
    "Problem",
    "Refusal",
    "refused",
    "respond",
    "respond_to_bug",
    "respond_to_http",
]

PROBLEM_TYPE_PREFIX = "urn:paystream:problem:"
_MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_SECONDS = 1

_logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Problem(Exception):
    """A request that is not carried out, or not answered. All its texts are ours, without the client's words."""

    status: int
    code: str
    title: str
    detail: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The problem document."""
        optional = {"detail": self.detail, "param": self.param}
        return {
            "type": PROBLEM_TYPE_PREFIX + self.code,
            "code": self.code,
            "title": self.title,
            "status": self.status,
            **{name: value for name, value in optional.items() if value is not None},
            **self.more,
        }

    def response(self) -> Response:
        """The problem as a response."""
        return Response(
            msgspec.json.encode(self.body()),
            status_code=self.status,
            media_type=_MEDIA_TYPE,
            headers={"cache-control": "no-store", **self.headers},
        )

    @classmethod
    def invalid(cls, code: str, title: str, *, detail: str | None = None, param: str | None = None) -> Problem:
        """400: the request says something that cannot be."""
        return cls(HTTPStatus.BAD_REQUEST, code, title, detail=detail, param=param)

    @classmethod
    def unavailable(cls, code: str, title: str, *, detail: str | None = None) -> Problem:
        """503, to be asked again soon; only for what surely was not done."""
        headers = {"retry-after": str(_RETRY_AFTER_SECONDS)}
        return cls(HTTPStatus.SERVICE_UNAVAILABLE, code, title, detail=detail, headers=headers)

    @classmethod
    def unknown_payment_intent(cls) -> Problem:
        """404: no such PaymentIntent, or another merchant's, which is the same to who asks."""
        return cls(HTTPStatus.NOT_FOUND, "unknown_payment_intent", "There is no such PaymentIntent.")

    @classmethod
    def read_model_behind(cls) -> Problem:
        """503: the answer would be older than what somebody may have been told, or nobody can be sure of it."""
        return cls.unavailable("read_model_behind", "The read model has not come far enough.")


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a refusal of the fold is answered."""

    status: int
    title: str
    detail: str | None = None


REFUSALS: Mapping[str, Refusal] = {
    "unknown_payment_intent": Refusal(404, "There is no such PaymentIntent."),
    "unknown_transaction": Refusal(404, "There is no such Transaction."),
    "idempotency_mismatch": Refusal(422, "This Idempotency-Key was used with another request."),
    "transaction_in_doubt": Refusal(409, "Another Transaction of this PaymentIntent has no outcome yet."),
    "already_authorized": Refusal(409, "The PaymentIntent is authorized already."),
    "already_succeeded": Refusal(409, "The PaymentIntent has succeeded already."),
    "already_canceled": Refusal(409, "The PaymentIntent is canceled."),
    "not_capturable": Refusal(409, "The PaymentIntent has nothing to capture."),
    "nothing_to_void": Refusal(409, "The PaymentIntent has nothing to void."),
    "no_open_challenge": Refusal(409, "No challenge of this PaymentIntent is open."),
    "amount_not_positive": Refusal(422, "The amount is not positive."),
    "amount_exceeds_capturable": Refusal(422, "The amount is more than can be captured."),
    "no_route": Refusal(422, "No processor takes this payment."),
    "too_many_transactions": Refusal(409, "The PaymentIntent has had too many Transactions."),
    "merchant_disabled": Refusal(
        403,
        "This merchant may not begin new payments.",
        "This was not carried out. What was begun before can be read, captured, voided and canceled.",
    ),
}
_OTHER_REFUSAL = Refusal(409, "The PaymentIntent does not allow this in its present state.")


def refused(name: str) -> Problem:
    """The problem for a refusal of the fold; a name that is not listed is a conflict with the payment's state."""
    if name == "read_model_behind":
        return Problem.read_model_behind()
    refusal = REFUSALS.get(name, _OTHER_REFUSAL)
    return Problem(refusal.status, name, refusal.title, detail=refusal.detail)


def respond(_request: Request, problem: Exception) -> Response:
    """The response to a Problem."""
    assert isinstance(problem, Problem)
    return problem.response()


_HTTP_PROBLEMS = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not know this method."),
}


def respond_to_http(_request: Request, error: Exception) -> Response:
    """The response to what the routing refuses (unknown address, wrong method)."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    code, title = _HTTP_PROBLEMS.get(status, (status.name.lower(), f"{status.phrase}."))
    return Problem(status, code, title, headers=dict(error.headers or {})).response()


def respond_to_bug(_request: Request, error: Exception) -> Response:
    """The response to any other exception, of which the client learns nothing."""
    _logger.error("a request ended in a bug: %s", type(error).__name__)
    return Problem(500, "internal_error", "Something went wrong on our side.").response()
