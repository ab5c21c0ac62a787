-- The shards of a queue that there are, in a table that changes with none of the commits that they count: beside a transaction
-- that keeps an old snapshot whoever adds them up would pass all their versions.
CREATE TABLE queue_shard (
    queue_id bigint NOT NULL,
    number   bigint NOT NULL,
    PRIMARY KEY (queue_id, number)
);
INSERT INTO queue_shard SELECT queue_id, shard FROM queue_statistics;
-- So that nothing is counted any more by the statements of older programs, which do not name their shards there.
ALTER TABLE queue_statistics RENAME COLUMN shard TO number;

-- Each change of a queue's starts is a row with the next number: it is read from the end.
ALTER TABLE queue_starts ADD COLUMN number bigint NOT NULL DEFAULT 0;
ALTER TABLE queue_starts DROP CONSTRAINT queue_starts_pkey;
ALTER TABLE queue_starts ADD PRIMARY KEY (queue_id, number);
ALTER TABLE queue_starts RESET (fillfactor);

-- Older programs would make shards that nobody hears of.
UPDATE schema_version SET oldest = 9;
