-- Jobs get numbers that are never used again.
ALTER TABLE job ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX job_id ON job (id);
