package paystream.streams.domain;

import java.util.ArrayList;
import java.util.List;
import paystream.CreatePaymentIntent;
import paystream.PaymentCommand;
import paystream.PaymentError;
import paystream.PaymentIntent;
import paystream.PaymentIntentStatus;
import paystream.Transaction;
import paystream.TransactionStatus;
import paystream.TransactionType;

/** A state and a change make the next state, one event further (topology/domain/evolve.py). */
final class Evolution {
    private Evolution() {}

    /** One step: what happened, the status after it, and the Transaction concerned as it is after it. */
    record Change(
            String type, long at, PaymentIntentStatus status, Transaction transaction, Long amountReceivedMinor) {}

    /** The first state of a PaymentIntent. */
    static PaymentIntent open(PaymentCommand command, CreatePaymentIntent body, PaymentIntentStatus status) {
        PaymentIntent opened = new PaymentIntent();
        opened.setId(command.getPaymentIntentId());
        opened.setMerchantId(command.getMerchantId());
        opened.setLivemode(command.getLivemode());
        opened.setStatus(status);
        opened.setAmountMinor(body.getAmountMinor());
        opened.setCurrency(body.getCurrency());
        opened.setCaptureMethod(body.getCaptureMethod());
        opened.setDescription(body.getDescription());
        opened.setMetadata(body.getMetadata());
        opened.setFingerprint(body.getFingerprint());
        opened.setSequence(1);
        opened.setCreatedAt(command.getAt());
        opened.setUpdatedAt(command.getAt());
        opened.setTransactions(List.of());
        return opened;
    }

    /** The state after the change. */
    static PaymentIntent evolve(PaymentIntent intent, Change change) {
        return new PaymentIntent(
                intent.getId(),
                intent.getMerchantId(),
                intent.getLivemode(),
                change.status(),
                intent.getAmountMinor(),
                intent.getCurrency(),
                intent.getCaptureMethod(),
                capturable(intent, change),
                change.amountReceivedMinor() == null ? intent.getAmountReceivedMinor() : change.amountReceivedMinor(),
                intent.getDescription(),
                intent.getMetadata(),
                intent.getFingerprint(),
                intent.getSequence() + 1,
                intent.getCreatedAt(),
                change.at(),
                null,
                error(intent, change),
                intent.getCancellationReason(),
                intent.getCanceledBy(),
                intent.getCancelRequested(),
                transactions(intent.getTransactions(), change));
    }

    private static List<Transaction> transactions(List<Transaction> before, Change change) {
        Transaction changed = change.transaction();
        List<Transaction> after = new ArrayList<>(before.size() + 1);
        if (change.type().equals(Events.TRANSACTION_CREATED)) {
            after.addAll(before);
            after.add(changed);
            return after;
        }
        for (Transaction transaction : before) {
            after.add(transaction.getId().equals(changed.getId()) ? changed : transaction);
        }
        return after;
    }

    /** What is authorized and not yet captured: from the approval until a capture. */
    private static long capturable(PaymentIntent intent, Change change) {
        if (change.status() != PaymentIntentStatus.processing
                && change.status() != PaymentIntentStatus.requires_capture) {
            return 0;
        }
        Transaction transaction = change.transaction();
        boolean approved = change.type().equals(Events.TRANSACTION_COMPLETED)
                && transaction.getType() == TransactionType.authorization
                && transaction.getStatus() == TransactionStatus.succeeded;
        return approved ? transaction.getAmountMinor() : intent.getAmountCapturableMinor();
    }

    /** A new attempt clears the error of the one before. */
    private static PaymentError error(PaymentIntent intent, Change change) {
        boolean attempted = change.type().equals(Events.TRANSACTION_CREATED)
                && change.transaction().getType() == TransactionType.authorization;
        return attempted ? null : intent.getLastPaymentError();
    }
}
