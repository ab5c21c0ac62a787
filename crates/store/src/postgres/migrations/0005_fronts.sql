-- A walk along what waits begins where it is known that nothing waits before (front.rs). Items that begin to wait although
-- their number is an old one are told apart: while there are any, it begins at the beginning.
ALTER TABLE item_ready ADD COLUMN returned boolean NOT NULL DEFAULT false;
UPDATE item_ready SET returned = true; -- older programs entered them without the mark that new numbers have now
CREATE INDEX item_returned ON item_ready (queue_id) WHERE returned;

UPDATE schema_version SET oldest = 5;
