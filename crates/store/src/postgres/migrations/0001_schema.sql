-- Enumerations are their documented numbers. No foreign keys: every insert would pay for a look-up of its queue, and the
-- rules already guarantee them.
--
-- Autovacuum: tables of which rows are updated or deleted as work is done are cleaned after a fixed number of dead rows
-- and not after a share of the table, because what slows a claim down are dead rows, however many living ones there are.

-- Queues

CREATE TABLE queue (
    id                         bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    key                        uuid NOT NULL,
    name                       text NOT NULL,
    folded_name                text NOT NULL,   -- what makes two names the same
    description                text,
    accept_automatically_retry boolean NOT NULL,
    max_number_of_retries      integer NOT NULL,
    retry_abandoned_items      boolean NOT NULL,
    enforce_unique_reference   boolean NOT NULL,
    abandon_after              bigint NOT NULL, -- microseconds
    retention_days             integer NOT NULL,
    stale_retention_days       integer NOT NULL,
    creation_time              timestamptz NOT NULL,
    deleted                    boolean NOT NULL DEFAULT false,
    home_folder_id             bigint NOT NULL, -- where it was made
    specific_data_schema       text,
    output_data_schema         text,
    analytics_data_schema      text,
    notes                      text,            -- model::queue::QueueNotes, as JSON
    limits                     text,            -- model::limits::QueueLimits, as JSON: they hold over all performers
    retry_delay                text             -- model::retry_delay::RetryDelay, as JSON; null: retries do not wait
);

-- The folders a queue is in; its name is taken in each of them.
CREATE TABLE queue_folder (
    folder_id   bigint NOT NULL,
    folded_name text NOT NULL,
    queue_id    bigint NOT NULL,
    PRIMARY KEY (folder_id, folded_name)
);

-- The folders of a queue are read with it.
CREATE INDEX queue_folder_queue ON queue_folder (queue_id);

