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
