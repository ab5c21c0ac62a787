-- Times are microseconds since 1970 (UTC), enumerations their documented numbers, keys the 16 bytes of a GUID.
-- No foreign keys: every insert would pay for a look-up of its queue, and the rules already guarantee them.

-- Queues

CREATE TABLE queue (
    id                         INTEGER PRIMARY KEY AUTOINCREMENT,
    key                        BLOB NOT NULL,
    name                       TEXT NOT NULL,
    folded_name                TEXT NOT NULL,    -- what makes two names the same
    description                TEXT,
    accept_automatically_retry INTEGER NOT NULL,
    max_number_of_retries      INTEGER NOT NULL,
    retry_abandoned_items      INTEGER NOT NULL,
    enforce_unique_reference   INTEGER NOT NULL,
    abandon_after              INTEGER NOT NULL, -- microseconds
    retention_days             INTEGER NOT NULL,
    stale_retention_days       INTEGER NOT NULL,
    creation_time              INTEGER NOT NULL,
    deleted                    INTEGER NOT NULL DEFAULT 0,
    home_folder_id             INTEGER NOT NULL, -- where it was made
    specific_data_schema       TEXT,
    output_data_schema         TEXT,
    analytics_data_schema      TEXT,
    notes                      TEXT,             -- model::queue::QueueNotes, as JSON
    limits                     TEXT,             -- model::limits::QueueLimits, as JSON: they hold over all performers
    retry_delay                TEXT              -- model::retry_delay::RetryDelay, as JSON; null: retries do not wait
) STRICT;

-- The folders a queue is in; its name is taken in each of them.
CREATE TABLE queue_folder (
    folder_id   INTEGER NOT NULL,
    folded_name TEXT NOT NULL,
    queue_id    INTEGER NOT NULL,
    PRIMARY KEY (folder_id, folded_name)
) STRICT, WITHOUT ROWID;

-- The folders of a queue are read with it.
CREATE INDEX queue_folder_queue ON queue_folder (queue_id);

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

-- What was started lately of a queue with limits: model::limits::Starts, as JSON.
CREATE TABLE queue_starts (
    queue_id INTEGER PRIMARY KEY,
    starts   TEXT NOT NULL
) STRICT;

-- Queues that were deleted and whose items are to be removed, and the id up to which that is done.
CREATE TABLE queue_removal (
    queue_id INTEGER PRIMARY KEY,
    after    INTEGER NOT NULL
) STRICT;

-- Items

-- The last id given to an item, so that the id of a removed one is never given to another, and the last key, so that
-- keys rise with ids. AUTOINCREMENT would do the first, and read and write its counter for each row; this is read
-- and written once a commit.
CREATE TABLE last_item (
    id  INTEGER NOT NULL,
    key BLOB NOT NULL
) STRICT;

INSERT INTO last_item (id, key) VALUES (0, zeroblob(16));

-- What was asked for. Written once, but for edits while the item waits.
CREATE TABLE item (
    id                  INTEGER PRIMARY KEY,
    queue_id            INTEGER NOT NULL,
    root_id             INTEGER,          -- of a retry copy: the first attempt of its chain
    priority            INTEGER NOT NULL,
    due_date            INTEGER,
    defer_date          INTEGER,
    risk_sla_date       INTEGER,
    creation_time       INTEGER NOT NULL,
    holds_reference     INTEGER NOT NULL,
    unique_key          BLOB NOT NULL,    -- rises with the id, so that an item is found by its key without an index
    reference           TEXT,
    content             TEXT,             -- NULL: it is large, and stands in item_content
    creator_job         BLOB,
    parent_operation_id TEXT,
    source              INTEGER,
    created_by          INTEGER,          -- a user of a server; null: a process that opened the file itself
    group_name          TEXT              -- items that belong together
) STRICT;

