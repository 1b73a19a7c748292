package paystream.streams.avro;

import java.nio.ByteBuffer;
import org.apache.kafka.common.errors.SerializationException;

/** The header of a message: a zero byte and the schema id, four bytes, big-endian. */
final class WireFormat {
    static final int HEADER_BYTES = 5;

    private WireFormat() {}

    static byte[] header(int schemaId) {
        return ByteBuffer.allocate(HEADER_BYTES).putInt(1, schemaId).array();
    }

    /** The schema id of a message; raises SerializationException where there is no header. */
    static int schemaId(byte[] message) {
        if (message.length < HEADER_BYTES || message[0] != 0) {
            throw new SerializationException(message.length + " bytes without the header");
        }
        return ByteBuffer.wrap(message, 1, Integer.BYTES).getInt();
    }
}
