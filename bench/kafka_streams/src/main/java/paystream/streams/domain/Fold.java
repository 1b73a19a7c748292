package paystream.streams.domain;

import java.util.List;
import org.apache.avro.specific.SpecificRecord;
import paystream.Authorize;
import paystream.CreatePaymentIntent;
import paystream.PaymentCommand;
import paystream.PaymentIntent;
import paystream.ProcessorResult;
import paystream.Transaction;
import paystream.streams.domain.Evolution.Change;

/**
 * A payment as it stands and what comes in make events, or a refusal (topology/domain/interpreter.py).
 *
 * Knows the inputs of bench/fold/mix.py, repeated ones too; anything else is `NotInTheMix`. Pure: no clock,
 * no I/O. Driven by `PaymentIntentProcessor`; one for each task.
 */
public final class Fold {
    private final Identifiers identifiers;
    private final Results results;

    public Fold(Identifiers identifiers) {
        this.identifiers = identifiers;
        this.results = new Results(identifiers);
    }

    /** What the input does to the payment; `intent` null where there is none. */
    public Decision decide(PaymentIntent intent, String key, SpecificRecord given) {
        if (given instanceof PaymentCommand command) {
            check(Bounds.holds(command) && command.getPaymentIntentId().equals(key), "a command out of bounds");
            return command(intent, command);
        }
        if (given instanceof ProcessorResult result) {
            check(Bounds.holds(result) && result.getPaymentIntentId().equals(key), "a result out of bounds");
            check(intent != null, "a result of no PaymentIntent");
            return results.decide(intent, result);
        }
        throw new NotInTheMix(given.getSchema().getName());
    }

    private Decision command(PaymentIntent intent, PaymentCommand command) {
        if (intent != null && !mayAsk(intent, command)) {
            return Decision.refused("unknown_payment_intent");
        }
        if (command.getBody() instanceof CreatePaymentIntent body) {
            return create(intent, command, body);
        }
        if (intent == null) {
            return Decision.refused("unknown_payment_intent");
        }
        if (command.getBody() instanceof Authorize body) {
            return authorize(intent, command, body);
        }
        throw new NotInTheMix(((SpecificRecord) command.getBody()).getSchema().getName());
    }

    private static boolean mayAsk(PaymentIntent intent, PaymentCommand command) {
        return command.getMerchantId().equals(intent.getMerchantId())
                && command.getLivemode() == intent.getLivemode();
    }

    private Decision create(PaymentIntent intent, PaymentCommand command, CreatePaymentIntent body) {
        if (intent != null) {
            return body.getFingerprint().equals(intent.getFingerprint())
                    ? Decision.replayed(null)
                    : Decision.refused("idempotency_mismatch");
        }
        PaymentIntent opened = Evolution.open(command, body, On.CREATE.target);
        Recorder recorder = recorder(opened, command);
        recorder.first(On.CREATE.event);
        return Decision.of(recorder.events(), null);
    }

    private Decision authorize(PaymentIntent intent, PaymentCommand command, Authorize body) {
        Transaction known = Transactions.find(intent, body.getTransactionId());
        if (known != null) {
            return body.getFingerprint().equals(known.getFingerprint())
                    ? Decision.replayed(known.getId())
                    : Decision.refused("idempotency_mismatch");
        }
        if (intent.getStatus() != On.ATTEMPT.source) {
            return Decision.refused(notNow(intent));
        }
        if (body.getRoute().isEmpty()) {
            return Decision.refused("no_route");
        }
        Recorder recorder = recorder(intent, command);
        Transaction opened = Transactions.authorization(intent, command, body, recorder.at());
        recorder.record(new Change(Events.TRANSACTION_CREATED, recorder.at(), On.ATTEMPT.target, opened, null));
        return Decision.of(recorder.events(), opened.getId());
    }

    private Recorder recorder(PaymentIntent intent, PaymentCommand command) {
        check(!command.getWait(), "a second reply");
        return new Recorder(intent, command.getAt(), command.getId(), command.getActor(), identifiers);
    }

    /** Why a payment takes no further attempt. */
    private static String notNow(PaymentIntent intent) {
        return switch (intent.getStatus()) {
            case processing, requires_action -> "transaction_in_doubt";
            case requires_capture -> "already_authorized";
            case succeeded -> "already_succeeded";
            case canceled -> "already_canceled";
            case requires_payment_method -> throw new AssertionError(intent.getId());
        };
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new NotInTheMix(what);
        }
    }
}
