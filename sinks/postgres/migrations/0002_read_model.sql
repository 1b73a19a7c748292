-- The payments as they stand, and how far the read model has come.
--
-- payment_intents and transactions are partitioned by the month in which the PaymentIntent was created (UTC), so that
-- old months can be detached whole. The primary key of a partitioned table has to contain the partition column, and an
-- id does not tell its month: looked up by id alone, every month would have to be asked, and most look-ups are for ids
-- that do not exist yet (each create asks first). So payment_intent_ids, slim and not partitioned, says when an id was
-- created. One probe there answers "absent"; another goes to the one right month. It also makes ids unique across
-- months, and it is what remains of a month that was detached.
--
-- There is no DEFAULT partition: with one, attaching a month would lock and scan it, and a row that had strayed into
-- it would block its month for good. A missing month is an error; the sink makes months before it needs them.
--
-- Identifiers compare bytewise (COLLATE "C"), which is what they mean and several times faster.

SET LOCAL ROLE paystream_owner;

CREATE TABLE payment_intent_ids (
    id          text COLLATE "C" PRIMARY KEY,
    created_at  timestamptz NOT NULL
);

-- One column per field of the record PaymentIntent, under its name. metadata is json, not jsonb, because jsonb would
-- forget the merchant's order of the pairs.
CREATE TABLE payment_intents (
    id                       text COLLATE "C" NOT NULL,
    merchant_id              text COLLATE "C" NOT NULL,
    livemode                 boolean NOT NULL,
    status                   text COLLATE "C" NOT NULL,
    amount_minor             bigint NOT NULL,
    currency                 text COLLATE "C" NOT NULL,
    capture_method           text COLLATE "C" NOT NULL,
    amount_capturable_minor  bigint NOT NULL,
    amount_received_minor    bigint NOT NULL,
    description              text,
    metadata                 json NOT NULL,
    fingerprint              bytea NOT NULL,
    sequence                 bigint NOT NULL,
    created_at               timestamptz NOT NULL,
    updated_at               timestamptz NOT NULL,
    next_action              json,
    last_payment_error       json,
    cancellation_reason      text,
    canceled_by              text COLLATE "C",
    cancel_requested         boolean NOT NULL,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

-- One column per field of the record Transaction, and where it belongs. `sequence` is that of the PaymentIntent with
-- which the row was written: the same in all rows of one intent.
CREATE TABLE transactions (
    payment_intent_id          text COLLATE "C" NOT NULL,
    payment_intent_created_at  timestamptz NOT NULL,
    position                   integer NOT NULL,
    sequence                   bigint NOT NULL,
    id                         text COLLATE "C" NOT NULL,
    type                       text COLLATE "C" NOT NULL,
    status                     text COLLATE "C" NOT NULL,
    amount_minor               bigint NOT NULL,
    currency                   text COLLATE "C" NOT NULL,
    processor                  text COLLATE "C" NOT NULL,
    route                      text[] NOT NULL,
    payment_method             text,
    card                       json,
    authorization_id           text COLLATE "C",
    void_reason                text COLLATE "C",
    processor_reference        text COLLATE "C",
    code                       text,
    decline_code               text,
    next_action                json,
    challenge_returned         boolean NOT NULL,
    capture_before             timestamptz,
    lookups_not_found          integer NOT NULL,
    lookups_unanswered         integer NOT NULL,
    repeats                    integer NOT NULL,
    command_at                 timestamptz,
    fingerprint                bytea,
    reply_to                   json,
    processor_data             json NOT NULL,
    created_at                 timestamptz NOT NULL,
    completed_at               timestamptz,
    PRIMARY KEY (payment_intent_id, id, payment_intent_created_at)
) PARTITION BY RANGE (payment_intent_created_at);

-- next_offset: how far the read model has come in the partition, markers of transactions and the end of the partition
-- included. watermark: all events up to this record time are in it. Every write moves it, so pages keep room for HOT.
CREATE TABLE read_model_progress (
    topic        text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    watermark    timestamptz NOT NULL DEFAULT 'epoch',
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 10);

-- Makes the partitions of one month; safe to call by several at once. The sink does not own the tables, hence SECURITY
-- DEFINER. ATTACH locks out neither readers nor writers; CREATE TABLE … PARTITION OF would.
CREATE FUNCTION make_month(any_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first_day    timestamp := date_trunc('month', any_day::timestamp);
    begins       text := to_char(first_day, 'YYYY-MM-DD') || ' 00:00:00+00';
    ends         text := to_char(first_day + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
    parent       text;
    month_table  text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('paystream: month partitions'));
    FOREACH parent IN ARRAY ARRAY['payment_intents', 'transactions'] LOOP
        month_table := parent || to_char(first_day, '_YYYY_MM');
        CONTINUE WHEN to_regclass(format('public.%I', month_table)) IS NOT NULL;
        -- A payment is updated some five times within seconds: room for that, in the page where it stands.
        EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL) WITH (fillfactor = 70)', month_table, parent);
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                       parent, month_table, begins, ends);
    END LOOP;
END
$$;

REVOKE EXECUTE ON FUNCTION make_month(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_month(date) TO paystream_writer;

GRANT SELECT ON payment_intent_ids, payment_intents, transactions, read_model_progress TO paystream_reader;
GRANT SELECT, INSERT, UPDATE ON payment_intents, transactions, read_model_progress TO paystream_writer;
GRANT SELECT, INSERT ON payment_intent_ids TO paystream_writer;
