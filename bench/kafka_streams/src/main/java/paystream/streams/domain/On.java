package paystream.streams.domain;

import static paystream.PaymentIntentStatus.processing;
import static paystream.PaymentIntentStatus.requires_capture;
import static paystream.PaymentIntentStatus.requires_payment_method;

import paystream.PaymentIntentStatus;
import paystream.TransactionStatus;
import paystream.TransactionType;

/**
 * What comes in by name, with its row of topology/domain/transitions.py: those rows that the bench's mix reaches.
 *
 * `target` is the status after it, `event` what is recorded about the Transaction concerned, which `becomes` another
 * status, and `opens` the Transaction that follows. `source` null: there is no PaymentIntent yet.
 */
enum On {
    CREATE(null, requires_payment_method, Events.PAYMENT_INTENT_CREATED, null, null),
    ATTEMPT(requires_payment_method, processing, null, null, TransactionType.authorization),
    AUTHORIZED_MANUAL(processing, requires_capture, Events.TRANSACTION_COMPLETED, TransactionStatus.succeeded, null),
    AUTHORIZED_AUTOMATIC(
            processing, processing, Events.TRANSACTION_COMPLETED, TransactionStatus.succeeded, TransactionType.capture),
    CAPTURED(
            processing, PaymentIntentStatus.succeeded, Events.TRANSACTION_COMPLETED, TransactionStatus.succeeded, null);

    final PaymentIntentStatus source;
    final PaymentIntentStatus target;
    final String event;
    final TransactionStatus becomes;
    final TransactionType opens;

    On(
            PaymentIntentStatus source,
            PaymentIntentStatus target,
            String event,
            TransactionStatus becomes,
            TransactionType opens) {
        this.source = source;
        this.target = target;
        this.event = event;
        this.becomes = becomes;
        this.opens = opens;
    }
}
