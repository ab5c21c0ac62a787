-- The users of a server who did what a row remembers; null where a process that opened the database itself did it, or an
-- older program, which does not say. Older programs go on correctly.
ALTER TABLE item ADD COLUMN created_by bigint;
ALTER TABLE item_state ADD COLUMN taken_by bigint;
ALTER TABLE item_state ADD COLUMN ended_by bigint;
