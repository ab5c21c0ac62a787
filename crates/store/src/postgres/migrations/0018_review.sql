-- The items that people look for: those that failed, were abandoned, retried or deleted, with what lists of them are filtered and
-- sorted by. Nothing that succeeds enters it. It replaces an index, and a column that each result computed.

-- First, because it waits for the programs that are at work; what they have begun is in the table then.
DROP INDEX item_attention;
ALTER TABLE item_state DROP COLUMN attention;

CREATE TABLE item_review (
    queue_id         bigint NOT NULL,
    status           smallint NOT NULL,
    item_id          bigint NOT NULL,
    review_status    smallint NOT NULL,
    outcome          smallint,
    reviewer_user_id bigint,
    start_processing timestamptz,
    end_processing   timestamptz,
    priority         smallint NOT NULL,
    due_date         timestamptz,
    creation_time    timestamptz NOT NULL,
    reference        text,
    PRIMARY KEY (queue_id, status, item_id)
);

INSERT INTO item_review (queue_id, status, item_id, review_status, outcome, reviewer_user_id, start_processing, end_processing,
                         priority, due_date, creation_time, reference)
SELECT item_state.queue_id, item_state.status, item_state.item_id, item_state.review_status, item_state.outcome,
       item_state.reviewer_user_id, item_state.start_processing, item_state.end_processing, item.priority, item.due_date,
       item.creation_time, item.reference
FROM item_state JOIN item ON item.id = item_state.item_id
WHERE item_state.status = 2 OR item_state.status > 3
ORDER BY item_state.queue_id, item_state.status, item_state.item_id;

-- What lists are sorted by, besides the id. The direction is the one that is asked for most.
CREATE INDEX item_review_end ON item_review (queue_id, status, end_processing DESC NULLS LAST, item_id);
CREATE INDEX item_review_created ON item_review (queue_id, status, creation_time DESC NULLS LAST, item_id);
CREATE INDEX item_review_due ON item_review (queue_id, status, due_date NULLS FIRST, item_id);

-- Older programs would not enter what fails in them.
UPDATE schema_version SET oldest = 18;
