-- Times are microseconds since 1970 (UTC), enumerations their documented numbers, keys the 16 bytes of a GUID.
-- No foreign keys: every insert would pay for a look-up of its queue, and the rules already guarantee them.

CREATE TABLE queue (
    id                         INTEGER PRIMARY KEY AUTOINCREMENT,
    key                        BLOB NOT NULL,
    name                       TEXT NOT NULL,
    folded_name                TEXT NOT NULL, -- what makes two names the same
    description                TEXT,
    accept_automatically_retry INTEGER NOT NULL,
    max_number_of_retries      INTEGER NOT NULL,
    retry_abandoned_items      INTEGER NOT NULL,
    enforce_unique_reference   INTEGER NOT NULL,
    abandon_after              INTEGER NOT NULL, -- microseconds
    retention_days             INTEGER NOT NULL,
    stale_retention_days       INTEGER NOT NULL,
    creation_time              INTEGER NOT NULL,
    deleted                    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX queue_name ON queue (folded_name) WHERE deleted = 0;

-- How many items of a queue are in which state; written once a commit.
CREATE TABLE queue_statistics (
    queue_id               INTEGER PRIMARY KEY,
    new                    INTEGER NOT NULL DEFAULT 0,
    in_progress            INTEGER NOT NULL DEFAULT 0,
    successful             INTEGER NOT NULL DEFAULT 0,
    business_exceptions    INTEGER NOT NULL DEFAULT 0,
    application_exceptions INTEGER NOT NULL DEFAULT 0,
    retried                INTEGER NOT NULL DEFAULT 0,
    abandoned              INTEGER NOT NULL DEFAULT 0,
    deleted                INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The last id given to an item, so that the id of a removed one is never given to another. AUTOINCREMENT would do
-- the same, and read and write its counter for each row; this is read and written once a commit.
CREATE TABLE last_item (
    id INTEGER NOT NULL
) STRICT;

INSERT INTO last_item (id) VALUES (0);

CREATE TABLE item (
    id                           INTEGER PRIMARY KEY,
    queue_id                     INTEGER NOT NULL,
    status                       INTEGER NOT NULL,
    deferred                     INTEGER NOT NULL, -- 1 while a New item waits for its DeferDate
    rank                         INTEGER NOT NULL, -- model::selection::rank
    review_status                INTEGER NOT NULL,
    outcome                      INTEGER,
    superseded                   INTEGER NOT NULL,
    holds_reference              INTEGER NOT NULL,
    retry_number                 INTEGER NOT NULL,
    manual_retry_number          INTEGER NOT NULL,
    priority                     INTEGER NOT NULL,
    due_date                     INTEGER,
    defer_date                   INTEGER,
    risk_sla_date                INTEGER,
    creation_time                INTEGER NOT NULL,
    start_processing             INTEGER,
    end_processing               INTEGER,
    seconds_in_previous_attempts INTEGER NOT NULL,
    reviewer_user_id             INTEGER,
    holder                       INTEGER, -- job.number
    robot                        INTEGER,
    token                        INTEGER NOT NULL,
    row_version                  INTEGER NOT NULL,
    unique_key                   BLOB NOT NULL,
    chain_key                    BLOB,    -- of a copy: the key it shares with its chain
    root_id                      INTEGER, -- of a copy: the first attempt of its chain
    ancestor_id                  INTEGER,
    manual_ancestor_id           INTEGER,
    reference                    TEXT,
    content                      TEXT,    -- NULL: it is large, and stands in item_content
    output                       TEXT,
    progress                     TEXT
) STRICT;

-- The order in which items are handed out, walked from its beginning. Only items that may be handed out now
-- are in it, so a claim costs the same whatever else the queue holds.
CREATE INDEX item_ready ON item (queue_id, rank, due_date) WHERE status = 0 AND deferred = 0;

-- Items that wait for their DeferDate, the next one first.
CREATE INDEX item_deferred ON item (queue_id, defer_date) WHERE status = 0 AND deferred = 1;

-- What a job holds. As small as there are robots.
CREATE INDEX item_held ON item (holder) WHERE status = 1;

-- Not unique, although a queue may enforce unique references: the transaction that adds an item looks first,
-- and SQLite lets one transaction write at a time.
CREATE INDEX item_reference ON item (queue_id, reference) WHERE reference IS NOT NULL;

CREATE INDEX item_unique_key ON item (unique_key);
CREATE INDEX item_root ON item (root_id) WHERE root_id IS NOT NULL;

-- What people look for: items that failed, were abandoned, retried or deleted. The busy path never enters it.
-- Not "IN (2, 4, 5, 6)": every update of an item asks this, and for a list SQLite fills a table of its own each time.
CREATE INDEX item_attention ON item (queue_id, status) WHERE status = 2 OR status > 3;

-- Content over 1,000 bytes: a change of an item's row does not write it again.
CREATE TABLE item_content (
    item_id INTEGER PRIMARY KEY,
    content TEXT NOT NULL
) STRICT;

CREATE TABLE item_exception (
    item_id        INTEGER PRIMARY KEY,
    exception_type INTEGER NOT NULL,
    reason         TEXT NOT NULL,
    details        TEXT,
    image_path     TEXT,
    creation_time  INTEGER NOT NULL
) STRICT;

-- Events that the row of an item does not remember by itself (model::history).
CREATE TABLE item_event (
    item_id       INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    action        INTEGER NOT NULL,
    status        INTEGER NOT NULL,
    review_status INTEGER NOT NULL,
    PRIMARY KEY (item_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE item_comment (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id       INTEGER NOT NULL,
    text          TEXT NOT NULL,
    user_id       INTEGER,
    user_name     TEXT,
    creation_time INTEGER NOT NULL
) STRICT;

CREATE INDEX item_comment_item ON item_comment (item_id);

CREATE TABLE job (
    number     INTEGER PRIMARY KEY, -- 63 random bits of the key
    key        BLOB NOT NULL,
    queue      TEXT NOT NULL,
    machine    TEXT NOT NULL,
    process_id INTEGER NOT NULL,
    version    TEXT NOT NULL,
    robots     INTEGER NOT NULL,
    lease      INTEGER NOT NULL, -- microseconds
    state      INTEGER NOT NULL,
    start_time INTEGER NOT NULL,
    held_until INTEGER NOT NULL,
    end_time   INTEGER,
    info       TEXT
) STRICT;

CREATE INDEX job_live ON job (state) WHERE end_time IS NULL;
CREATE INDEX job_start ON job (start_time);
