-- Queues that were deleted and whose items are to be removed, and the id up to which that is done.
CREATE TABLE queue_removal (
    queue_id INTEGER PRIMARY KEY,
    after    INTEGER NOT NULL
) STRICT;

INSERT INTO queue_removal (queue_id, after) SELECT id, 0 FROM queue WHERE deleted = 1;

-- Tokens, one row each, so that a login does not write the whole directory again.
CREATE TABLE token (
    digest  TEXT PRIMARY KEY, -- SHA-256, in hexadecimal digits
    user_id INTEGER NOT NULL,
    client  TEXT,             -- the application it was given to
    name    TEXT,             -- of a personal access token
    scopes  TEXT NOT NULL,    -- model::permission::Scopes, as JSON
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX token_user ON token (user_id, client, expires, digest) WHERE name IS NULL;
CREATE INDEX token_name ON token (user_id, name) WHERE name IS NOT NULL;
CREATE INDEX token_expires ON token (expires);
