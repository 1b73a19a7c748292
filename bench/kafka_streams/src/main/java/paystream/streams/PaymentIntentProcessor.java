package paystream.streams;

import java.util.List;
import org.apache.avro.specific.SpecificRecordBase;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import paystream.CommandReply;
import paystream.PaymentCommand;
import paystream.PaymentEvent;
import paystream.PaymentIntent;
import paystream.streams.domain.Decision;
import paystream.streams.domain.Fold;
import paystream.streams.domain.Identifiers;

/**
 * Folds what comes in for one PaymentIntent into its state and its events, and answers commands.
 *
 * Reads and writes the store of intents; forwards events and replies to their sinks. Driven by a stream thread, one for
 * each task.
 */
final class PaymentIntentProcessor implements Processor<String, SpecificRecordBase, String, Object> {
    private final Fold fold = new Fold(new Identifiers());
    private ProcessorContext<String, Object> context;
    private KeyValueStore<String, PaymentIntent> intents;

    @Override
    public void init(ProcessorContext<String, Object> context) {
        this.context = context;
        this.intents = context.getStateStore(PaymentsTopology.STORE);
    }

    @Override
    public void process(Record<String, SpecificRecordBase> given) {
        PaymentIntent intent = intents.get(given.key());
        Decision decision = fold.decide(intent, given.key(), given.value());
        List<PaymentEvent> events = decision.events();
        for (PaymentEvent event : events) {
            context.forward(given.withValue(event), PaymentsTopology.EVENTS_SINK);
        }
        if (!events.isEmpty()) {
            intent = events.get(events.size() - 1).getPaymentIntent();
            intents.put(given.key(), intent);
        }
        if (given.value() instanceof PaymentCommand command && command.getReplyPartition() != null) {
            Reply reply = new Reply(command.getReplyPartition(), reply(command, decision, intent));
            context.forward(given.withKey(command.getId()).withValue(reply), PaymentsTopology.REPLIES_SINK);
        }
    }

    private static CommandReply reply(PaymentCommand command, Decision decision, PaymentIntent intent) {
        // Who asks for another merchant's intent hears that there is none, and nothing about it.
        PaymentIntent known = "unknown_payment_intent".equals(decision.refusal()) ? null : intent;
        return new CommandReply(
                command.getId(),
                command.getPaymentIntentId(),
                known == null ? 0L : known.getSequence(),
                decision.refusal(),
                known,
                decision.transactionId(),
                decision.replayed(),
                false,
                null);
    }
}
