-- Acts on many items at once. The document is model::operation::ItemOperation, as JSON; the columns beside it find it. Times are
-- microseconds; the greatest number is never.
CREATE TABLE operation (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again
    version    bigint NOT NULL,
    due        bigint NOT NULL,
    kept_until bigint NOT NULL,
    document   text NOT NULL
);

CREATE INDEX operation_due ON operation (due);
CREATE INDEX operation_kept ON operation (kept_until);

-- The items of an operation as they were selected, in the order in which they are acted on.
CREATE TABLE operation_item (
    operation_id bigint NOT NULL,
    place        bigint NOT NULL,
    item_id      bigint NOT NULL,
    row_version  bigint NOT NULL,
    result       bigint NOT NULL DEFAULT 0, -- 0 nothing yet, 1 done, 2 refused
    code         bigint NOT NULL DEFAULT 0,
    message      text NOT NULL DEFAULT '',
    copy_id      bigint NOT NULL DEFAULT 0, -- 0: none
    PRIMARY KEY (operation_id, place)
);

CREATE INDEX operation_item_refused ON operation_item (operation_id, place) WHERE result = 2;
