package paystream.streams.domain;

import java.util.ArrayList;
import java.util.List;
import paystream.Actor;
import paystream.PaymentEvent;
import paystream.PaymentIntent;
import paystream.Transaction;
import paystream.streams.domain.Evolution.Change;

/** Lines up the events of one decision, each with the state after it (topology/domain/evolve.py). */
final class Recorder {
    private static final int EVENTS = 2;

    private final Identifiers identifiers;
    private final String cause;
    private final Actor actor;
    private final List<PaymentEvent> events = new ArrayList<>(EVENTS);
    private final long at;
    private PaymentIntent intent;

    Recorder(PaymentIntent intent, long at, String cause, Actor actor, Identifiers identifiers) {
        this.intent = intent;
        // Inputs come in the order of the log, whatever their clocks say: time never runs backwards in a payment.
        this.at = Math.max(at, intent.getUpdatedAt());
        this.cause = cause;
        this.actor = actor;
        this.identifiers = identifiers;
    }

    PaymentIntent intent() {
        return intent;
    }

    long at() {
        return at;
    }

    List<PaymentEvent> events() {
        return events;
    }

    /** Record the event with which the PaymentIntent came to be. */
    void first(String type) {
        add(type, null);
    }

    /** Record one more event. */
    void record(Change change) {
        intent = Evolution.evolve(intent, change);
        add(change.type(), change.transaction());
    }

    private void add(String type, Transaction transaction) {
        String id = identifiers.event(intent.getId(), intent.getSequence());
        events.add(new PaymentEvent(id, intent.getSequence(), type, at, cause, actor, intent, transaction));
    }
}
