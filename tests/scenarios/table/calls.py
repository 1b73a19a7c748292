"""Faults of all calls at once: refused, lost, answered without a word, answered twice."""

from __future__ import annotations

from tests.scenarios.rows import Phase
from tests.scenarios.table.shorthand import CANCELED, HELD, HOLD, IN_DOUBT, MANUAL, PAID, RPM, SUCCEEDED, http, iso

__all__ = ["CALL_PHASES"]

# fmt: off
CAPTURES_REFUSED = Phase(
    title="Captures are refused, and the hold stands", faults={"kinds": ["capture"], "decline_rate": 1},
    rows=(
        http("capture refused, automatic",
             ("authorization succeeded", "capture failed processing_error", "void (capture_failed) succeeded"), RPM),
        iso("capture refused, automatic",
            ("authorization succeeded", "capture failed invalid_transaction", "void (capture_failed) succeeded"),
            RPM),
        http("capture refused, then captured",
             ("authorization succeeded", "capture failed processing_error", "capture succeeded"), SUCCEEDED,
             *HOLD, "capture", "until capture failed", "all: faults off", "capture", **MANUAL),
    ),
)


VOIDS_REFUSED = Phase(
    title="Voids are refused, and the hold stands", faults={"kinds": ["void"], "decline_rate": 1},
    rows=(
        http("void refused, then captured",
             ("authorization succeeded", "void (cancel) failed processing_error", "capture succeeded"), SUCCEEDED,
             *HOLD, "cancel", "until void failed", "capture", **MANUAL),
        iso("void refused: the merchant may still capture",
            ("authorization succeeded", "void (requested) failed invalid_transaction"), HELD,
            *HOLD, "void", **MANUAL),
    ),
)


CAPTURES_LOST = Phase(
    title="Captures are lost on their way", faults={"kinds": ["capture"], "timeout_rate": 1, "lost_request_share": 1},
    rows=(
        http("capture never arrived", PAID, SUCCEEDED, "pay", "until capture pending", "all: faults off",
             also=("transaction.repeated",)),
        iso("capture never arrived", PAID, SUCCEEDED, "pay", "until capture pending", "all: faults off",
            also=("transaction.repeated",)),
    ),
)


VOIDS_LOST = Phase(
    title="Voids are lost on their way", faults={"kinds": ["void"], "timeout_rate": 1, "lost_request_share": 1},
    rows=(
        http("void never arrived", ("authorization succeeded", "void (cancel) succeeded"), CANCELED,
             *HOLD, "cancel", "until void pending", "all: faults off", also=("transaction.repeated",), **MANUAL),
        iso("void never arrived", ("authorization succeeded", "void (requested) succeeded"), CANCELED,
            *HOLD, "void", "until void pending", "all: faults off", also=("transaction.repeated",), **MANUAL),
        iso("void of a doubt never arrived", IN_DOUBT, RPM, "pay", "until void pending", "all: faults off",
            card="tok_timeoutThenApproved", also=("transaction.repeated",)),
    ),
)

CODES = Phase(
    title="Answers that say nothing", one_by_one=True,
    rows=(
        *(
            iso(f"code {code} of an authorization that was {'lost' if lost else 'booked'}", IN_DOUBT, RPM,
                "pay", "until void created", "next",
                faults={"kinds": ["authorization"], "iso_doubt_rate": 1, "iso_response_codes": [code],
                        "lost_request_share": lost})
            for code, lost in (("09", 0), ("94", 1), ("96", 0), ("Q1", 1))
        ),
        iso("code 94 of a capture that was booked", PAID, SUCCEEDED, "pay", "until capture pending", "next",
            faults={"kinds": ["capture"], "iso_doubt_rate": 1, "iso_response_codes": ["94"],
                    "lost_request_share": 0}, also=("transaction.repeated",)),
    ),
)


OTHER_CONNECTION = Phase(
    title="Answers come back on another connection", faults={"iso_other_connection_rate": 1},
    rows=(
        iso("answers on another connection", PAID, SUCCEEDED, *HOLD, "capture", **MANUAL),
        iso("the void's answer on another connection", ("authorization succeeded", "void (cancel) succeeded"),
            CANCELED, *HOLD, "cancel", **MANUAL),
    ),
)


DUPLICATES = Phase(
    title="Every answer comes twice", faults={"duplicate_rate": 1},
    rows=(
        http("duplicate answers to all calls", PAID, SUCCEEDED, *HOLD, "capture", **MANUAL),
        iso("duplicate answers to all calls", ("authorization succeeded", "void (requested) succeeded"), CANCELED,
            *HOLD, "void", **MANUAL),
    ),
)

# fmt: on

CALL_PHASES = (CAPTURES_REFUSED, VOIDS_REFUSED, CAPTURES_LOST, VOIDS_LOST, CODES, OTHER_CONNECTION, DUPLICATES)
