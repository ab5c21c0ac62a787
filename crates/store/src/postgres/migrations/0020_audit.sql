-- What people changed (model::audit). Numbers are consecutive; digest goes over the digest of the record before and entry.
CREATE TABLE audit (
    id        bigint PRIMARY KEY,
    time      timestamptz NOT NULL,
    act       smallint NOT NULL,
    user_name text NOT NULL, -- empty: not known
    entry     text NOT NULL, -- JSON; the columns before it are copies of its members
    digest    text NOT NULL
);

CREATE INDEX audit_user ON audit (user_name, id) WHERE user_name <> '';
CREATE INDEX audit_act ON audit (act, id);

-- Older programs would change things without a record.
UPDATE schema_version SET oldest = 20;
