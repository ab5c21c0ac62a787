-- Limits that hold over all performers of a queue, and what jobs did.

-- The oldest version of the schema whose programs go on correctly with this one. Programs look at it in every transaction,
-- so that one that is too old stops when somebody brings the schema up to date.
ALTER TABLE schema_version ADD COLUMN oldest integer NOT NULL DEFAULT 2;

ALTER TABLE queue ADD COLUMN limits text; -- model::limits::QueueLimits, as JSON

-- What was started lately of a queue with limits: model::limits::Starts, as JSON. Whoever reads it holds the lock of the
-- queue's starts until it has committed.
CREATE TABLE queue_starts (
    queue_id bigint PRIMARY KEY,
    starts   text NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

ALTER TABLE job ADD COLUMN figures text; -- model::job::JobFigures, as JSON
