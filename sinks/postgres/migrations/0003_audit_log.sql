-- Every event, whole, once. `event` is the record PaymentEvent as JSON; the columns beside it are for finding it.
--
-- Append-only twice over: nobody is granted UPDATE, DELETE or TRUNCATE, and a trigger refuses them to the owner and to
-- superusers too, in replica mode as well.

SET LOCAL ROLE paystream_owner;

CREATE TABLE audit_log (
    payment_intent_id  text COLLATE "C" NOT NULL,
    sequence           bigint NOT NULL,
    id                 text COLLATE "C" NOT NULL,
    type               text COLLATE "C" NOT NULL,
    at                 timestamptz NOT NULL,
    cause              text NOT NULL,
    actor_type         text COLLATE "C" NOT NULL,
    actor_id           text NOT NULL,
    transaction_id     text COLLATE "C",
    event              jsonb NOT NULL,
    PRIMARY KEY (payment_intent_id, sequence)
);

CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER append_only;

GRANT SELECT ON audit_log TO paystream_reader;
GRANT SELECT, INSERT ON audit_log TO paystream_writer;
