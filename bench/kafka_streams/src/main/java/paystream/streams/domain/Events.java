package paystream.streams.domain;

/** The names of the events that the bench's mix makes (topology/domain/event_types.py). */
final class Events {
    static final String PAYMENT_INTENT_CREATED = "payment_intent.created";
    static final String TRANSACTION_CREATED = "transaction.created";
    static final String TRANSACTION_COMPLETED = "transaction.completed";

    private Events() {}
}
