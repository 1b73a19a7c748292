"""What cards do to the answers of their calls."""

from __future__ import annotations

from tests.scenarios.rows import Phase
from tests.scenarios.table.shorthand import CANCELED, HOLD, IN_DOUBT, MANUAL, PAID, RPM, SUCCEEDED, http, iso

__all__ = ["CARD_PHASES"]

# fmt: off
CARDS = Phase(
    title="Cards that answer, do not answer, or answer badly",
    faults={"slow_seconds": 5, "late_seconds": 8, "short_hold_seconds": 4},
    rows=(
        http("approved", PAID, SUCCEEDED),
        iso("approved", PAID, SUCCEEDED),
        http("declined", ("authorization declined card_declined",), RPM,
             card="tok_chargeDeclinedInsufficientFunds"),
        iso("declined", ("authorization declined card_declined",), RPM, card="tok_chargeDeclinedExpiredCard"),
        http("declined, then paid", ("authorization declined card_declined", *PAID), SUCCEEDED,
             "pay", "until requires_payment_method", "pay tok_visa", card="tok_chargeDeclined"),
        http("time-out, then approved", PAID, SUCCEEDED, "pay", "until authorization pending",
             card="tok_timeoutThenApproved"),
        iso("time-out, then approved", IN_DOUBT, RPM, card="tok_timeoutThenApproved"),
        http("time-out, then declined", ("authorization declined card_declined",), RPM,
             "pay", "until authorization pending", card="tok_timeoutThenDeclined"),
        iso("time-out, then declined",
            ("authorization failed outcome_unknown", "void (doubt) failed invalid_transaction"), RPM,
            card="tok_timeoutThenDeclined"),
        http("never arrived", IN_DOUBT, RPM, card="tok_timeoutNeverArrived"),
        iso("never arrived", IN_DOUBT, RPM, card="tok_timeoutNeverArrived"),
        http("never arrived, then paid with another card", (*IN_DOUBT, *PAID), SUCCEEDED,
             "pay", "until requires_payment_method", "pay tok_visa", card="tok_timeoutNeverArrived"),
        http("another attempt while in doubt is refused", PAID, SUCCEEDED,
             "pay", "until authorization pending", "pay tok_visa ! transaction_in_doubt",
             "cancel ! transaction_in_doubt", card="tok_timeoutThenApproved"),
        http("answer after the deadline", PAID, SUCCEEDED, "pay", "until authorization pending", card="tok_slow"),
        iso("answer after the deadline", IN_DOUBT, RPM, card="tok_slow"),
        http("duplicate answer", PAID, SUCCEEDED, card="tok_answeredTwice"),
        iso("duplicate answer", PAID, SUCCEEDED, card="tok_answeredTwice"),
        http("answer for an unknown transaction", PAID, SUCCEEDED, "pay", "until authorization pending",
             card="tok_answerOfAnother"),
        iso("answer for an unknown transaction", PAID, SUCCEEDED, card="tok_answerOfAnother"),
        http("look-up says unknown, then found", PAID, SUCCEEDED,
             "pay", "until not_found authorization", "until succeeded", card="tok_arrivesLate"),
        http("connection reset", PAID, SUCCEEDED, "pay", "until authorization pending", card="tok_connectionReset"),
        http("partial approval",
             ("authorization declined amount_not_approved", "void (amount_not_approved) succeeded"), RPM,
             card="tok_partialApproval"),
        iso("partial approval",
            ("authorization declined amount_not_approved", "void (amount_not_approved) succeeded"), RPM,
            card="tok_partialApproval"),
        http("capture failed, the authorization is gone",
             ("authorization succeeded", "capture failed authorization_expired"), RPM,
             card="tok_authorizationGone"),
        iso("capture failed, the authorization is gone",
            ("authorization succeeded", "capture failed invalid_transaction"), RPM, card="tok_authorizationGone"),
        http("manual capture failed, the authorization is gone",
             ("authorization succeeded", "capture failed authorization_expired"), CANCELED,
             *HOLD, "capture", card="tok_authorizationGone", **MANUAL),
        http("void of an authorization that is gone",
             ("authorization succeeded", "void (requested) failed authorization_expired"), CANCELED,
             *HOLD, "void", card="tok_authorizationGone", **MANUAL),
        http("capture times out once", PAID, SUCCEEDED, "pay", "until capture pending", card="tok_captureTimesOutOnce"),
        iso("capture times out once", PAID, SUCCEEDED, card="tok_captureTimesOutOnce",
            also=("transaction.repeated",)),
        http("capture's connection is reset", PAID, SUCCEEDED, "pay", "until capture pending", card="tok_captureReset"),
        http("void times out once", ("authorization succeeded", "void (cancel) succeeded"), CANCELED,
             *HOLD, "cancel", card="tok_voidTimesOutOnce", also=("transaction.repeated",), **MANUAL),
        iso("void times out once", ("authorization succeeded", "void (requested) succeeded"), CANCELED,
            *HOLD, "void", card="tok_voidTimesOutOnce", also=("transaction.repeated",), **MANUAL),
        http("partial capture", PAID, SUCCEEDED, *HOLD, "capture 1200", **MANUAL),
        iso("partial capture", PAID, SUCCEEDED, *HOLD, "capture 1200", "until succeeded",
            "capture ! already_succeeded", **MANUAL),
        http("challenge passed", PAID, SUCCEEDED, "pay", "until requires_action", "challenge complete",
             card="tok_threeDSecureRequired"),
        http("challenge failed", ("authorization declined authentication_failed",), RPM,
             "pay", "until requires_action", "challenge fail", card="tok_threeDSecureRequired"),
        iso("challenge that this host cannot ask for", ("authorization declined authentication_required",), RPM,
            card="tok_threeDSecureRequired"),
        http("capture racing expiry: the expiry is first",
             ("authorization succeeded", "void (expiry) failed authorization_expired"), CANCELED,
             *HOLD, "until canceled", "capture ! already_canceled", card="tok_shortHold", **MANUAL),
        iso("capture racing expiry: the hold has run out, and nobody said so",
            ("authorization succeeded", "capture failed invalid_transaction"), CANCELED,
            *HOLD, "rest 5", "capture", card="tok_shortHold", **MANUAL),
    ),
)


