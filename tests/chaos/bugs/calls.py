"""Bugs around the calls of card processors: processing, the adapters, reconciliation's evidence."""

from __future__ import annotations

from tests.chaos.bugs.planting import Bug, Edit

__all__ = ["CALL_BUGS"]

_READ_AUTHORIZATION = "topology.domain.results_of_authorizations:read_authorization"

CALL_BUGS = (
    Bug(
        name="blind_retry",
        does="a call that timed out is made again, although it may have been carried out",
        edits=(
            Edit(
                where="topology.calls.engine:CallEngine._answer",
                before="answer = await method(call, departure)",
                after="""
                    answer = await method(call, departure)
                    if answer.code == Cause.timed_out:
                        departure = Departure(boot_seconds=self._boot_seconds, send_before=None)
                        answer = await method(call, departure)
                """,
            ),
        ),
    ),
    Bug(
        name="time_out_taken_for_decline",
        does="an authorization that nobody answered counts as declined",
        edits=(
            Edit(
                where=_READ_AUTHORIZATION,
                before="case Outcome.declined:",
                after="case Outcome.declined | Outcome.unknown:",
            ),
        ),
    ),
    Bug(
        name="not_found_believed",
        does="a look-up that finds nothing is taken as proof that the call was never carried out",
        edits=(
            Edit(
                where=_READ_AUTHORIZATION,
                before="case Outcome.declined:",
                after="case Outcome.declined | Outcome.not_found:",
            ),
        ),
    ),
    Bug(
        name="processor_key_dropped",
        does="an authorization goes out under a new key each time that it is made",
        edits=(
            Edit(
                where="topology.processors.http_json:HttpJsonProcessor.authorize",
                before='"reference": asked.transaction_id,',
                after='"reference": f"{asked.transaction_id}-{asyncio.get_running_loop().time()}",',
            ),
            Edit(
                where="topology.processors.http_json:HttpJsonProcessor._call",
                before="key=call.asked.transaction_id",
                after='key=body["reference"]',
            ),
        ),
    ),
    Bug(
        name="call_before_commit",
        does="a call leaves as soon as it is decided, before its in-flight entry has been committed",
        edits=(
            Edit(
                where="topology.processing:build",
                before='results = kafka.stateful("calls", inputs, context, state=InFlight, decide=calls.decide)',
                after="""
                    def decide(*given):
                        record, outputs = calls.decide(*given)
                        context.side.committed([one.effect for one in outputs if isinstance(one, kafka.AfterCommit)])
                        return record, [one for one in outputs if not isinstance(one, kafka.AfterCommit)]
                    results = kafka.stateful("calls", inputs, context, state=InFlight, decide=decide)
                """,
            ),
        ),
    ),
    Bug(
        name="restored_call_repeated",
        does="a call found in flight in a restore is made again, also where the processor does not deduplicate it",
        edits=(
            Edit(
                where="topology.calls.side:ProcessingSide._why_not_again",
                before="if call.in_flight and call.call not in self._promised[call.processor].deduplicates:",
                after="if False:",
            ),
            Edit(
                where="topology.calls.in_flight:may_repeat",
                before="if call.call not in capabilities.deduplicates or call.first_sent_at is None:\n    return False",
                after="return True",
            ),
        ),
    ),
    Bug(
        name="authorization_repeated_by_iso8583",
        does="a 0100 that was found in flight in a restore is sent again, under its own numbers",
        edits=(
            Edit(
                where="topology.processors.iso8583.processor:Iso8583Processor.__init__",
                before="deduplicates=frozenset({CallKind.capture, CallKind.void})",
                after="deduplicates=frozenset({CallKind.authorize, CallKind.capture, CallKind.void})",
            ),
            Edit(
                where="topology.processors.iso8583.messages:request_of",
                before="""
                    if may_have_been_made(asked):
                        raise NotRepresentable(Cause.restarted)
                """,
                after="",
            ),
        ),
    ),
    Bug(
        name="reversal_numbered_anew",
        does="the repeat of a reversal goes out under a trace number of its own, not under the one on record",
        edits=(
            Edit(
                where="topology.processors.iso8583.messages:request_of",
                before="if trace is None:\n    raise NotRepresentable(Cause.numbers_missing)",
                after="""
                    if trace is None:
                        raise NotRepresentable(Cause.numbers_missing)
                    if asked.call is CallKind.void and may_have_been_made(asked):
                        trace = trace._replace(de11=f"{999_999 - int(trace.de11):06}")
                """,
            ),
        ),
    ),
)