-- How many items of a queue are in which state: the sum over all shards. Each connection has a shard of its own, because
-- the row is locked until the commit is on disk, and one row for all would let one commit happen at a time. A connection
-- leaves its shards for new ones after a while (session.rs): beside a transaction that keeps an old snapshot all versions of
-- a row stay, and whoever changes it passes them. Negative numbers are for those who work in somebody else's transaction.
CREATE TABLE queue_statistics (
    queue_id               bigint NOT NULL,
    number                 bigint NOT NULL,
    new                    bigint NOT NULL,
    in_progress            bigint NOT NULL,
    successful             bigint NOT NULL,
    business_exceptions    bigint NOT NULL,
    application_exceptions bigint NOT NULL,
    retried                bigint NOT NULL,
    abandoned              bigint NOT NULL,
    deleted                bigint NOT NULL,
    PRIMARY KEY (queue_id, number)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The shards of a queue that there are, in a table that changes with none of the commits that they count: beside a transaction
-- that keeps an old snapshot whoever adds them up would pass all their versions.
CREATE TABLE queue_shard (
    queue_id bigint NOT NULL,
    number   bigint NOT NULL,
    PRIMARY KEY (queue_id, number)
);

-- What was started lately of a queue with limits: model::limits::Starts, as JSON. Each change is a row with the next number: it
-- is read from the end. Whoever reads it holds the lock of the queue's starts until it has committed.
CREATE TABLE queue_starts (
    queue_id bigint NOT NULL,
    starts   text NOT NULL,
    number   bigint NOT NULL,
    PRIMARY KEY (queue_id, number)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Queues that were deleted and whose items are to be removed, and the id up to which that is done.
CREATE TABLE queue_removal (
    queue_id bigint PRIMARY KEY,
    after    bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Items

-- The ids of items, and numbers for items that begin to wait again (item_ready.entered).
CREATE SEQUENCE item_id;

-- What was asked for. Written once, but for edits while the item waits.
CREATE TABLE item (
    id                  bigint PRIMARY KEY,
    queue_id            bigint NOT NULL,
    root_id             bigint, -- of a retry copy: the first attempt of its chain
    priority            smallint NOT NULL,
    due_date            timestamptz,
    defer_date          timestamptz,
    risk_sla_date       timestamptz,
    creation_time       timestamptz NOT NULL,
    holds_reference     boolean NOT NULL,
    unique_key          uuid NOT NULL,
    reference           text,
    content             text NOT NULL,
    creator_job         uuid,
    parent_operation_id text,
    source              smallint,
    created_by          bigint, -- a user of a server; null: a process that opened the database itself
    group_name          text    -- items that belong together
);

-- An item by its key.
CREATE UNIQUE INDEX item_key ON item (unique_key);

-- Walked by lists of a reference or of its beginning, and by whoever adds to a queue with unique references. In the order of
-- their bytes, whatever the collation of the database: the range of a prefix is found by it. Not unique all the same: the
-- transaction that adds an item to such a queue holds its lock, and looks first.
CREATE INDEX item_reference ON item (queue_id, reference text_pattern_ops) WHERE reference IS NOT NULL;

-- The attempts of a chain.
CREATE INDEX item_root ON item (root_id) WHERE root_id IS NOT NULL;

-- Where retention looks. Creation times rise with the table, so a few ranges of pages are all there is to know.
CREATE INDEX item_created ON item USING brin (creation_time) WITH (autosummarize = on);

-- What only a retry copy has.
CREATE TABLE item_copy (
    item_id                      bigint PRIMARY KEY,
    chain_key                    uuid NOT NULL, -- the key that it shares with its chain
    ancestor_id                  bigint,
    manual_ancestor_id           bigint,
    retry_number                 integer NOT NULL,
    manual_retry_number          integer NOT NULL,
    seconds_in_previous_attempts bigint NOT NULL
);

-- What became of an item; no row: it is New, and nothing ever happened to it. A claim inserts the row and a result
-- updates it: both are small, and neither writes the item's content again.
--
-- Results change no index: a row whose indexed columns stay as they are, in a page that has room, is changed where it stands
-- (HOT). So what is found by a column that a result changes is found elsewhere: what a job holds in item_claim, what failed in
-- item_review. Half of each page is left for results, which come soon; what they leave behind is cleaned up by whoever comes to
-- the page.
CREATE TABLE item_state (
    item_id          bigint PRIMARY KEY,
    queue_id         bigint NOT NULL,
    status           smallint NOT NULL,
    review_status    smallint NOT NULL,
    outcome          smallint,
    superseded       boolean NOT NULL,
    start_processing timestamptz,
    end_processing   timestamptz,
    reviewer_user_id bigint,
    holder           bigint, -- job.number
    robot            bigint,
    token            bigint NOT NULL,
    row_version      bigint NOT NULL,
    output           text,
    progress         text,
    robot_id         bigint, -- of a caller over HTTP
    executor         uuid,   -- the job that such a caller says it is
    analytics        text,
    operation_id     text,
    taken_by         bigint, -- users of a server, as in item.created_by
    ended_by         bigint
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

-- What a job holds is named here. A row for items that were taken together, removed when all of them have ended: it may name
-- items that are not held any more, and whatever is held is named.
CREATE TABLE item_claim (
    job    bigint NOT NULL, -- job.number
    number bigint NOT NULL, -- made by whoever takes
    items  bigint[] NOT NULL,
    PRIMARY KEY (job, number)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE item_exception (
    item_id        bigint PRIMARY KEY,
    exception_type smallint NOT NULL,
    reason         text NOT NULL,
    details        text,
    image_path     text,
    creation_time  timestamptz NOT NULL,
    reason_id      bigint -- the group of failures that it is counted in
);

-- Lists of the items of a group of failures.
CREATE INDEX item_reason ON item_exception (reason_id, item_id) WHERE reason_id IS NOT NULL;

-- Events that the row of an item does not remember by itself (model::history).
CREATE TABLE item_event (
    item_id       bigint NOT NULL,
    version       bigint NOT NULL,
    at            timestamptz NOT NULL,
    action        smallint NOT NULL,
    status        smallint NOT NULL,
    review_status smallint NOT NULL,
    user_id       bigint,
    PRIMARY KEY (item_id, version)
);

CREATE TABLE item_comment (
    id            bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    item_id       bigint NOT NULL,
    text          text NOT NULL,
    user_id       bigint,
    user_name     text,
    creation_time timestamptz NOT NULL
);

-- The comments on an item.
CREATE INDEX item_comment_item ON item_comment (item_id);

-- Items that wait

-- Items that may be handed out, in the order in which they are: a claim walks this from where nothing waits before
-- (claim_cursor). What was entered since that is known, and may stand before, is found by its number in `entered`: the id of a new
-- item, or another number of the same sequence for an item that waits again. Whoever changes an item that is New holds the lock
-- of its row here, or in item_deferred.
CREATE TABLE item_ready (
    queue_id bigint NOT NULL,
    rank     smallint NOT NULL, -- model::selection::rank
    due_date bigint NOT NULL,   -- microseconds; 0: none, such items have a rank of their own
    item_id  bigint NOT NULL,
    touched  boolean NOT NULL,  -- whether it has a row in item_state
    entered  bigint,            -- null: a new item without a DueDate, which stands where its number is
    PRIMARY KEY (queue_id, rank, due_date, item_id),
    CONSTRAINT item_ready_entered CHECK (rank > 2 OR entered IS NOT NULL)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- What was entered since a number. `queue_id + 0`: no plan of a statement that says so uses another index.
CREATE INDEX item_ready_entry ON item_ready ((queue_id + 0), entered) WHERE entered IS NOT NULL;

-- Items that wait for their DeferDate, the next one first.
CREATE TABLE item_deferred (
    queue_id   bigint NOT NULL,
    defer_date timestamptz NOT NULL,
    item_id    bigint NOT NULL,
    rank       smallint NOT NULL,
    due_date   bigint NOT NULL,
    touched    boolean NOT NULL,
    entered    bigint NOT NULL,
    PRIMARY KEY (queue_id, defer_date, item_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX item_deferred_entry ON item_deferred ((queue_id + 0), entered);

-- The items of groups that are New and not deferred, or InProgress, of queues that limit how many of one group are in progress
-- or let their groups take turns (model::groups). One without a place waits behind others of its group. One with a place holds a
-- slot of its group: it stands in item_ready at this place, or is InProgress. A claim does not change the row. Whoever gives or
-- takes a place holds the lock of the queue's starts until it has committed.
CREATE TABLE item_grouped (
    item_id    bigint PRIMARY KEY,
    queue_id   bigint NOT NULL,
    group_name text NOT NULL,     -- '': the items without a group, in a queue whose groups take turns
    rank       smallint NOT NULL, -- model::selection::rank
    due_date   bigint NOT NULL,   -- 0: none
    first_id   bigint NOT NULL,   -- the first attempt of its chain, whose place in the group it has
    touched    boolean NOT NULL,  -- whether it has a row in item_state
    place      bigint             -- due_date in item_ready: the DueDate, or the turn of the group
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- What is next in a group; and the slots that a group has given out.
CREATE INDEX item_group_waiting ON item_grouped (queue_id, group_name, rank, due_date, first_id, item_id) WHERE place IS NULL;
CREATE INDEX item_group_slot ON item_grouped (queue_id, group_name, rank, place) WHERE place IS NOT NULL;

-- What people look for

-- The items that failed, were abandoned, retried or deleted, with what lists of them are filtered and sorted by. Nothing that
-- succeeds enters it.
CREATE TABLE item_review (
    queue_id         bigint NOT NULL,
    status           smallint NOT NULL,
    item_id          bigint NOT NULL,
    review_status    smallint NOT NULL,
    outcome          smallint,
    reviewer_user_id bigint,
    start_processing timestamptz,
    end_processing   timestamptz,
    priority         smallint NOT NULL,
    due_date         timestamptz,
    creation_time    timestamptz NOT NULL,
    reference        text,
    PRIMARY KEY (queue_id, status, item_id)
);

-- What lists are sorted by, besides the id. The direction is the one that is asked for most.
CREATE INDEX item_review_end ON item_review (queue_id, status, end_processing DESC NULLS LAST, item_id);
CREATE INDEX item_review_created ON item_review (queue_id, status, creation_time DESC NULLS LAST, item_id);
CREATE INDEX item_review_due ON item_review (queue_id, status, due_date NULLS FIRST, item_id);

-- Failures with the same reason but for numbers, names and the like (model::reason). At most 2,000 of a queue.
CREATE TABLE reason (
    id             bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    queue_id       bigint NOT NULL,
    exception_type smallint NOT NULL,
    fingerprint    text NOT NULL,
    sample         text NOT NULL,
    first_seen     timestamptz NOT NULL,
    note           text,  -- what people write about it
    owner          bigint -- a user of a server
);

-- The group of a failure; and all groups of a queue, for their list.
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

-- Jobs, and who commits

-- Whoever takes items for a job shares a lock of its name instead of locking its row (jobs.rs), so that a process takes in several
-- transactions at once.
CREATE TABLE job (
    number     bigint PRIMARY KEY, -- 63 random bits of the key
    key        uuid NOT NULL,
    queue      text NOT NULL,
    machine    text NOT NULL,
    process_id bigint NOT NULL,
    version    text NOT NULL,
    robots     bigint NOT NULL,
    lease      bigint NOT NULL, -- microseconds
    state      smallint NOT NULL,
    start_time timestamptz NOT NULL,
    held_until timestamptz NOT NULL,
    end_time   timestamptz,
    info       text,
    folder_id  bigint NOT NULL, -- where it was started
    figures    text,            -- model::job::JobFigures, as JSON
    owner      bigint           -- the user of a server who started it; 0: a process that opened the database itself
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The jobs that sweeps look at; and lists of jobs, the latest first.
CREATE INDEX job_live ON job (number) WHERE end_time IS NULL;
CREATE INDEX job_start ON job (start_time);

-- The last time of day that was believed (model::clock_guard), by which one that is ahead is recognised.
CREATE TABLE kept_time (
    id smallint PRIMARY KEY CHECK (id = 1),
    at timestamptz NOT NULL
);

-- Who commits, and how often it has: written with each commit, so that a program whose connection was lost in the middle of
-- one finds out later what became of it. (The numbers of transactions do not tell: after a crash, or on a standby that
-- takes over, a number may be given again.) Rows of connections that are gone are removed after a while.
CREATE TABLE connection (
    key     uuid PRIMARY KEY,
    commits bigint NOT NULL,
    last    timestamptz NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Fails a transaction that has written fewer rows than it meant to, because another transaction has changed them: so the
-- statements and the commit behind them need no answer between them.
CREATE FUNCTION expect_rows(written bigint, expected bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF written <> expected THEN
        RAISE EXCEPTION 'rows were changed by another transaction' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;

-- What people do, and who they are

-- Acts on many items at once. The document is model::operation::ItemOperation, as JSON; the columns beside it find it. Times are
-- microseconds; the greatest number is never.
CREATE TABLE operation (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again
    version    bigint NOT NULL,
    due        bigint NOT NULL,
    kept_until bigint NOT NULL,
    document   text NOT NULL
);

-- Operations whose next step is due; and those that need not be kept any more.
CREATE INDEX operation_due ON operation (due);
CREATE INDEX operation_kept ON operation (kept_until);

-- The items of an operation as they were selected, in the order in which they are acted on.
CREATE TABLE operation_item (
    operation_id bigint NOT NULL,
    place        bigint NOT NULL,
    item_id      bigint NOT NULL,
    row_version  bigint NOT NULL,
    result       bigint NOT NULL DEFAULT 0, -- 0 nothing yet, 1 done, 2 refused
    code         bigint NOT NULL DEFAULT 0,
    message      text NOT NULL DEFAULT '',
    copy_id      bigint NOT NULL DEFAULT 0, -- 0: none
    PRIMARY KEY (operation_id, place)
);

-- The items that an operation refused.
CREATE INDEX operation_item_refused ON operation_item (operation_id, place) WHERE result = 2;

-- What people changed (model::audit). Numbers are consecutive; digest goes over the digest of the record before and entry.
CREATE TABLE audit (
    id        bigint PRIMARY KEY,
    time      timestamptz NOT NULL,
    act       smallint NOT NULL,
    user_name text NOT NULL, -- empty: not known
    entry     text NOT NULL, -- JSON; the columns before it are copies of its members
    digest    text NOT NULL
);

-- Records of one user, and records of some acts, the latest first.
CREATE INDEX audit_user ON audit (user_name, id) WHERE user_name <> '';
CREATE INDEX audit_act ON audit (act, id);

-- Who may do what on a server: model::directory::Directory as JSON, in one row.
CREATE TABLE directory (
    id      integer PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    text    text NOT NULL
);

-- Tokens, one row each, so that a login does not write the whole directory again.
CREATE TABLE token (
    digest  text PRIMARY KEY, -- SHA-256, in hexadecimal digits
    user_id bigint NOT NULL,
    client  text,             -- the application it was given to
    name    text,             -- of a personal access token
    scopes  text NOT NULL,    -- model::permission::Scopes, as JSON
    expires timestamptz NOT NULL
);

-- The logins of an application or a user, the latest first; personal access tokens by name; and tokens that have expired.
CREATE INDEX token_user ON token (user_id, client, expires, digest) WHERE name IS NULL;
CREATE INDEX token_name ON token (user_id, name) WHERE name IS NOT NULL;
CREATE INDEX token_expires ON token (expires);
