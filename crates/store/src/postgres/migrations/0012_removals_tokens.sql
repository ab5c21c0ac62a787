-- Queues that were deleted and whose items are to be removed, and the id up to which that is done.
CREATE TABLE queue_removal (
    queue_id bigint PRIMARY KEY,
    after    bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

INSERT INTO queue_removal (queue_id, after) SELECT id, 0 FROM queue WHERE deleted;

-- Tokens, one row each, so that a login does not write the whole directory again.
CREATE TABLE token (
    digest  text PRIMARY KEY, -- SHA-256, in hexadecimal digits
    user_id bigint NOT NULL,
    client  text,             -- the application it was given to
    name    text,             -- of a personal access token
    scopes  text NOT NULL,    -- model::permission::Scopes, as JSON
    expires timestamptz NOT NULL
);

CREATE INDEX token_user ON token (user_id, coalesce(client, ''), expires, digest) WHERE name IS NULL;
CREATE INDEX token_name ON token (user_id, name) WHERE name IS NOT NULL;
CREATE INDEX token_expires ON token (expires);

-- Older programs would keep tokens in the directory, and take a deleted queue's items for items that are held.
UPDATE schema_version SET oldest = 12;
