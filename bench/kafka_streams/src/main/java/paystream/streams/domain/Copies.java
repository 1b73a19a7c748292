package paystream.streams.domain;

import paystream.Transaction;

/** A record once more, so that one of its fields can be set: what an event carries never changes afterwards. */
final class Copies {
    private Copies() {}

    /** A shallow copy: what is inside a Transaction is never changed either. */
    static Transaction of(Transaction t) {
        return new Transaction(
                t.getId(),
                t.getType(),
                t.getStatus(),
                t.getAmountMinor(),
                t.getCurrency(),
                t.getProcessor(),
                t.getRoute(),
                t.getPaymentMethod(),
                t.getCard(),
                t.getAuthorizationId(),
                t.getVoidReason(),
                t.getProcessorReference(),
                t.getCode(),
                t.getDeclineCode(),
                t.getNextAction(),
                t.getChallengeReturned(),
                t.getCaptureBefore(),
                t.getLookupsNotFound(),
                t.getLookupsUnanswered(),
                t.getRepeats(),
                t.getCommandAt(),
                t.getFingerprint(),
                t.getReplyTo(),
                t.getProcessorData(),
                t.getCreatedAt(),
                t.getCompletedAt());
    }
}
