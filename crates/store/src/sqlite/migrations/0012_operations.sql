-- Acts on many items at once. The document is model::operation::ItemOperation, as JSON; the columns beside it find it. Times are
-- microseconds; the greatest number is never.
CREATE TABLE operation (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    version    INTEGER NOT NULL,
    due        INTEGER NOT NULL,
    kept_until INTEGER NOT NULL,
    document   TEXT NOT NULL
) STRICT;

CREATE INDEX operation_due ON operation (due);
CREATE INDEX operation_kept ON operation (kept_until);

-- The items of an operation as they were selected, in the order in which they are acted on.
CREATE TABLE operation_item (
    operation_id INTEGER NOT NULL,
    place        INTEGER NOT NULL,
    item_id      INTEGER NOT NULL,
    row_version  INTEGER NOT NULL,
    result       INTEGER NOT NULL DEFAULT 0, -- 0 nothing yet, 1 done, 2 refused
    code         INTEGER NOT NULL DEFAULT 0,
    message      TEXT NOT NULL DEFAULT '',
    copy_id      INTEGER NOT NULL DEFAULT 0, -- 0: none
    PRIMARY KEY (operation_id, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX operation_item_refused ON operation_item (operation_id, place) WHERE result = 2;
