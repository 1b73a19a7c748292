package paystream.streams.avro;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.avro.Schema;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificDatumWriter;
import org.apache.avro.specific.SpecificRecordBase;
import org.apache.kafka.common.serialization.Serializer;

/**
 * Records to bytes in the Confluent wire format: a zero byte, the schema id, the Avro binary encoding.
 *
 * A topology shares its serializers between all threads, so buffer and encoder are kept for each thread. Encodes by the
 * methods that are generated into the record's class.
 */
public final class AvroSerializer<T extends SpecificRecordBase> implements Serializer<T> {
    private static final int BUFFER_BYTES = 4_096;

    private final SpecificDatumWriter<T> writer;
    private final byte[] header;
    private final ThreadLocal<Work> work = ThreadLocal.withInitial(Work::new);

    public AvroSerializer(Class<T> type, SchemaIds ids) {
        SpecificData data = SpecificData.getForClass(type);
        data.setCustomCoders(true);
        Schema schema = data.getSchema(type);
        writer = new SpecificDatumWriter<>(schema, data);
        header = WireFormat.header(ids.of(schema));
    }

    @Override
    public byte[] serialize(String topic, T record) {
        if (record == null) {
            return null;
        }
        Work mine = work.get();
        mine.bytes.reset();
        mine.bytes.writeBytes(header);
        mine.encoder = EncoderFactory.get().binaryEncoder(mine.bytes, mine.encoder);
        try {
            writer.write(record, mine.encoder);
            mine.encoder.flush();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return mine.bytes.toByteArray();
    }

    private static final class Work {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(BUFFER_BYTES);
        private BinaryEncoder encoder;
    }
}
