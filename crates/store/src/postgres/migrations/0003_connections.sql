-- Who commits, and how often it has: written with each commit, so that a program whose connection was lost in the middle of
-- one finds out later what became of it. (The numbers of transactions do not tell: after a crash, or on a standby that
-- takes over, a number may be given again.) Rows of connections that are gone are removed after a while.
CREATE TABLE connection (
    key     uuid PRIMARY KEY,
    commits bigint NOT NULL,
    last    timestamptz NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
