"""What settlement files say, and how it compares."""

from __future__ import annotations

from tests.scenarios.rows import Phase
from tests.scenarios.table.shorthand import CANCELED, HOLD, MANUAL, PAID, RPM, SUCCEEDED, http, iso

__all__ = ["SETTLEMENT"]

# fmt: off
SETTLEMENT = Phase(
    title="Settlement: a day's files, with what may be wrong in them", beside=True,
    rows=(
        http("settled as captured", PAID, SUCCEEDED, "pay", "until succeeded", "all: import",
             settlements=("settled",)),
        iso("settled as captured", PAID, SUCCEEDED, "pay", "until succeeded", "all: import",
            settlements=("settled",)),
        http("amount mismatch", PAID, SUCCEEDED, "pay", "until succeeded", "line change amount_minor=1900",
             "all: import", settlements=("amount",)),
        iso("currency mismatch", PAID, SUCCEEDED, "pay", "until succeeded", "line change currency=eur",
            "all: import", settlements=("currency",)),
        http("settled twice", PAID, SUCCEEDED, "pay", "until succeeded", "line double", "all: import",
             settlements=("settled", "settled_twice")),
        http("settled although voided", ("authorization succeeded", "void (requested) succeeded"), CANCELED,
             *HOLD, "void", "until canceled", "line add of authorization", "all: import",
             settlements=("settled_not_captured",), **MANUAL),
        iso("settled although voided", ("authorization succeeded", "void (cancel) succeeded"), CANCELED,
            *HOLD, "cancel", "until canceled", "line add of authorization", "all: import",
            settlements=("settled_not_captured",), **MANUAL),
        http("settled although the capture was refused",
             ("authorization succeeded", "capture failed authorization_expired"), RPM,
             "pay", "until capture failed", "line add", "all: import",
             card="tok_authorizationGone", settlements=("settled_not_captured",)),
        http("settlement without our transaction", PAID, SUCCEEDED, "pay", "until succeeded",
             "line add of none processor_reference=cn_of_nobody amount_minor=777 currency=usd", "all: import",
             settlements=("settled", "missing_here"), strays=("cn_of_nobody",)),
        iso("settlement without our transaction", PAID, SUCCEEDED, "pay", "until succeeded",
            "line add of none processor_reference=000000NOBODY amount_minor=778 currency=jpy", "all: import",
            settlements=("settled", "missing_here"), strays=("000000NOBODY",)),
        http("fees and chargeback lines are kept and not judged", PAID, SUCCEEDED, "pay", "until succeeded",
             "line add kind=chargeback amount_minor=-2000 currency=usd",
             "line add of none kind=fee processor_reference=cn_fee amount_minor=0 currency=usd fee_minor=300",
             "all: import", settlements=("settled", "unmatched_kind", "unmatched_kind"), strays=("cn_fee",)),
    ),
)

# fmt: on
