"""What breaks beside single calls: links, the processor, our own processes; and what people decide then."""

from __future__ import annotations

from tests.scenarios.rows import Phase
from tests.scenarios.table.shorthand import CANCELED, HOLD, IN_DOUBT, MANUAL, PAID, RPM, SUCCEEDED, both, http, iso

__all__ = ["FAILURE_PHASES"]

_CUT = "all: cut card-network-iso 8"

# fmt: off
LINK_CUT = Phase(
    title="The link of ISO 8583 is cut",
    rows=(
        both("not sent: the next processor of the route is asked", PAID, SUCCEEDED, _CUT, "pay",
             processor="cardnet", also=("transaction.rerouted",)),
        iso("not sent, and there is no other processor", ("authorization failed no_connection",), RPM, _CUT, "pay"),
        iso("a capture waits until the link is back", PAID, SUCCEEDED, *HOLD, _CUT, "capture", **MANUAL),
        iso("a void waits until the link is back", ("authorization succeeded", "void (cancel) succeeded"), CANCELED,
            *HOLD, _CUT, "cancel", **MANUAL),
    ),
)

BREAKER = Phase(
    title="The link of ISO 8583 is cut under many payments",
    rows=(
        both("breaker open: the next processor of the route is asked", PAID, SUCCEEDED,
             "all: cut card-network-iso 20", "rush 60", "until breaker open", "pay",
             processor="cardnet", also=("transaction.rerouted",)),
    ),
)

LINE_DECIDES = Phase(
    title="Captures are booked, and never answered; the settlement file comes first",
    faults={"kinds": ["capture"], "timeout_rate": 1, "lost_request_share": 0}, file_days_ago=400,
    rows=(
        iso("a capture in doubt is decided by its settlement line", PAID, SUCCEEDED,
            "pay", "until capture pending", "line add", "all: import", settlements=("settled",)),
    ),
)

LINE_CONTRADICTS = Phase(
    title="Captures are refused, and the answers lost; a settlement file has them all the same", file_days_ago=401,
    faults={"kinds": ["capture"], "decline_rate": 1, "timeout_rate": 1, "lost_request_share": 0},
    rows=(
        http("settlement contradicts look-up",
             ("authorization succeeded", "capture failed processing_error", "void (capture_failed) succeeded"), RPM,
             "pay", "until capture pending", "until capture failed", "line add", "all: import",
             settlements=("settled_not_captured",)),
    ),
)

RESTARTED = Phase(
    title="The processor restarts after it has booked, and before it answers", faults={"slow_seconds": 5},
    rows=(
        http("processor restarts", PAID, SUCCEEDED, "pay", "until booked authorization", "all: restart card-network",
             "until authorization pending", card="tok_slow"),
        iso("processor restarts", IN_DOUBT, RPM, "pay", "until booked authorization", "all: restart card-network",
            card="tok_slow"),
    ),
)

CRASH = Phase(
    title="Processing crashes between committing the in-flight entry and calling", one_by_one=True,
    rows=(
        http("crash before the call", PAID, SUCCEEDED,
             # The next row's crash must not cut this one's call short: it would be made once more.
             "crash before call", "pay", "until restarted flow-processing", "until succeeded", "next", asked=1),
        iso("crash before the call", IN_DOUBT, RPM,
            "crash before call", "pay", "until restarted flow-processing", "next"),
    ),
)

CRASH_AFTER_CALL = Phase(
    title="Processing crashes after calling, before it is answered", faults={"slow_seconds": 5},
    rows=(
        http("crash after the call: asked again under the same key", PAID, SUCCEEDED,
             "pay", "until booked authorization", "all: restart flow-processing", card="tok_slow", asked=2),
        iso("crash after the call: never asked again", IN_DOUBT, RPM,
            "pay", "until booked authorization", "all: restart flow-processing", card="tok_slow", asked=1),
    ),
)

OPERATOR = Phase(
    title="Nobody looks up (reconciliation stands still), and a person decides",
    rows=(
        http("an operator decides an authorization in doubt", PAID, SUCCEEDED,
             "all: pause flow-reconciliation", "pay", "until authorization pending",
             "resolve authorization approved", "all: resume flow-reconciliation", "until requires_capture", "capture",
             card="tok_connectionReset", also=("ada",), **MANUAL),
        iso("an operator decides an authorization in doubt", PAID, SUCCEEDED,
            "all: pause flow-reconciliation", "pay", "until authorization pending",
            "resolve authorization approved", "all: resume flow-reconciliation", "until requires_capture", "capture",
            card="tok_timeoutThenApproved", also=("ada",), **MANUAL),
    ),
)

CANCEL_DURING_CHALLENGE = Phase(
    title="Processing stands still while a challenge is decided",
    rows=(
        http("cancel racing the approval of a challenge",
             ("authorization canceled canceled", "void (cancel) succeeded"), CANCELED,
             "pay", "until requires_action", "all: pause flow-processing", "cancel", "until void created",
             "challenge complete", "all: resume flow-processing", card="tok_threeDSecureRequired"),
    ),
)

EXPIRY_DURING_CAPTURE = Phase(
    title="Processing stands still while a hold runs out", faults={"short_hold_seconds": 5},
    rows=(
        http("capture racing expiry: the hold runs out while the capture is under way",
             ("authorization succeeded", "capture failed authorization_expired"), CANCELED,
             *HOLD, "all: pause flow-processing", "capture", "until capture created", "rest 6",
             "all: resume flow-processing", card="tok_shortHold", **MANUAL),
        http("capture racing expiry: asked for while the void of the expiry is under way",
             ("authorization succeeded", "void (expiry) failed authorization_expired"), CANCELED,
             *HOLD, "all: pause flow-processing", "until void created", "capture ! transaction_in_doubt",
             "all: resume flow-processing", card="tok_shortHold", also=("authorization_expiry",), **MANUAL),
    ),
)
# fmt: on

FAILURE_PHASES = (
    LINK_CUT,
    BREAKER,
    LINE_DECIDES,
    LINE_CONTRADICTS,
    RESTARTED,
    CRASH,
    CRASH_AFTER_CALL,
    OPERATOR,
    CANCEL_DURING_CHALLENGE,
    EXPIRY_DURING_CAPTURE,
)
