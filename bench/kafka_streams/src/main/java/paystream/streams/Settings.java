package paystream.streams;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.streams.StreamsConfig;

/**
 * The settings of Kafka Streams: those that decide what is compared, and those that make it fast.
 *
 * Reads the environment for the broker's address; an argument `name=value` sets any setting by its Kafka name.
 */
final class Settings {
    private Settings() {}

    static Properties of(Map<String, String> environment, String... arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, environment.get("PAYSTREAM_KAFKA_BOOTSTRAP"));
        compared(settings);
        tuned(settings);
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        settings.computeIfAbsent(StreamsConfig.STATE_DIR_CONFIG, name -> temporaryDirectory());
        return settings;
    }

    /** The same for both systems. */
    private static void compared(Properties settings) {
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "payments-streams");
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 50);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        // A member that has gone is noticed as soon.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 1_000);
    }

    private static void tuned(Properties settings) {
        // No cache: see the store.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        // The three inputs need no common order, so no task waits for the topic that has nothing.
        settings.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, StreamsConfig.MAX_TASK_IDLE_MS_DISABLED);
        // Larger polls, with room for them in the tasks' queues, so that no partition is paused and fetched anew.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 5_000);
        // A commit that is due must not wait for a poll that finds nothing.
        settings.put(StreamsConfig.POLL_MS_CONFIG, 10);
        // The commit flushes; until then a partition's records gather into one batch. With the 5 ms that Paystream has
        // less came through, and what is sent so soon after a commit meets the markers of the one before.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 100);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 * 1024);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128 * 1024 * 1024);
        // What meets them all the same is tried again soon: the default of 100 ms would rule how long a commit takes.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.RETRY_BACKOFF_MS_CONFIG), 5);
        // What clients send to brokers about themselves is no part of the comparison.
        settings.put(StreamsConfig.ENABLE_METRICS_PUSH_CONFIG, false);
    }

    /** The store is in memory, so the directory holds no more than a lock and checkpoints. */
    private static String temporaryDirectory() {
        try {
            Path directory = Files.createTempDirectory("payments-streams-");
            directory.toFile().deleteOnExit();
            return directory.toString();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
