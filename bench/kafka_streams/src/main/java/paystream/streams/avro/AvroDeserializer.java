package paystream.streams.avro;

import java.io.IOException;
import org.apache.avro.Schema;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DatumReader;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.avro.specific.SpecificRecordBase;
import org.apache.avro.util.ClassSecurityValidator;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import paystream.PaymentIntent;

/**
 * Bytes in the Confluent wire format to records; knows only the newest schema, for the bench writes no other.
 *
 * Like the serializer it may be shared between threads; reader and decoder are kept for each. Decodes by Avro's fast
 * reader, its default, which was faster here than the methods that are generated into the records' classes.
 */
public final class AvroDeserializer<T extends SpecificRecordBase> implements Deserializer<T> {
    static {
        // Avro makes objects of no class that it was not told to trust: of our records, then.
        String records = PaymentIntent.class.getPackageName();
        ClassSecurityValidator.setGlobal(ClassSecurityValidator.composite(
                ClassSecurityValidator.getGlobal(), type -> type.getPackageName().equals(records)));
    }

    private final int schemaId;
    private final ThreadLocal<Work<T>> work;

    public AvroDeserializer(Class<T> type, SchemaIds ids) {
        SpecificData data = SpecificData.getForClass(type);
        Schema schema = data.getSchema(type);
        schemaId = ids.of(schema);
        work = ThreadLocal.withInitial(() -> new Work<>(new SpecificDatumReader<>(schema, schema, data)));
    }

    @Override
    public T deserialize(String topic, byte[] message) {
        if (message == null) {
            return null;
        }
        if (WireFormat.schemaId(message) != schemaId) {
            throw new SerializationException("schema id other than " + schemaId);
        }
        Work<T> mine = work.get();
        int length = message.length - WireFormat.HEADER_BYTES;
        mine.decoder = DecoderFactory.get().binaryDecoder(message, WireFormat.HEADER_BYTES, length, mine.decoder);
        try {
            T record = mine.reader.read(null, mine.decoder);
            if (!mine.decoder.isEnd()) {
                throw new SerializationException("bytes after the end of the record");
            }
            return record;
        } catch (IOException error) {
            throw new SerializationException(error);
        }
    }

    private static final class Work<T> {
        private final DatumReader<T> reader;
        private BinaryDecoder decoder;

        private Work(DatumReader<T> reader) {
            this.reader = reader;
        }
    }
}
