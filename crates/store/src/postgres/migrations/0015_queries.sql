-- References in the order of their bytes, whatever the collation of the database: the range of a prefix is found by it, and one
-- reference as before.
DROP INDEX item_reference;
CREATE INDEX item_reference ON item (queue_id, reference text_pattern_ops) WHERE reference IS NOT NULL;

-- Failures with the same reason but for numbers, names and the like (model::reason). At most 2,000 of a queue.
CREATE TABLE reason (
    id             bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    queue_id       bigint NOT NULL,
    exception_type smallint NOT NULL,
    fingerprint    text NOT NULL,
    sample         text NOT NULL,
    first_seen     timestamptz NOT NULL
);
CREATE UNIQUE INDEX reason_fingerprint ON reason (queue_id, exception_type, fingerprint);

-- How many failures a group has: the sum over some rows, of which each connection changes one. The row is locked until the
-- commit is on disk: with one row for all, one commit with a failure could happen at a time.
CREATE TABLE reason_count (
    reason_id bigint NOT NULL,
    number    bigint NOT NULL,
    last_seen timestamptz,
    total     bigint NOT NULL,
    open      bigint NOT NULL, -- model::reason::is_open
    PRIMARY KEY (reason_id, number)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Null of attempts that failed before there were groups.
ALTER TABLE item_exception ADD COLUMN reason_id bigint;
CREATE INDEX item_reason ON item_exception (reason_id, item_id) WHERE reason_id IS NOT NULL;

-- What ended, by minute and by hour: model::figures. Each process adds what it has counted, about once a second.
CREATE TABLE figure (
    queue_id bigint NOT NULL,
    minutes  smallint NOT NULL, -- how many minutes it is of: 1 or 60
    at       bigint NOT NULL,   -- the minute in which it begins, counted from 1970
    outcome  smallint NOT NULL,
    bucket   smallint NOT NULL, -- of the processing time: model::figures::Durations
    count    bigint NOT NULL,
    took     bigint NOT NULL,   -- microseconds in all
    PRIMARY KEY (queue_id, minutes, at, outcome, bucket)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What waited when figures were last written in that time.
CREATE TABLE level (
    queue_id    bigint NOT NULL,
    minutes     smallint NOT NULL,
    at          bigint NOT NULL,
    new         bigint NOT NULL,
    in_progress bigint NOT NULL,
    oldest      timestamptz, -- when the oldest of the items that come first was added
    PRIMARY KEY (queue_id, minutes, at)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Older programs would review and remove items, and the counts of their groups would stay.
UPDATE schema_version SET oldest = 15;
