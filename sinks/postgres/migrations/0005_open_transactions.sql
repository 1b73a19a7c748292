-- How operators find Transactions: those without an outcome, oldest first, and one by its id alone.
--
-- Almost all Transactions have ended, so the first index is small whatever the size of the months. Its condition is
-- completed_at, and not the status: an update of a column that an index names cannot stay in its page (HOT), and
-- completed_at changes once, at the end, where the status changes at every step. The second one is a hash because it
-- answers nothing but "which payment is this", in a third of a B-tree's bytes for ids of this length.
--
-- Building an index keeps the sink from writing meanwhile. Where the months are large, build it beforehand for each
-- month: CREATE INDEX CONCURRENTLY ON transactions_2026_11 (created_at) WHERE completed_at IS NULL, and
-- CREATE INDEX CONCURRENTLY ON transactions_2026_11 USING hash (id). What is there already is only attached.

SET LOCAL ROLE paystream_owner;

CREATE INDEX transactions_open ON transactions (created_at) WHERE completed_at IS NULL;
CREATE INDEX transactions_by_id ON transactions USING hash (id);
