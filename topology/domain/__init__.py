"""The payment itself, as pure decisions: no I/O, no clock, no chance, no Bytewax.

`decide` reads a PaymentIntent as it stands and a command, a processor's result or a timer; it answers with events that
carry the state, or with a refusal by name. `transitions` holds the table that says it all; `diagram` draws it. Driven
by `topology.payments`; what the other flows do upon the events, and send back, is this:

Processing calls the processor upon `transaction.created` and `transaction.rerouted` (authorization), upon
`transaction.created` and `transaction.repeated` (capture, void), always at the Transaction's own processor under the
Transaction's id, and upon no other event. It says `not_sent` of authorizations only, and only of one that was never
called; the codes of NOT_SENT_FOR_GOOD end the attempt, any other goes on to the next processor of the route.

Reconciliation derives what it waits for from the state after each event:

- `requires_payment_method`: 24 h after the event that led there, timer `abandonment`, naming the latest authorization
  (none: None), so that a newer attempt makes it stale;
- `requires_action`: after 15 min, timer `challenge_timeout`, naming the authorization; upon
  `transaction.challenge_returned` a look-up at once, then by the ladder;
- `requires_capture`: at the authorization's `capture_before`, timer `authorization_expiry`, naming it;
- an authorization `pending` without an open void: look-ups by the ladder; the second `not_found` opens its void. Where
  there is no look-up: timer `ladder` at once, which opens the void;
- a capture `pending`: look-ups by the ladder. Where captures are deduplicated, and the look-up of this step said
  `not_found` or there is none: timer `ladder`, upon which the fold writes `transaction.repeated`. Where they are not,
  never: whatever asks for a repeat is repeated;
- a void `pending`, compensating or not, in whatever status: timer `ladder` at each step (`transaction.repeated`);
- after 24 h of doubt, and of an open compensating void: timer `doubt_alert`, naming the Transaction (it is noted);
- 24 h after a Transaction was created of which nothing has been said, perhaps because its call never left: timer
  `unanswered_alert`, naming it (it is noted);
- at the end of the longest hold that the processor grants: timer `hold_ended`, naming an authorization that is
  `pending` or has an open void: evidence that it does not stand. It closes every open void of it.

Look-ups come back as results with `call=lookup` and the id of the Transaction looked up; settlement's and an operator's
word likewise, with their own `source`.
"""

from topology.domain.decision import Decision
from topology.domain.event_types import EventType
from topology.domain.evolve import Change, evolve
from topology.domain.findings import NOT_SENT_FOR_GOOD
from topology.domain.intents import forgettable, is_compensating, is_open, unresolved
from topology.domain.interpreter import decide
from topology.domain.refusals import DeadLetterCause, Refusal
from topology.domain.results import CALL_OF

__all__ = [
    "CALL_OF",
    "NOT_SENT_FOR_GOOD",
    "Change",
    "DeadLetterCause",
    "Decision",
    "EventType",
    "Refusal",
    "decide",
    "evolve",
    "forgettable",
    "is_compensating",
    "is_open",
    "unresolved",
]
