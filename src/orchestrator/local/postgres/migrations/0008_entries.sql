-- Walks along what waits begin where nothing waits before, those of items with a DueDate too (front.rs). What was entered since
-- then, and may stand before that, is found by a number: that of a new item, or another one from the same sequence for an item
-- that waits again. Null for new items without a DueDate, which stand where their numbers are.
ALTER TABLE item_ready ADD COLUMN entered bigint;
UPDATE item_ready SET entered = item_id WHERE rank < 3 OR returned;
ALTER TABLE item_ready ADD CONSTRAINT item_ready_entered CHECK (rank > 2 OR entered IS NOT NULL);
DROP INDEX item_returned;
ALTER TABLE item_ready DROP COLUMN returned;
ALTER TABLE item_deferred ADD COLUMN entered bigint;
UPDATE item_deferred SET entered = item_id;
ALTER TABLE item_deferred ALTER COLUMN entered SET NOT NULL;

-- `queue_id + 0`: no plan of a statement that says so uses another index.
CREATE INDEX item_ready_entry ON item_ready ((queue_id + 0), entered) WHERE entered IS NOT NULL;
CREATE INDEX item_deferred_entry ON item_deferred ((queue_id + 0), entered);

-- Older programs would enter items without a number.
UPDATE schema_version SET oldest = 8;
