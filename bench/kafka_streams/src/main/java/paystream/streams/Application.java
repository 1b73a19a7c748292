package paystream.streams;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KafkaStreams.State;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The payments flow on Kafka Streams: what `paystream flow payments` does, for the bench to set beside it.
 *
 * Reads payments.commands, payments.processor-results and payments.timers; writes payments.events, payments.replies and
 * the changelog of its store, exactly once. Driven by bench/fold; ends cleanly upon SIGTERM, and with status 1 where it
 * cannot go on.
 */
public final class Application {
    private static final Logger LOG = LoggerFactory.getLogger(Application.class);
    private static final Duration CLOSE_WITHIN = Duration.ofSeconds(20);

    private Application() {}

    public static void main(String[] arguments) throws InterruptedException {
        StreamsConfig settings = new StreamsConfig(Settings.of(System.getenv(), arguments));
        KafkaStreams streams = new KafkaStreams(PaymentsTopology.build(), settings);
        CountDownLatch failed = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> StreamThreadExceptionResponse.SHUTDOWN_CLIENT);
        streams.setStateListener((state, before) -> {
            LOG.info("{}", state);
            if (state == State.ERROR) {
                failed.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(streams), "close"));
        streams.start();
        failed.await();
        System.exit(1);
    }

    /** Leave the group too, so that whoever comes next need not wait for the session to end; leave no files behind. */
    private static void close(KafkaStreams streams) {
        streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP)
                .withTimeout(CLOSE_WITHIN));
        streams.cleanUp();
    }
}
