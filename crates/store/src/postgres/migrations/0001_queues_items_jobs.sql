-- Enumerations are their documented numbers. No foreign keys: every insert would pay for a look-up of its queue, and the
-- rules already guarantee them.
--
-- Autovacuum: tables of which rows are updated or deleted as work is done are cleaned after a fixed number of dead rows
-- and not after a share of the table, because what slows a claim down are dead rows, however many living ones there are.

CREATE TABLE queue (
    id                         bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    key                        uuid NOT NULL,
    name                       text NOT NULL,
    folded_name                text NOT NULL, -- what makes two names the same
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
    notes                      text -- model::queue::QueueNotes, as JSON
);

-- The folders a queue is in; its name is taken in each of them.
CREATE TABLE queue_folder (
    folder_id   bigint NOT NULL,
    folded_name text NOT NULL,
    queue_id    bigint NOT NULL,
    PRIMARY KEY (folder_id, folded_name)
);

CREATE INDEX queue_folder_queue ON queue_folder (queue_id);

-- How many items of a queue are in which state: the sum over all shards. Each connection has a shard of its own, because
-- the row is locked until the commit is on disk, and one row for all would let one commit happen at a time.
CREATE TABLE queue_statistics (
    queue_id               bigint NOT NULL,
    shard                  smallint NOT NULL,
    new                    bigint NOT NULL,
    in_progress            bigint NOT NULL,
    successful             bigint NOT NULL,
    business_exceptions    bigint NOT NULL,
    application_exceptions bigint NOT NULL,
    retried                bigint NOT NULL,
    abandoned              bigint NOT NULL,
    deleted                bigint NOT NULL,
    PRIMARY KEY (queue_id, shard)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

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
    source              smallint
);

CREATE UNIQUE INDEX item_key ON item (unique_key);

-- Not unique, although a queue may enforce unique references: the transaction that adds an item to such a queue holds
-- its lock, and looks first.
CREATE INDEX item_reference ON item (queue_id, reference) WHERE reference IS NOT NULL;

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
    operation_id     text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

-- What a job holds. As small as there are robots.
CREATE INDEX item_held ON item_state (holder) WHERE status = 1;

-- What people look for: items that failed, were abandoned, retried or deleted. The busy path never enters it.
CREATE INDEX item_attention ON item_state (queue_id, status, item_id) WHERE status = 2 OR status > 3;

-- Items that may be handed out, in the order in which they are: a claim walks this from its beginning. Whoever changes
-- an item that is New holds the lock of its row here, or in item_deferred.
CREATE TABLE item_ready (
    queue_id bigint NOT NULL,
    rank     smallint NOT NULL, -- model::selection::rank
    due_date bigint NOT NULL,   -- microseconds; 0: none, such items have a rank of their own
    item_id  bigint NOT NULL,
    touched  boolean NOT NULL,  -- whether it has a row in item_state
    PRIMARY KEY (queue_id, rank, due_date, item_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Items that wait for their DeferDate, the next one first.
CREATE TABLE item_deferred (
    queue_id   bigint NOT NULL,
    defer_date timestamptz NOT NULL,
    item_id    bigint NOT NULL,
    rank       smallint NOT NULL,
    due_date   bigint NOT NULL,
    touched    boolean NOT NULL,
    PRIMARY KEY (queue_id, defer_date, item_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE item_exception (
    item_id        bigint PRIMARY KEY,
    exception_type smallint NOT NULL,
    reason         text NOT NULL,
    details        text,
    image_path     text,
    creation_time  timestamptz NOT NULL
);

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

CREATE INDEX item_comment_item ON item_comment (item_id);

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
    folder_id  bigint NOT NULL -- where it was started
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX job_live ON job (number) WHERE end_time IS NULL;
CREATE INDEX job_start ON job (start_time);

-- Who may do what: model::directory::Directory as JSON, in one row.
CREATE TABLE directory (
    id      integer PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    text    text NOT NULL
);
