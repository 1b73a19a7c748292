package paystream.streams.domain;

import java.util.Currency;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import paystream.Authorize;
import paystream.Card;
import paystream.CreatePaymentIntent;
import paystream.PaymentCommand;
import paystream.ProcessorResult;

/** What an input may say (schemas/bounds.py), of the inputs in the bench's mix. Pure; driven by `Fold`. */
final class Bounds {
    private static final long AMOUNT_MINOR_MAX = 999_999_999_999L;
    private static final int DESCRIPTION_LENGTH_MAX = 1_000;
    private static final int METADATA_PAIRS_MAX = 50;
    private static final int METADATA_KEY_LENGTH_MAX = 40;
    private static final int METADATA_VALUE_LENGTH_MAX = 500;
    private static final long FIRST_COMMAND = 1_577_836_800_000_000L; // 2020-01-01
    private static final long LAST = 4_102_444_800_000_000L; // 2100-01-01
    private static final long CALENDAR_BEGINS = -62_135_596_800_000_000L;
    private static final long CALENDAR_ENDS = 253_402_300_799_999_999L;
    private static final int NAME_LENGTH_MAX = 255;
    private static final int TEXT_LENGTH_MAX = 2_048;
    private static final int FINGERPRINT_BYTES_MAX = 64;
    private static final int ROUTE_LENGTH_MAX = 20;
    private static final int DATA_PAIRS_MAX = 50;
    private static final int HEX_DIGITS = 32;
    private static final int MERCHANT_LENGTH_MAX = 64;
    private static final Set<String> CURRENCIES = Currency.getAvailableCurrencies().stream()
            .map(currency -> currency.getCurrencyCode().toLowerCase(Locale.ROOT))
            .collect(Collectors.toUnmodifiableSet());

    private Bounds() {}

    /** Whether every value of a command makes sense. */
    static boolean holds(PaymentCommand command) {
        return isDerived("cmd_", command.getId())
                && isDerived("pi_", command.getPaymentIntentId())
                && isMerchant(command.getMerchantId())
                && FIRST_COMMAND <= command.getAt()
                && command.getAt() < LAST
                && isName(command.getActor().getId())
                && (command.getReplyPartition() == null || command.getReplyPartition() >= 0)
                && (!(command.getBody() instanceof CreatePaymentIntent create) || holds(create))
                && (!(command.getBody() instanceof Authorize authorize) || holds(authorize));
    }

    /** Whether what would be kept of a result can be kept. */
    static boolean holds(ProcessorResult result) {
        Long captureBefore = result.getCaptureBefore();
        return 0 <= result.getAt()
                && result.getAt() < LAST
                && (captureBefore == null || CALENDAR_BEGINS <= captureBefore && captureBefore <= CALENDAR_ENDS)
                && isShort(result.getProcessor())
                && isShort(result.getCode())
                && isShort(result.getDeclineCode())
                && isShort(result.getProcessorReference())
                && isShort(result.getChallengeUrl())
                && isShort(result.getActorId())
                && isData(result.getProcessorData());
    }

    private static boolean holds(CreatePaymentIntent body) {
        return 1 <= body.getAmountMinor()
                && body.getAmountMinor() <= AMOUNT_MINOR_MAX
                && CURRENCIES.contains(body.getCurrency())
                && (body.getDescription() == null || isText(body.getDescription(), DESCRIPTION_LENGTH_MAX))
                && isMetadata(body.getMetadata())
                && 0 <= body.getAbsentAt()
                && body.getAbsentAt() < LAST
                && body.getFingerprint().remaining() <= FINGERPRINT_BYTES_MAX;
    }

    private static boolean holds(Authorize body) {
        return isDerived("tx_", body.getTransactionId())
                && body.getFingerprint().remaining() <= FINGERPRINT_BYTES_MAX
                && isName(body.getPaymentMethod())
                && (body.getCard() == null || holds(body.getCard()))
                && body.getRoute().size() <= ROUTE_LENGTH_MAX
                && body.getRoute().stream().allMatch(Bounds::isName);
    }

    private static boolean holds(Card card) {
        return isName(card.getBrand())
                && card.getLast4().length() == 4
                && card.getLast4().chars().allMatch(c -> '0' <= c && c <= '9')
                && 1 <= card.getExpMonth()
                && card.getExpMonth() <= 12
                && 2000 <= card.getExpYear()
                && card.getExpYear() < 2200;
    }

    private static boolean isMetadata(Map<String, String> metadata) {
        if (metadata.size() > METADATA_PAIRS_MAX) {
            return false;
        }
        for (Map.Entry<String, String> pair : metadata.entrySet()) {
            if (pair.getKey().isEmpty()
                    || !isText(pair.getKey(), METADATA_KEY_LENGTH_MAX)
                    || !isText(pair.getValue(), METADATA_VALUE_LENGTH_MAX)) {
                return false;
            }
        }
        return true;
    }

    private static boolean isData(Map<String, String> data) {
        return data.size() <= DATA_PAIRS_MAX
                && data.entrySet().stream()
                        .allMatch(pair -> pair.getKey().length() <= NAME_LENGTH_MAX && isShort(pair.getValue()));
    }

    private static boolean isDerived(String prefix, String id) {
        int length = prefix.length() + HEX_DIGITS;
        if (id.length() != length || !id.startsWith(prefix)) {
            return false;
        }
        for (int i = prefix.length(); i < length; i++) {
            char c = id.charAt(i);
            if (!('0' <= c && c <= '9' || 'a' <= c && c <= 'f')) {
                return false;
            }
        }
        return true;
    }

    private static boolean isMerchant(String id) {
        int length = id.length() - 4;
        if (length < 1 || length > MERCHANT_LENGTH_MAX || !id.startsWith("mer_")) {
            return false;
        }
        for (int i = 4; i < id.length(); i++) {
            char c = id.charAt(i);
            if (!('0' <= c && c <= '9' || 'a' <= c && c <= 'z')) {
                return false;
            }
        }
        return true;
    }

    private static boolean isName(String text) {
        return !text.isEmpty() && isText(text, NAME_LENGTH_MAX);
    }

    private static boolean isText(String text, int lengthMax) {
        return text.length() <= lengthMax && text.indexOf('\0') < 0;
    }

    private static boolean isShort(String text) {
        return text == null || text.length() <= TEXT_LENGTH_MAX;
    }
}
