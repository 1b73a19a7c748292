package paystream.streams.domain;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/**
 * Identifiers as schemas/identifiers.py derives them: a prefix and 128 bits of SHA-256 over length-prefixed fields.
 *
 * One for each task, since the digest is used again and again.
 */
public final class Identifiers {
    private static final int BYTES = 16;
    private static final HexFormat HEX = HexFormat.of();

    private final MessageDigest sha;

    public Identifiers() {
        try {
            sha = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError(impossible);
        }
    }

    /** The event of this sequence. */
    String event(String paymentIntentId, long sequence) {
        return derived("evt", paymentIntentId, Long.toString(sequence));
    }

    /** The Transaction that the fold itself opens with the event of this sequence. */
    String openedTransaction(String paymentIntentId, long sequence) {
        return derived("tx", paymentIntentId, "sequence", Long.toString(sequence));
    }

    private String derived(String prefix, String... fields) {
        update(prefix);
        for (String field : fields) {
            update(field);
        }
        return prefix + "_" + HEX.formatHex(sha.digest(), 0, BYTES);
    }

    private void update(String field) {
        byte[] raw = field.getBytes(StandardCharsets.UTF_8);
        for (int shift = 24; shift >= 0; shift -= 8) {
            sha.update((byte) (raw.length >>> shift));
        }
        sha.update(raw);
    }
}
