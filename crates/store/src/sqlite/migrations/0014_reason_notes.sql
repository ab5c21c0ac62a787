-- What people write about a group of failures.
ALTER TABLE reason ADD COLUMN note TEXT;
ALTER TABLE reason ADD COLUMN owner INTEGER; -- a user of a server
