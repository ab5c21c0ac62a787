-- Who started a job: the number of a user of a server, 0 for a process that opened the file itself, or null where an older
-- program did not say.
ALTER TABLE job ADD COLUMN owner INTEGER;
