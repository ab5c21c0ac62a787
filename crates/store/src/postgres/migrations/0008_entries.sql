-- Walks along what waits begin where nothing waits before, those of items with a DueDate too (front.rs). What was entered since
-- then, and may stand before that, is found by a number: that of a new item, or another one from the same sequence for an item
-- that waits again. Null for new items without a DueDate, which stand where their numbers are.

-- Programs that are at work finish what they have begun, in the order in which they lock: those that take or add, and all others.
SELECT pg_advisory_xact_lock(hashtextextended('performer/' || current_schema() || '/queues', 0));
LOCK TABLE queue_starts, item_deferred, item_ready, queue_statistics IN ACCESS EXCLUSIVE MODE;

-- Tables are written anew: a row that was changed in its place would keep the new index from older transactions.
DROP INDEX item_returned;
ALTER TABLE item_ready ALTER COLUMN returned DROP DEFAULT, ALTER COLUMN returned DROP NOT NULL,
    ALTER COLUMN returned TYPE bigint USING CASE WHEN rank < 3 OR returned THEN item_id END;
ALTER TABLE item_ready RENAME COLUMN returned TO entered;
ALTER TABLE item_ready ADD CONSTRAINT item_ready_entered CHECK (rank > 2 OR entered IS NOT NULL);
ALTER TABLE item_deferred ADD COLUMN entered bigint;
ALTER TABLE item_deferred ALTER COLUMN entered TYPE bigint USING item_id, ALTER COLUMN entered SET NOT NULL;

-- `queue_id + 0`: no plan of a statement that says so uses another index.
CREATE INDEX item_ready_entry ON item_ready ((queue_id + 0), entered) WHERE entered IS NOT NULL;
CREATE INDEX item_deferred_entry ON item_deferred ((queue_id + 0), entered);

-- Older programs would enter items without a number.
UPDATE schema_version SET oldest = 8;