-- Walked by lists of a reference or of its beginning, and by whoever adds to a queue with unique references. Not unique
-- all the same: the transaction that adds an item looks first, and SQLite lets one transaction write at a time.
CREATE INDEX item_reference ON item (queue_id, reference) WHERE reference IS NOT NULL;

-- The attempts of a chain.
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

-- Content over 1,000 bytes: a change of an item's row does not write it again.
CREATE TABLE item_content (
    item_id INTEGER PRIMARY KEY,
    content TEXT NOT NULL
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
    progress         TEXT,
    robot_id         INTEGER, -- of a caller over HTTP
    executor         BLOB,    -- the job that such a caller says it is
    analytics        TEXT,
    operation_id     TEXT,
    taken_by         INTEGER, -- users of a server, as in item.created_by
    ended_by         INTEGER
) STRICT;

-- What a job holds, and all that is in progress. As small as there are robots.
CREATE INDEX item_held ON item_state (holder) WHERE status = 1;

CREATE TABLE item_exception (
    item_id        INTEGER PRIMARY KEY,
    exception_type INTEGER NOT NULL,
    reason         TEXT NOT NULL,
    details        TEXT,
    image_path     TEXT,
    creation_time  INTEGER NOT NULL,
    reason_id      INTEGER -- the group of failures that it is counted in
) STRICT;

-- Lists of the items of a group of failures.
CREATE INDEX item_reason ON item_exception (reason_id) WHERE reason_id IS NOT NULL;

-- Events that the row of an item does not remember by itself (model::history).
CREATE TABLE item_event (
    item_id       INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    action        INTEGER NOT NULL,
    status        INTEGER NOT NULL,
    review_status INTEGER NOT NULL,
    user_id       INTEGER,
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

-- The comments on an item.
CREATE INDEX item_comment_item ON item_comment (item_id);

-- Items that wait

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

-- The items of groups that are New and not deferred, or InProgress, of queues that limit how many of one group are in progress
-- or let their groups take turns (model::groups). One without a place waits behind others of its group. One with a place holds a
-- slot of its group: it stands in item_ready at this place, or is InProgress. A claim does not change the row.
CREATE TABLE item_grouped (
    item_id    INTEGER PRIMARY KEY,
    queue_id   INTEGER NOT NULL,
    group_name TEXT NOT NULL,    -- '': the items without a group, in a queue whose groups take turns
    rank       INTEGER NOT NULL, -- model::selection::rank
    due_date   INTEGER NOT NULL, -- 0: none
    first_id   INTEGER NOT NULL, -- the first attempt of its chain, whose place in the group it has
    touched    INTEGER NOT NULL, -- whether it has a row in item_state
    place      INTEGER           -- due_date in item_ready: the DueDate, or the turn of the group
) STRICT;

-- What is next in a group; and the slots that a group has given out.
CREATE INDEX item_group_waiting ON item_grouped (queue_id, group_name, rank, due_date, first_id, item_id) WHERE place IS NULL;
CREATE INDEX item_group_slot ON item_grouped (queue_id, group_name, rank, place) WHERE place IS NOT NULL;

-- What people look for

-- The items that failed, were abandoned, retried or deleted, with what lists of them are filtered and sorted by. Nothing that
-- succeeds enters it.
CREATE TABLE item_review (
    queue_id         INTEGER NOT NULL,
    status           INTEGER NOT NULL,
    item_id          INTEGER NOT NULL,
    review_status    INTEGER NOT NULL,
    outcome          INTEGER,
    reviewer_user_id INTEGER,
    start_processing INTEGER,
    end_processing   INTEGER,
    priority         INTEGER NOT NULL,
    due_date         INTEGER,
    creation_time    INTEGER NOT NULL,
    reference        TEXT,
    PRIMARY KEY (queue_id, status, item_id)
) STRICT, WITHOUT ROWID;

-- What lists are sorted by, besides the id. The direction is the one that is asked for most.
CREATE INDEX item_review_end ON item_review (queue_id, status, end_processing DESC);
CREATE INDEX item_review_created ON item_review (queue_id, status, creation_time DESC);
CREATE INDEX item_review_due ON item_review (queue_id, status, due_date);

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
    open           INTEGER NOT NULL, -- model::reason::is_open
    note           TEXT,             -- what people write about it
    owner          INTEGER           -- a user of a server
) STRICT;

