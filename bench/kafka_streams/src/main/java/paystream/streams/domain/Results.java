package paystream.streams.domain;

import java.util.Objects;
import paystream.Actor;
import paystream.ActorType;
import paystream.CallKind;
import paystream.CaptureMethod;
import paystream.Outcome;
import paystream.PaymentIntent;
import paystream.ProcessorResult;
import paystream.ResultSource;
import paystream.Transaction;
import paystream.TransactionStatus;
import paystream.TransactionType;
import paystream.streams.domain.Evolution.Change;

/** What an approval means for its authorization or capture (topology/domain/results*.py); pure, driven by `Fold`. */
final class Results {
    private static final long HOLD_MICROS = 7L * 24 * 3600 * 1_000_000;

    private final Identifiers identifiers;

    Results(Identifiers identifiers) {
        this.identifiers = identifiers;
    }

    /** Read the result of a call. */
    Decision decide(PaymentIntent intent, ProcessorResult result) {
        Transaction concerned = Transactions.find(intent, result.getTransactionId());
        if (concerned == null
                || result.getCall() != callOf(concerned)
                || result.getOutcome() != Outcome.approved
                || result.getSource() == ResultSource.operator
                || !result.getProcessor().equals(concerned.getProcessor())
                || !asAsked(concerned, result)) {
            throw new NotInTheMix("a result other than an approval as asked for");
        }
        if (concerned.getStatus() != TransactionStatus.created) {
            return again(concerned, result);
        }
        String cause = "result:" + result.getCall() + ":" + result.getTransactionId();
        Actor actor = new Actor(ActorType.processor, result.getProcessor());
        Recorder recorder = new Recorder(intent, result.getAt(), cause, actor, identifiers);
        if (concerned.getType() == TransactionType.authorization) {
            authorized(concerned, result, recorder);
        } else {
            captured(concerned, result, recorder);
        }
        return Decision.of(recorder.events(), concerned.getId());
    }

    private static CallKind callOf(Transaction transaction) {
        return switch (transaction.getType()) {
            case authorization -> CallKind.authorize;
            case capture -> CallKind.capture;
            default -> throw new NotInTheMix(transaction.getType().toString());
        };
    }

    private static boolean asAsked(Transaction transaction, ProcessorResult result) {
        return (result.getAmountMinor() == null || result.getAmountMinor() == transaction.getAmountMinor())
                && (result.getCurrency() == null || result.getCurrency().equals(transaction.getCurrency()));
    }

    /** The same approval again says nothing new. */
    private static Decision again(Transaction closed, ProcessorResult result) {
        if (closed.getStatus() == TransactionStatus.succeeded
                && Objects.equals(closed.getProcessorReference(), result.getProcessorReference())) {
            return Decision.refused("nothing_new");
        }
        throw new NotInTheMix("a contradiction");
    }

    private void authorized(Transaction authorization, ProcessorResult result, Recorder recorder) {
        Transaction approved = Transactions.withFacts(authorization, result);
        Long captureBefore = result.getCaptureBefore();
        approved.setCaptureBefore(captureBefore == null ? Long.valueOf(recorder.at() + HOLD_MICROS) : captureBefore);
        boolean manual = recorder.intent().getCaptureMethod() == CaptureMethod.manual;
        On on = manual ? On.AUTHORIZED_MANUAL : On.AUTHORIZED_AUTOMATIC;
        complete(on, approved, null, recorder);
        if (on.opens != null) {
            String id = identifiers.openedTransaction(
                    recorder.intent().getId(), recorder.intent().getSequence() + 1);
            Transaction opened = Transactions.opened(on.opens, id, approved, recorder.at());
            recorder.record(new Change(Events.TRANSACTION_CREATED, recorder.at(), on.target, opened, null));
        }
    }

    private void captured(Transaction capture, ProcessorResult result, Recorder recorder) {
        complete(On.CAPTURED, Transactions.withFacts(capture, result), capture.getAmountMinor(), recorder);
    }

    private static void complete(On on, Transaction concerned, Long amountReceivedMinor, Recorder recorder) {
        if (recorder.intent().getStatus() != on.source) {
            throw new NotInTheMix(on + " upon " + recorder.intent().getStatus());
        }
        concerned.setStatus(on.becomes);
        concerned.setNextAction(null);
        concerned.setCompletedAt(recorder.at());
        recorder.record(new Change(on.event, recorder.at(), on.target, concerned, amountReceivedMinor));
    }
}