LATER = Phase(
    title="What comes later still, and what comes in between",
    faults={"slow_seconds": 2, "late_seconds": 20, "short_hold_seconds": 15},
    rows=(
        http("request that arrives after its void", IN_DOUBT, RPM,
             "pay", "until requires_payment_method", "until booked declined authorization", card="tok_arrivesLate"),
        iso("request that arrives after its void", IN_DOUBT, RPM,
            "pay", "until requires_payment_method", "until booked declined authorization", card="tok_arrivesLate"),
        http("capture racing expiry: the capture is first", PAID, SUCCEEDED, *HOLD, "capture", "until succeeded",
             "rest 16", card="tok_shortHold", **MANUAL),
        http("cancel racing approval", ("authorization succeeded", "void (cancel) succeeded"), CANCELED,
             "pay", "cancel ! transaction_in_doubt", "until requires_capture", "cancel", card="tok_slow", **MANUAL),
        iso("cancel racing approval", ("authorization succeeded", "void (cancel) succeeded"), CANCELED,
            "pay", "cancel ! transaction_in_doubt", "until requires_capture", "cancel", card="tok_slow", **MANUAL),
    ),
)

RESETS = Phase(
    title="Connections that carry other calls too are reset", one_by_one=True,
    rows=(
        iso("connection reset", IN_DOUBT, RPM, "pay", "until authorization pending", "next",
            card="tok_connectionReset"),
        iso("capture's connection is reset", PAID, SUCCEEDED, "pay", "until capture pending", "next",
            card="tok_captureReset", also=("transaction.repeated",)),
    ),
)
# fmt: on

CARD_PHASES = (CARDS, LATER, RESETS)
