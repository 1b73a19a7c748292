"""Bugs in what the fold tells and forgets, in the API's identifiers, and in the read model."""

from __future__ import annotations

from tests.chaos.bugs.planting import Bug, Constant, Edit

__all__ = ["FOLD_AND_SINK_BUGS"]

FOLD_AND_SINK_BUGS = (
    Bug(
        name="merchant_key_dropped",
        does="the id of a PaymentIntent is drawn by chance, whatever the Idempotency-Key says",
        edits=(
            Edit(
                where="schemas.identifiers:payment_intent_id",
                before="idempotency_key)",
                after='__import__("secrets").token_hex())',
            ),
        ),
    ),
    Bug(
        name="reply_before_commit",
        does="a command is answered as soon as it is decided, before its outcome has been committed",
        edits=(
            Edit(
                where="topology.payments:build",
                before=(
                    'decided = kafka.stateful("payment_intent", inputs, context, state=PaymentIntent,'
                    " decide=fold.decide)"
                ),
                after="""
                    def decide(*given):
                        intent, outputs = fold.decide(*given)
                        context.side.committed([one.effect for one in outputs if isinstance(one, AfterCommit)])
                        return intent, [one for one in outputs if not isinstance(one, AfterCommit)]
                    decided = kafka.stateful("payment_intent", inputs, context, state=PaymentIntent, decide=decide)
                """,
            ),
        ),
    ),
    Bug(
        name="forgotten_created_again",
        does="a create is not checked against what the shard has forgotten",
        edits=(
            Edit(
                where="topology.domain.commands:read_create",
                before="if forgotten_up_to is not None and body.absent_at < forgotten_up_to:",
                after="if False:",
            ),
        ),
    ),
    Bug(
        name="forgotten_too_early",
        does="what has come to rest is forgotten at once, before the read model surely has it",
        edits=(
            Edit(
                where="topology.forgetting:Forgetting._forget",
                before="if key is None or resting[key] >= up_to:",
                after="if key is None:",
            ),
        ),
    ),
    Bug(
        name="sink_without_sequence_guard",
        does="the read model's rows are replaced by whatever is written last",
        edits=(
            Constant(
                where="sinks.postgres.merge:MERGES",
                before=' WHERE "payment_intents".sequence < EXCLUDED.sequence',
                after="",
            ),
            Constant(
                where="sinks.postgres.merge:MERGES",
                before=' WHERE "transactions".sequence < EXCLUDED.sequence',
                after="",
            ),
        ),
    ),
)
