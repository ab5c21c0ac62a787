-- Jobs get numbers that are never used again.

CREATE TABLE last_job (
    id INTEGER NOT NULL
) STRICT;

ALTER TABLE job ADD COLUMN id INTEGER NOT NULL DEFAULT 0;

UPDATE job SET id = numbered.id
FROM (SELECT number, row_number() OVER (ORDER BY start_time, number) AS id FROM job) AS numbered
WHERE job.number = numbered.number;

INSERT INTO last_job (id) SELECT coalesce(max(id), 0) FROM job;

CREATE UNIQUE INDEX job_id ON job (id);

-- What programs logged (model::log). Numbers rise with the order of arrival.
CREATE TABLE log (
    id        INTEGER PRIMARY KEY,
    folder_id INTEGER NOT NULL,
    time      INTEGER NOT NULL,
    level     INTEGER NOT NULL,
    job       INTEGER, -- job.number
    item_id   INTEGER,
    process   TEXT NOT NULL,
    entry     TEXT NOT NULL -- JSON; the columns before it are copies of its members
) STRICT;

CREATE INDEX log_time ON log (time);
CREATE INDEX log_job ON log (job, time) WHERE job IS NOT NULL;
CREATE INDEX log_item ON log (item_id, time) WHERE item_id IS NOT NULL;
