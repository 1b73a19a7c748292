"""The steps of rows as they are written (`rows` has the language): which of them `player` can play."""

from __future__ import annotations

import re

from schemas.payment import PaymentIntentStatus, TransactionStatus

__all__ = ["TOGETHER", "is_step"]

TOGETHER = "all: "

_TYPE = "(authorization|capture|void)"
_REQUEST = r"(pay( tok_\w+)?|capture( \d+)?|void|cancel)( ! [a-z_]+)?"
_STEP = re.compile(
    "|".join(
        (
            _REQUEST,
            r"challenge (complete|fail)( ! 409)?",
            rf"until ({'|'.join(PaymentIntentStatus)})",
            rf"until {_TYPE} ({'|'.join(TransactionStatus)})",
            rf"until not_found {_TYPE}",
            rf"until booked (declined )?{_TYPE}",
            r"until said [a-z_.]+",
            r"until breaker open",
            r"until restarted [a-z-]+",
            rf"line (omit|double|change|add)( of ({_TYPE}|none))?( [a-z_]+=\S+)*",
            rf"resolve {_TYPE} (approved|declined)",
            r"create|crash before call|next|rush \d+|rest \d+|unsettled \d+",
            r"all: faults off",
            r"all: clock (\d+[smhd]|saturday|wednesday [-+]\d+h)",
            r"all: (restart|pause|resume) [a-z-]+",
            r"all: cut [a-z0-9-]+ \d+",
            r"all: import( today)?",
        )
    )
)


def is_step(text: str) -> bool:
    """Whether a step is one that can be played."""
    return _STEP.fullmatch(text) is not None
