package paystream.streams;

import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.avro.specific.SpecificRecordBase;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.StreamPartitioner;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import paystream.CommandReply;
import paystream.PaymentCommand;
import paystream.PaymentEvent;
import paystream.PaymentIntent;
import paystream.ProcessorResult;
import paystream.TimerFired;
import paystream.streams.avro.AvroDeserializer;
import paystream.streams.avro.AvroSerializer;
import paystream.streams.avro.SchemaIds;

/**
 * The flow as a diagram: commands, results, timers → payment-intent → events, replies.
 *
 * The Processor API, for there is one operator: the DSL would put a merge, a timestamped store and its nodes around it.
 */
final class PaymentsTopology {
    static final String STORE = "payment-intents";
    static final String EVENTS_SINK = "events";
    static final String REPLIES_SINK = "replies";

    private static final String PROCESSOR = "payment-intent";

    private final SchemaIds ids = new SchemaIds();

    private PaymentsTopology() {}

    static Topology build() {
        return new PaymentsTopology().topology();
    }

    private Topology topology() {
        Topology topology = new Topology();
        source(topology, "payments.commands", PaymentCommand.class);
        source(topology, "payments.processor-results", ProcessorResult.class);
        source(topology, "payments.timers", TimerFired.class);
        topology.addProcessor(
                PROCESSOR,
                PaymentIntentProcessor::new,
                "payments.commands",
                "payments.processor-results",
                "payments.timers");
        topology.addStateStore(store(), PROCESSOR);
        // Without a partitioner the producer hashes the key, by which it comes to the partition of its inputs.
        topology.addSink(
                EVENTS_SINK,
                "payments.events",
                new StringSerializer(),
                new AvroSerializer<>(PaymentEvent.class, ids),
                PROCESSOR);
        topology.addSink(
                REPLIES_SINK, "payments.replies", new StringSerializer(), replySerializer(), byName(), PROCESSOR);
        return topology;
    }

    private <T extends SpecificRecordBase> void source(Topology topology, String topic, Class<T> type) {
        Deserializer<T> records = new AvroDeserializer<>(type, ids);
        topology.addSource(topic, new StringDeserializer(), records, topic);
    }

    /** In memory, as Paystream keeps it; Streams makes the changelog topic, compacted. */
    private StoreBuilder<KeyValueStore<String, PaymentIntent>> store() {
        return Stores.keyValueStoreBuilder(
                        Stores.inMemoryKeyValueStore(STORE),
                        Serdes.String(),
                        Serdes.serdeFrom(
                                new AvroSerializer<>(PaymentIntent.class, ids),
                                new AvroDeserializer<>(PaymentIntent.class, ids)))
                .withLoggingEnabled(Map.of())
                // A key changes once in many commits, so there is nothing that a cache could save: each of its writes
                // would be made all the same at the commit, after it had been made into the cache.
                .withCachingDisabled();
    }

    private Serializer<Reply> replySerializer() {
        Serializer<CommandReply> replies = new AvroSerializer<>(CommandReply.class, ids);
        return (topic, reply) -> replies.serialize(topic, reply.reply());
    }

    private static StreamPartitioner<String, Reply> byName() {
        return (topic, key, reply, partitions) -> Optional.of(Set.of(reply.partition()));
    }
}
