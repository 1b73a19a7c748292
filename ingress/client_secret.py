"""The client secret of a PaymentIntent: `{id}_secret_{key id}_{HMAC}`.

It is computed anew each time and stands in no record, so nothing that is kept has to be protected for its sake.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from schemas.identifiers import PaymentIntentId

__all__ = ["ClientSecretKey"]

_KEY_BYTES_MIN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecretKey:
    """The key of the HMAC, with the id under which it is known."""

    id: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.id or len(self.key) < _KEY_BYTES_MIN:
            raise ValueError(f"a client secret key has an id and at least {_KEY_BYTES_MIN} bytes")

    def secret(self, payment_intent_id: PaymentIntentId) -> str:
        """The client secret of that PaymentIntent."""
        digest = hmac.new(self.key, b"client_secret:" + payment_intent_id.encode(), hashlib.sha256).hexdigest()
        return f"{payment_intent_id}_secret_{self.id}_{digest}"
