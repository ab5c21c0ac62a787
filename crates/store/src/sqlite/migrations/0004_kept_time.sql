-- The last time of day that was believed (model::clock_guard), by which one that is ahead is recognised.
CREATE TABLE kept_time (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;