-- The group of a failure; and all groups of a queue, for their list.
CREATE UNIQUE INDEX reason_fingerprint ON reason (queue_id, exception_type, fingerprint);

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

-- Jobs

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
    info       TEXT,
    folder_id  INTEGER NOT NULL, -- where it was started
    figures    TEXT,             -- model::job::JobFigures, as JSON
    owner      INTEGER           -- the user of a server who started it; 0: a process that opened the file itself
) STRICT;

-- The jobs that sweeps look at; and lists of jobs, the latest first.
CREATE INDEX job_live ON job (state) WHERE end_time IS NULL;
CREATE INDEX job_start ON job (start_time);

-- The last time of day that was believed (model::clock_guard), by which one that is ahead is recognised.
CREATE TABLE kept_time (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;

-- What people do, and who they are

-- Acts on many items at once. The document is model::operation::ItemOperation, as JSON; the columns beside it find it. The
-- greatest number is never.
CREATE TABLE operation (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    version    INTEGER NOT NULL,
    due        INTEGER NOT NULL,
    kept_until INTEGER NOT NULL,
    document   TEXT NOT NULL
) STRICT;

-- Operations whose next step is due; and those that need not be kept any more.
CREATE INDEX operation_due ON operation (due);
CREATE INDEX operation_kept ON operation (kept_until);

-- The items of an operation as they were selected, in the order in which they are acted on.
CREATE TABLE operation_item (
    operation_id INTEGER NOT NULL,
    place        INTEGER NOT NULL,
    item_id      INTEGER NOT NULL,
    row_version  INTEGER NOT NULL,
    result       INTEGER NOT NULL DEFAULT 0, -- 0 nothing yet, 1 done, 2 refused
    code         INTEGER NOT NULL DEFAULT 0,
    message      TEXT NOT NULL DEFAULT '',
    copy_id      INTEGER NOT NULL DEFAULT 0, -- 0: none
    PRIMARY KEY (operation_id, place)
) STRICT, WITHOUT ROWID;

-- The items that an operation refused.
CREATE INDEX operation_item_refused ON operation_item (operation_id, place) WHERE result = 2;

-- What people changed (model::audit). Numbers are consecutive; digest goes over the digest of the record before and entry.
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY,
    time      INTEGER NOT NULL,
    act       INTEGER NOT NULL,
    user_name TEXT NOT NULL, -- empty: not known
    entry     TEXT NOT NULL, -- JSON; the columns before it are copies of its members
    digest    TEXT NOT NULL
) STRICT;

-- Records of one user, and records of some acts, the latest first.
CREATE INDEX audit_user ON audit (user_name, id) WHERE user_name <> '';
CREATE INDEX audit_act ON audit (act, id);

-- Who may do what on a server: model::directory::Directory as JSON, in one row.
CREATE TABLE directory (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    text    TEXT NOT NULL
) STRICT;

-- Tokens, one row each, so that a login does not write the whole directory again.
CREATE TABLE token (
    digest  TEXT PRIMARY KEY, -- SHA-256, in hexadecimal digits
    user_id INTEGER NOT NULL,
    client  TEXT,             -- the application it was given to
    name    TEXT,             -- of a personal access token
    scopes  TEXT NOT NULL,    -- model::permission::Scopes, as JSON
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The logins of an application or a user, the latest first; personal access tokens by name; and tokens that have expired.
CREATE INDEX token_user ON token (user_id, client, expires, digest) WHERE name IS NULL;
CREATE INDEX token_name ON token (user_id, name) WHERE name IS NOT NULL;
CREATE INDEX token_expires ON token (expires);
