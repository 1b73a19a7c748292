-- What became of captures in settlement, and of lines that no capture was found for: payments.settlements, row by row.
--
-- Settlements are partitioned by the month in which they were decided, so that old months can be detached whole. A
-- payment is settled after it was created, so whoever asks for those of one payment need not look at months before that.
-- What persons say of mismatches is little, and is one table.

SET LOCAL ROLE paystream_owner;

-- The fields of the record Settlement and of the line in it; `id` is derived from them, so that the same line again is
-- no second row. What belongs to the line is null where none has come.
CREATE TABLE settlements (
    id                    text COLLATE "C" NOT NULL,
    payment_intent_id     text COLLATE "C",
    transaction_id        text COLLATE "C",
    processor             text COLLATE "C" NOT NULL,
    processor_reference   text COLLATE "C" NOT NULL,
    outcome               text COLLATE "C" NOT NULL,
    settlement_date       date,
    at                    timestamptz NOT NULL,
    capture_amount_minor  bigint,
    capture_currency      text COLLATE "C",
    reference             text COLLATE "C",
    kind                  text COLLATE "C",
    file_sequence         bigint,
    file_hash             bytea,
    line_number           bigint,
    gross_minor           bigint,
    currency              text COLLATE "C",
    fee_minor             bigint,
    net_minor             bigint,
    payout_currency       text COLLATE "C",
    imported_at           timestamptz,
    booked_at             timestamptz,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);

CREATE INDEX settlements_of_payment_intent ON settlements (payment_intent_id, at) WHERE payment_intent_id IS NOT NULL;
CREATE INDEX settlements_that_mismatch ON settlements (at) WHERE outcome NOT IN ('settled', 'unmatched_kind');

-- A line names a Transaction, and not the payment that it belongs to: by our own id, for which migration 0005 makes the
-- index, or by the processor's reference.
CREATE INDEX captures_by_processor_reference ON transactions (processor_reference)
    WHERE type = 'capture' AND processor_reference IS NOT NULL;

-- The fields of the record MismatchResolved: who explained a mismatch, how, and when. Only the first word stays.
CREATE TABLE mismatch_resolutions (
    settlement_id         text COLLATE "C" PRIMARY KEY,
    payment_intent_id     text COLLATE "C",
    reference             text COLLATE "C",
    processor             text COLLATE "C" NOT NULL,
    outcome               text COLLATE "C" NOT NULL,
    evidence              text NOT NULL,
    actor_id              text NOT NULL,
    at                    timestamptz NOT NULL
);

-- Every mismatch by its name. A line that came after all resolves what was missing at the processor; everything else
-- is for a person, and that too where one knows better.
CREATE VIEW reconciliation_mismatches AS
SELECT mismatch.outcome AS name, mismatch.at AS found_at, mismatch.id, mismatch.payment_intent_id,
       mismatch.transaction_id, mismatch.processor, mismatch.processor_reference, mismatch.reference,
       mismatch.settlement_date, mismatch.capture_amount_minor, mismatch.capture_currency, mismatch.gross_minor,
       mismatch.currency, mismatch.fee_minor, mismatch.net_minor, mismatch.payout_currency, mismatch.file_sequence,
       mismatch.file_hash, mismatch.line_number, mismatch.imported_at, mismatch.booked_at,
       least(word.at,
             (SELECT min(resolving.at) FROM settlements AS resolving
              WHERE mismatch.outcome = 'missing_at_processor'
                AND resolving.payment_intent_id = mismatch.payment_intent_id
                AND resolving.transaction_id = mismatch.transaction_id
                AND resolving.outcome IN ('settled', 'amount', 'currency'))) AS resolved_at,
       word.actor_id AS resolved_by, word.evidence AS evidence
FROM settlements AS mismatch
LEFT JOIN mismatch_resolutions AS word ON word.settlement_id = mismatch.id
WHERE mismatch.outcome NOT IN ('settled', 'unmatched_kind');

-- As before, and for settlements as well, which nobody updates.
CREATE OR REPLACE FUNCTION make_month(any_day date) RETURNS void
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
    FOREACH parent IN ARRAY ARRAY['payment_intents', 'transactions', 'settlements'] LOOP
        month_table := parent || to_char(first_day, '_YYYY_MM');
        CONTINUE WHEN to_regclass(format('public.%I', month_table)) IS NOT NULL;
        -- A payment is updated some five times within seconds: room for that, in the page where it stands.
        EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL) WITH (fillfactor = %s)',
                       month_table, parent, CASE parent WHEN 'settlements' THEN 100 ELSE 70 END);
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                       parent, month_table, begins, ends);
    END LOOP;
END
$$;

GRANT SELECT ON settlements, mismatch_resolutions, reconciliation_mismatches TO paystream_reader;
GRANT SELECT, INSERT ON settlements, mismatch_resolutions TO paystream_writer;
GRANT SELECT ON reconciliation_mismatches TO paystream_writer;
