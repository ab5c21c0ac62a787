-- The users of a server who did what a row remembers; null where a process that opened the file itself did it, or an older
-- program, which does not say.
ALTER TABLE item ADD COLUMN created_by INTEGER;
ALTER TABLE item_state ADD COLUMN taken_by INTEGER;
ALTER TABLE item_state ADD COLUMN ended_by INTEGER;
