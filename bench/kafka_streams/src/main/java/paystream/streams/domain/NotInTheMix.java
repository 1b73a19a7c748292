package paystream.streams.domain;

/**
 * An input that the bench's mix of commands does not hold, and that this application therefore does not know.
 *
 * It ends the application: a figure must not come from work that was left out.
 */
public final class NotInTheMix extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public NotInTheMix(String what) {
        super("not in the bench's mix: " + what);
    }
}
