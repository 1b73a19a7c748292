package paystream.streams.avro;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.SchemaNormalization;

/**
 * The id under which each record is written today, from schemas/avro/ids.json.
 *
 * Refuses a record whose class was generated from another schema than the one on record under its id.
 */
public final class SchemaIds {
    private static final String RESOURCE = "/ids.json";

    private final Map<String, Integer> ids = new HashMap<>();
    private final Map<String, String> registered = new HashMap<>();

    public SchemaIds() {
        try (InputStream input = SchemaIds.class.getResourceAsStream(RESOURCE)) {
            for (JsonNode entry : new ObjectMapper().readTree(input)) {
                // Later entries are newer versions.
                ids.put(entry.get("record").asText(), entry.get("id").asInt());
                registered.put(entry.get("record").asText(), entry.get("schema").toString());
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** The id of a record's schema. */
    int of(Schema schema) {
        String name = schema.getName();
        String onRecord = SchemaNormalization.toParsingForm(new Schema.Parser().parse(registered.get(name)));
        if (!onRecord.equals(SchemaNormalization.toParsingForm(schema))) {
            throw new IllegalStateException("the schema of " + name + " is not the one in ids.json");
        }
        return ids.get(name);
    }
}
