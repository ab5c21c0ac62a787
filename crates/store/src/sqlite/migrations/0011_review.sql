-- The items that people look for: those that failed, were abandoned, retried or deleted, with what lists of them are filtered and
-- sorted by. Nothing that succeeds enters it, and the index that it replaces was asked about by each result.
CREATE TABLE item_review (
    queue_id         INTEGER NOT NULL,
    status           INTEGER NOT NULL,
    item_id          INTEGER NOT NULL,
    review_status    INTEGER NOT NULL,
    outcome          INTEGER,
    reviewer_user_id INTEGER,
    start_processing INTEGER,
    end_processing   INTEGER,
    priority         INTEGER NOT NULL,
    due_date         INTEGER,
    creation_time    INTEGER NOT NULL,
    reference        TEXT,
    PRIMARY KEY (queue_id, status, item_id)
) STRICT, WITHOUT ROWID;

INSERT INTO item_review (queue_id, status, item_id, review_status, outcome, reviewer_user_id, start_processing, end_processing,
                         priority, due_date, creation_time, reference)
SELECT item_state.queue_id, item_state.status, item_state.item_id, item_state.review_status, item_state.outcome,
       item_state.reviewer_user_id, item_state.start_processing,
       iif(item_state.outcome IS NULL, NULL, item_state.end_processing), item.priority, item.due_date, item.creation_time,
       item.reference
FROM item_state CROSS JOIN item ON item.id = item_state.item_id
WHERE item_state.status = 2 OR item_state.status > 3
ORDER BY item_state.queue_id, item_state.status, item_state.item_id;

-- What lists are sorted by, besides the id. The direction is the one that is asked for most.
CREATE INDEX item_review_end ON item_review (queue_id, status, end_processing DESC);
CREATE INDEX item_review_created ON item_review (queue_id, status, creation_time DESC);
CREATE INDEX item_review_due ON item_review (queue_id, status, due_date);

DROP INDEX item_attention;
