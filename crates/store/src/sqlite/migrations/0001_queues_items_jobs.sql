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

-- The last id given to an item, so that the id of a removed one is never given to another, and the last key, so that
-- keys rise with ids. AUTOINCREMENT would do the first, and read and write its counter for each row; this is read
-- and written once a commit.
CREATE TABLE last_item (
    id  INTEGER NOT NULL,
    key BLOB NOT NULL
) STRICT;

INSERT INTO last_item (id, key) VALUES (0, zeroblob(16));

-- What was asked for. StateUpdate once, but for edits while the item waits.
CREATE TABLE item (
    id              INTEGER PRIMARY KEY,
    queue_id        INTEGER NOT NULL,
    root_id         INTEGER,          -- of a retry copy: the first attempt of its chain
    priority        INTEGER NOT NULL,
    due_date        INTEGER,
    defer_date      INTEGER,
    risk_sla_date   INTEGER,
    creation_time   INTEGER NOT NULL,
    holds_reference INTEGER NOT NULL,
    unique_key      BLOB NOT NULL,    -- rises with the id, so that an item is found by its key without an index
    reference       TEXT,
    content         TEXT              -- NULL: it is large, and stands in item_content
) STRICT;

-- Not unique, although a queue may enforce unique references: the transaction that adds an item looks first,
-- and SQLite lets one transaction write at a time.
CREATE INDEX item_reference ON item (queue_id, reference) WHERE reference IS NOT NULL;

CREATE INDEX item_root ON item (root_id) WHERE root_id IS NOT NULL;

-- What only a retry copy has.
CREATE TABLE item_copy (
    item_id                      INTEGER PRIMARY KEY,
    chain_key                    BLOB NOT NULL, -- the key that it shares with its chain
    ancestor_id                  INTEGER,
    manual_ancestor_id           INTEGER,
    retry_number                 INTEGER NOT NULL,
    manual_retry_number          INTEGER NOT NULL,
    seconds_in_previous_attempts INTEGER NOT NULL
) STRICT;

-- What became of an item; no row: it is New, and nothing ever happened to it. A claim inserts the row and a result
-- updates it: both are small, and neither writes the item's content again.
CREATE TABLE item_state (
    item_id          INTEGER PRIMARY KEY,
    queue_id         INTEGER NOT NULL,
    status           INTEGER NOT NULL,
    review_status    INTEGER NOT NULL,
    outcome          INTEGER, -- NULL: superseded and end_processing mean nothing yet, and only keep their room
    superseded       INTEGER NOT NULL,
    start_processing INTEGER,
    end_processing   INTEGER,
    reviewer_user_id INTEGER,
    holder           INTEGER, -- job.number
    robot            INTEGER,
    token            INTEGER NOT NULL,
    row_version      INTEGER NOT NULL,
    output           TEXT,
    progress         TEXT
) STRICT;

-- What a job holds. As small as there are robots.
CREATE INDEX item_held ON item_state (holder) WHERE status = 1;

-- What people look for: items that failed, were abandoned, retried or deleted. The busy path never enters it.
-- Not "IN (2, 4, 5, 6)": every update asks this, and for a list SQLite fills a table of its own each time.
CREATE INDEX item_attention ON item_state (queue_id, status) WHERE status = 2 OR status > 3;

-- Items that may be handed out, in the order in which they are: a claim walks this from its beginning, and costs the
-- same whatever else the queue holds.
CREATE TABLE item_ready (
    queue_id INTEGER NOT NULL,
    rank     INTEGER NOT NULL, -- model::selection::rank
    due_date INTEGER NOT NULL, -- 0: none; such items have a rank of their own
    item_id  INTEGER NOT NULL,
    touched  INTEGER NOT NULL, -- whether it has a row in item_state
    PRIMARY KEY (queue_id, rank, due_date, item_id)
) STRICT, WITHOUT ROWID;

-- Items that wait for their DeferDate, the next one first.
CREATE TABLE item_deferred (
    queue_id   INTEGER NOT NULL,
    defer_date INTEGER NOT NULL,
    item_id    INTEGER NOT NULL,
    rank       INTEGER NOT NULL,
    due_date   INTEGER NOT NULL,
    touched    INTEGER NOT NULL,
    PRIMARY KEY (queue_id, defer_date, item_id)
) STRICT, WITHOUT ROWID;

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
