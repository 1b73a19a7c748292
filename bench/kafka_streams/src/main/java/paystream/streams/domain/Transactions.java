package paystream.streams.domain;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import paystream.Authorize;
import paystream.PaymentCommand;
import paystream.PaymentIntent;
import paystream.ProcessorResult;
import paystream.Transaction;
import paystream.TransactionStatus;
import paystream.TransactionType;

/** The Transactions of a PaymentIntent: finding one, opening one, and what a result adds to it. */
final class Transactions {
    private Transactions() {}

    /** The Transaction of this id, or null; the newest are asked for most. */
    static Transaction find(PaymentIntent intent, String id) {
        List<Transaction> all = intent.getTransactions();
        for (int i = all.size() - 1; i >= 0; i--) {
            if (all.get(i).getId().equals(id)) {
                return all.get(i);
            }
        }
        return null;
    }

    /** The authorization that a command opens. */
    static Transaction authorization(PaymentIntent intent, PaymentCommand command, Authorize body, long at) {
        Transaction opening = new Transaction();
        opening.setId(body.getTransactionId());
        opening.setType(TransactionType.authorization);
        opening.setStatus(TransactionStatus.created);
        opening.setAmountMinor(intent.getAmountMinor());
        opening.setCurrency(intent.getCurrency());
        opening.setProcessor(body.getRoute().get(0));
        opening.setRoute(body.getRoute().subList(1, body.getRoute().size()));
        opening.setPaymentMethod(body.getPaymentMethod());
        opening.setCard(body.getCard());
        opening.setCommandAt(command.getAt());
        opening.setFingerprint(body.getFingerprint());
        opening.setProcessorData(Map.of());
        opening.setCreatedAt(at);
        return opening;
    }

    /** What the fold itself opens on an authorization. */
    static Transaction opened(TransactionType type, String id, Transaction authorization, long at) {
        Transaction opening = new Transaction();
        opening.setId(id);
        opening.setType(type);
        opening.setStatus(TransactionStatus.created);
        opening.setAmountMinor(authorization.getAmountMinor());
        opening.setCurrency(authorization.getCurrency());
        opening.setProcessor(authorization.getProcessor());
        opening.setRoute(List.of());
        opening.setAuthorizationId(authorization.getId());
        opening.setProcessorData(Map.of());
        opening.setCreatedAt(at);
        return opening;
    }

    /** A copy with the reference and the adapter's data that came with the result. */
    static Transaction withFacts(Transaction transaction, ProcessorResult result) {
        Transaction known = Copies.of(transaction);
        String reference = result.getProcessorReference();
        if (reference != null && !reference.isEmpty()) {
            known.setProcessorReference(reference);
        }
        if (!result.getProcessorData().isEmpty()) {
            Map<String, String> data = new HashMap<>(transaction.getProcessorData());
            data.putAll(result.getProcessorData());
            known.setProcessorData(data);
        }
        return known;
    }
}
