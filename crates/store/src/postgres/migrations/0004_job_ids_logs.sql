-- Jobs get numbers that are never used again.
ALTER TABLE job ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX job_id ON job (id);

-- What programs logged (model::log). Numbers rise with the order of arrival.
CREATE TABLE log (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    folder_id bigint NOT NULL,
    time      timestamptz NOT NULL,
    level     smallint NOT NULL,
    job       bigint, -- job.number
    item_id   bigint,
    process   text NOT NULL,
    entry     text NOT NULL -- JSON; the columns before it are copies of its members
);

CREATE INDEX log_time ON log (time, id);
CREATE INDEX log_job ON log (job, time, id) WHERE job IS NOT NULL;
CREATE INDEX log_item ON log (item_id, time, id) WHERE item_id IS NOT NULL;
