-- Failures with the same reason but for numbers, names and the like (model::reason). At most 2,000 of a queue.
CREATE TABLE reason (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    queue_id       INTEGER NOT NULL,
    exception_type INTEGER NOT NULL,
    fingerprint    TEXT NOT NULL,
    sample         TEXT NOT NULL,
    first_seen     INTEGER NOT NULL,
    last_seen      INTEGER NOT NULL,
    total          INTEGER NOT NULL,
    open           INTEGER NOT NULL -- model::reason::is_open
) STRICT;

CREATE UNIQUE INDEX reason_fingerprint ON reason (queue_id, exception_type, fingerprint);

-- Null of attempts that failed before there were groups.
ALTER TABLE item_exception ADD COLUMN reason_id INTEGER;
CREATE INDEX item_reason ON item_exception (reason_id) WHERE reason_id IS NOT NULL;
