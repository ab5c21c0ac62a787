-- What people write about a group of failures. Older programs go on correctly.
ALTER TABLE reason ADD COLUMN note text;
ALTER TABLE reason ADD COLUMN owner bigint; -- a user of a server
