-- Limits that hold over all performers of a queue, and what jobs did.

ALTER TABLE queue ADD COLUMN limits TEXT; -- model::limits::QueueLimits, as JSON

-- What was started lately of a queue with limits: model::limits::Starts, as JSON.
CREATE TABLE queue_starts (
    queue_id INTEGER PRIMARY KEY,
    starts   TEXT NOT NULL
) STRICT;

ALTER TABLE job ADD COLUMN figures TEXT; -- model::job::JobFigures, as JSON
