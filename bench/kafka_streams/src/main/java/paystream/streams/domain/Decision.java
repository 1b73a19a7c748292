package paystream.streams.domain;

import java.util.List;
import paystream.PaymentEvent;

/**
 * What an input does to a payment (topology/domain/decision.py).
 *
 * The last event's PaymentIntent is the new state; no events: nothing changes. `refusal` is null or its name,
 * `transactionId` what the command opened or found.
 */
public record Decision(List<PaymentEvent> events, String refusal, String transactionId, boolean replayed) {
    static Decision of(List<PaymentEvent> events, String transactionId) {
        return new Decision(events, null, transactionId, false);
    }

    static Decision refused(String refusal) {
        return new Decision(List.of(), refusal, null, false);
    }

    static Decision replayed(String transactionId) {
        return new Decision(List.of(), null, transactionId, true);
    }
}
