"""What time brings: the test clock is advanced, and the network's with it. These come last: no clock goes back."""

from __future__ import annotations

from tests.scenarios.rows import Phase
from tests.scenarios.table.shorthand import CANCELED, HOLD, MANUAL, PAID, RPM, SUCCEEDED, http, iso

__all__ = ["TIME_PHASES"]

_TIMED_OUT = ("authorization expired challenge_timeout", "void (challenge_timeout) succeeded")
_UNANSWERED = {"timeout_rate": 1, "lost_request_share": 0}
_LOST = {"timeout_rate": 1, "lost_request_share": 1}

# fmt: off
# Three business days after the cut-off of a Saturday or Sunday, a Wednesday ends.
_MISSING = (
    PAID, SUCCEEDED, "all: clock saturday", "create", "pay", "until succeeded", "line omit", "all: import today",
    "all: import", "all: clock wednesday -1h", "unsettled 30", "all: clock wednesday +1h",
)

CHALLENGE = Phase(
    title="A challenge is open for longer than 15 minutes", at_rest=True,
    rows=(
        http("challenge that nobody passes", _TIMED_OUT, RPM, "pay", "until requires_action", "all: clock 16m",
             card="tok_threeDSecureRequired", also=("challenge_timeout",)),
        http("challenge passed after its time-out", _TIMED_OUT, RPM, "pay", "until requires_action", "all: clock 16m",
             "until requires_payment_method", "challenge complete ! 409", card="tok_threeDSecureRequired"),
    ),
)

CHALLENGE_PASSED = Phase(
    title="A challenge is passed after its time-out, and before its void has come (processing stands still)",
    at_rest=True,
    rows=(
        http("challenge passed between its time-out and its void", _TIMED_OUT, RPM,
             "pay", "until requires_action", "all: pause flow-processing", "all: clock 16m", "until void created",
             "challenge complete", "all: resume flow-processing", card="tok_threeDSecureRequired"),
    ),
)

DAY = Phase(
    title="A day goes by; captures and voids are booked, and not answered", at_rest=True,
    faults={"kinds": ["capture", "void"], **_UNANSWERED},
    rows=(
        http("abandoned after 24 h", (), CANCELED, "all: clock 25h", also=("abandonment",)),
        iso("abandoned after a decline and 24 h", ("authorization declined card_declined",), CANCELED,
            "pay", "until requires_payment_method", "all: clock 25h",
            card="tok_chargeDeclined", also=("abandonment",)),
        http("doubt alert after 24 h, then acknowledged", ("authorization succeeded", "void (cancel) succeeded"),
             CANCELED, *HOLD, "cancel", "until void pending", "all: clock 25h", "until said doubt_alert",
             "all: faults off", also=("transaction.repeated",), **MANUAL),
        iso("doubt alert after 24 h, then acknowledged", ("authorization succeeded", "void (requested) succeeded"),
            CANCELED, *HOLD, "void", "until void pending", "all: clock 25h", "until said doubt_alert",
            "all: faults off", also=("transaction.repeated",), **MANUAL),
        http("an operator acknowledges a void", ("authorization succeeded", "void (cancel) succeeded"), CANCELED,
             *HOLD, "cancel", "until void pending", "all: clock 25h", "resolve void approved", "all: faults off",
             also=("ada",), **MANUAL),
        iso("an operator decides a capture in doubt", PAID, SUCCEEDED,
            "pay", "until capture pending", "all: clock 25h", "resolve capture approved", "all: faults off",
            also=("ada",)),
    ),
)

NINE_DAYS = Phase(
    title="Nine days go by; voids are lost on their way", at_rest=True, faults={"kinds": ["void"], **_LOST},
    rows=(
        http("void that is never acknowledged ends with the hold",
             ("authorization succeeded", "void (cancel) expired hold_ended"), CANCELED,
             *HOLD, "cancel", "until void pending", "all: clock 9d", also=("hold_ended",), **MANUAL),
        iso("void that is never acknowledged ends with the hold",
            ("authorization succeeded", "void (requested) expired hold_ended"), CANCELED,
            *HOLD, "void", "until void pending", "all: clock 9d", also=("hold_ended",), **MANUAL),
        http("missing at the processor after the grace", PAID, SUCCEEDED, "pay", "until succeeded", "all: clock 9d",
             settlements=("missing_at_processor",)),
        iso("missing at the processor after the grace", PAID, SUCCEEDED, "pay", "until succeeded", "all: clock 9d",
            settlements=("missing_at_processor",)),
    ),
)

EXPIRY = Phase(
    title="An authorization is held for longer than seven days", at_rest=True,
    rows=(
        http("authorization expires: the processor said when",
             ("authorization succeeded", "void (expiry) failed authorization_expired"), CANCELED,
             *HOLD, "all: clock 170h", "until canceled", "capture ! already_canceled",
             also=("authorization_expiry",), **MANUAL),
        iso("authorization expires: after seven days",
            ("authorization succeeded", "void (expiry) failed invalid_transaction"), CANCELED,
            *HOLD, "all: clock 170h", "until canceled", "capture ! already_canceled",
            also=("authorization_expiry",), **MANUAL),
    ),
)

WEEKEND = Phase(
    title="A weekend: what is captured on Saturday is settled on Monday, or missing on Wednesday", at_rest=True,
    rows=(
        http("cut-off and weekend", PAID, SUCCEEDED, "all: clock saturday", "create", "pay",
             "until succeeded", "all: import today", "all: import", settlements=("settled",), settled_on="Monday"),
        iso("cut-off and weekend", PAID, SUCCEEDED, "all: clock saturday", "create", "pay",
            "until succeeded", "all: import today", "all: import", settlements=("settled",), settled_on="Monday"),
        http("missing at the processor, and not before the grace has ended", *_MISSING,
             settlements=("missing_at_processor",)),
        iso("missing at the processor, and not before the grace has ended", *_MISSING,
            settlements=("missing_at_processor",)),
    ),
)
# fmt: on

TIME_PHASES = (CHALLENGE, CHALLENGE_PASSED, DAY, NINE_DAYS, EXPIRY, WEEKEND)
