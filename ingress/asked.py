"""What a merchant asks for: the command that it becomes, and how to recognize its outcome in a PaymentIntent.

Made from a checked body; pure. All identifiers follow from what the request says.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from ingress.bodies import AuthorizationBody, CaptureBody, CreateBody, TransactionBody, fingerprint_of
from ingress.keys import Principal
from schemas.commands import (
    Authorize,
    CancelPaymentIntent,
    CapturePayment,
    CreatePaymentIntent,
    PaymentCommand,
    VoidPayment,
)
from schemas.identifiers import (
    CommandId,
    PaymentIntentId,
    TransactionId,
    command_id,
    fingerprint,
    payment_intent_id,
    transaction_id,
)
from schemas.payment import Actor, ActorType, PaymentIntent, PaymentIntentStatus, Transaction
from schemas.times import Micros

__all__ = ["Asked", "Cancellation", "Creation", "TransactionAsked", "cancellation", "creation", "transaction"]

CommandBody = CreatePaymentIntent | Authorize | CapturePayment | VoidPayment | CancelPaymentIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(ABC):
    """A request that is well formed. `kind` and `idempotency_key` make the command's id, with the fingerprint."""

    principal: Principal
    payment_intent_id: PaymentIntentId
    kind: str
    idempotency_key: str
    fingerprint: bytes
    body: CommandBody

    @property
    def command_id(self) -> CommandId:
        """The id of the command, whenever and by whichever process it is sent."""
        return command_id(
            payment_intent_id=self.payment_intent_id,
            kind=self.kind,
            idempotency_key=self.idempotency_key,
            fingerprint=self.fingerprint,
        )

    def command(
        self, *, at: Micros, reply_partition: int, wait: bool = False, merchant_disabled: bool = False
    ) -> PaymentCommand:
        """The command; `wait` asks for a second reply when the intent has left processing.

        `merchant_disabled`: nothing new may be begun by it. Only the fold knows whether it is the same again.
        """
        return PaymentCommand(
            id=self.command_id,
            payment_intent_id=self.payment_intent_id,
            merchant_id=self.principal.merchant_id,
            livemode=self.principal.livemode,
            at=at,
            actor=Actor(type=ActorType.key, id=self.principal.key_id),
            reply_partition=reply_partition,
            wait=wait,
            body=self.body,
            merchant_disabled=merchant_disabled,
        )

    def may_see(self, intent: PaymentIntent) -> bool:
        """Whether the intent belongs to who asks."""
        return intent.merchant_id == self.principal.merchant_id and intent.livemode == self.principal.livemode

    @abstractmethod
    def contradicts(self, intent: PaymentIntent) -> bool:
        """Whether the Idempotency-Key stands for another request in the intent."""

    @abstractmethod
    def is_done_in(self, intent: PaymentIntent) -> bool:
        """Whether the intent shows that the command was carried out."""

    def was_carried_out_in(self, intent: PaymentIntent) -> bool:
        """Whether this very command is what the intent shows: where it is done, for all but a cancel."""
        return self.is_done_in(intent)

    @abstractmethod
    def is_repeated(self, intent: PaymentIntent, *, at: Micros) -> bool:
        """Whether the intent shows what another command had done under the same key, and not the one of that time.

        The reply cannot tell by itself: processes that share a partition of replies hear each other's.
        """

    def reference(self) -> dict[str, Any]:
        """What is known of the outcome before there is one."""
        return {"id": self.payment_intent_id, "object": "payment_intent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation(Asked):
    """A PaymentIntent is to be opened."""

    def absent_at(self, watermark: Micros) -> Creation:
        """The same, saying how far the read model had come when it did not know the id."""
        assert isinstance(self.body, CreatePaymentIntent)
        return dataclasses.replace(self, body=replace(self.body, absent_at=watermark))

    def contradicts(self, intent: PaymentIntent) -> bool:
        """Whether the intent was opened by another request."""
        return intent.fingerprint != self.fingerprint

    def is_done_in(self, intent: PaymentIntent) -> bool:
        """Whether the intent is there, which it is."""
        return intent.id == self.payment_intent_id

    def is_repeated(self, intent: PaymentIntent, *, at: Micros) -> bool:
        """The intent is as old as the command that opened it."""
        return intent.created_at != at


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnTransaction(Asked):
    """Something that may open a Transaction of an intent."""

    transaction_id: TransactionId

    def found_in(self, intent: PaymentIntent) -> Transaction | None:
        """The Transaction that the command opened."""
        return next((one for one in intent.transactions if one.id == self.transaction_id), None)

    def contradicts(self, intent: PaymentIntent) -> bool:
        """Whether the Transaction was opened by another request."""
        found = self.found_in(intent)
        return found is not None and found.fingerprint != self.fingerprint

    def is_done_in(self, intent: PaymentIntent) -> bool:
        """Whether the Transaction is there."""
        return self.found_in(intent) is not None

    def is_repeated(self, intent: PaymentIntent, *, at: Micros) -> bool:
        """The Transaction keeps the time of its command."""
        found = self.found_in(intent)
        return found is not None and found.command_at not in (None, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionAsked(_OnTransaction):
    """An authorization, a capture or a void."""

    def reference(self) -> dict[str, Any]:
        """The Transaction and its intent."""
        return {"id": self.transaction_id, "object": "transaction", "payment_intent": self.payment_intent_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation(_OnTransaction):
    """A PaymentIntent is to be canceled; the Transaction is the void, where there is something to void."""

    def is_done_in(self, intent: PaymentIntent) -> bool:
        """Whether it is canceled, or about to be."""
        return intent.status is PaymentIntentStatus.canceled or self.found_in(intent) is not None

    def was_carried_out_in(self, intent: PaymentIntent) -> bool:
        """Whether this cancel canceled it, or opened the void that did."""
        return intent.canceled_by == self.command_id or self.found_in(intent) is not None

    def is_repeated(self, intent: PaymentIntent, *, at: Micros) -> bool:
        """By the void, or by when the intent was canceled: at the command's time, but not before what was already so.

        What another request has canceled is not repeated.
        """
        if intent.canceled_by != self.command_id:
            return super(Cancellation, self).is_repeated(intent, at=at)
        earlier = (one.completed_at or one.created_at for one in intent.transactions)
        return intent.updated_at != max(at, intent.created_at, *earlier)


def creation(principal: Principal, idempotency_key: str, body: CreateBody) -> Creation:
    """A create, not yet looked up in the read model."""
    said = fingerprint_of("create", body)
    return Creation(
        principal=principal,
        payment_intent_id=payment_intent_id(
            merchant_id=principal.merchant_id, livemode=principal.livemode, idempotency_key=idempotency_key
        ),
        kind="create",
        idempotency_key=idempotency_key,
        fingerprint=said,
        body=CreatePaymentIntent(
            amount_minor=body.amount,
            currency=body.currency,
            capture_method=body.capture_method,
            description=body.description,
            metadata=body.metadata,
            absent_at=Micros(0),
            fingerprint=said,
        ),
    )


def transaction(
    principal: Principal,
    idempotency_key: str,
    intent_id: PaymentIntentId,
    body: TransactionBody,
    *,
    route: tuple[str, ...],
) -> TransactionAsked:
    """An authorization along the route, a capture or a void."""
    opened = transaction_id(payment_intent_id=intent_id, idempotency_key=idempotency_key)
    command: CommandBody
    if isinstance(body, AuthorizationBody):
        kind = "authorization"
        said = fingerprint_of(kind, body)
        command = Authorize(transaction_id=opened, payment_method=body.payment_method, route=route, fingerprint=said)
    elif isinstance(body, CaptureBody):
        kind = "capture"
        said = fingerprint_of(kind, body)
        command = CapturePayment(transaction_id=opened, amount_minor=body.amount, fingerprint=said)
    else:
        kind = "void"
        said = fingerprint_of(kind, body)
        command = VoidPayment(transaction_id=opened, fingerprint=said)
    return TransactionAsked(
        principal=principal,
        payment_intent_id=intent_id,
        kind=kind,
        idempotency_key=idempotency_key,
        fingerprint=said,
        body=command,
        transaction_id=opened,
    )


def cancellation(principal: Principal, idempotency_key: str, intent_id: PaymentIntentId) -> Cancellation:
    """A cancel, which says nothing but itself."""
    opened = transaction_id(payment_intent_id=intent_id, idempotency_key=idempotency_key)
    said = fingerprint("cancel")
    return Cancellation(
        principal=principal,
        payment_intent_id=intent_id,
        kind="cancel",
        idempotency_key=idempotency_key,
        fingerprint=said,
        body=CancelPaymentIntent(transaction_id=opened, fingerprint=said),
        transaction_id=opened,
    )
