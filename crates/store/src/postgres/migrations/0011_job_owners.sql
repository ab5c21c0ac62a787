-- Who started a job: the number of a user of a server, 0 for a process that opened the database itself, or null where an older
-- program does not say. Older programs go on correctly.
ALTER TABLE job ADD COLUMN owner bigint;
