-- References in the order of their bytes, whatever the collation of the database: the range of a prefix is found by it, and one
-- reference as before. Older programs go on correctly.
DROP INDEX item_reference;
CREATE INDEX item_reference ON item (queue_id, reference text_pattern_ops) WHERE reference IS NOT NULL;
