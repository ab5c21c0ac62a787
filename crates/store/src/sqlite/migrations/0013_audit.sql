-- What people changed (model::audit). Numbers are consecutive; digest goes over the digest of the record before and entry.
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY,
    time      INTEGER NOT NULL,
    act       INTEGER NOT NULL,
    user_name TEXT NOT NULL, -- empty: not known
    entry     TEXT NOT NULL, -- JSON; the columns before it are copies of its members
    digest    TEXT NOT NULL
) STRICT;

CREATE INDEX audit_user ON audit (user_name, id) WHERE user_name <> '';
CREATE INDEX audit_act ON audit (act, id);
