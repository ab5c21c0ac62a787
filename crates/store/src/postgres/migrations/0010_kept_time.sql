-- The last time of day that was believed (model::clock_guard), by which one that is ahead is recognised. Older programs do
-- not keep one, and go on as before.
CREATE TABLE kept_time (
    id smallint PRIMARY KEY CHECK (id = 1),
    at timestamptz NOT NULL
);
