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

-- What ended, by minute and by hour: model::figures. Each process adds what it has counted, about once a second.
CREATE TABLE figure (
    queue_id INTEGER NOT NULL,
    minutes  INTEGER NOT NULL, -- how many minutes it is of: 1 or 60
    at       INTEGER NOT NULL, -- the minute in which it begins, counted from 1970
    outcome  INTEGER NOT NULL,
    bucket   INTEGER NOT NULL, -- of the processing time: model::figures::Durations
    count    INTEGER NOT NULL,
    took     INTEGER NOT NULL, -- microseconds in all
    PRIMARY KEY (queue_id, minutes, at, outcome, bucket)
) STRICT, WITHOUT ROWID;

-- What waited when figures were last written in that time.
CREATE TABLE level (
    queue_id    INTEGER NOT NULL,
    minutes     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    new         INTEGER NOT NULL,
    in_progress INTEGER NOT NULL,
    oldest      INTEGER, -- when the oldest of the items that come first was added
    PRIMARY KEY (queue_id, minutes, at)
) STRICT, WITHOUT ROWID;
