-- The rows that a connection changes with each commit are left for new ones after a while (session.rs): beside a transaction
-- that keeps an old snapshot all versions of a row stay, and whoever changes it passes them. So there are more numbers of
-- shards than a smallint has. Negative ones are for those who work in somebody else's transaction.
ALTER TABLE queue_statistics ALTER COLUMN shard TYPE bigint;

UPDATE schema_version SET oldest = 6;
