-- Results change no index: a row whose indexed columns stay as they are, in a page that has room, is changed where it stands
-- (HOT). So what is found by a column that a result changes is found elsewhere.

DROP INDEX item_held;
DROP INDEX item_attention;

-- Half of each page is left for results, which come soon; what they leave behind is cleaned up by whoever comes to the page.
ALTER TABLE item_state SET (fillfactor = 50);

-- What people look for: items that failed, were abandoned, retried or deleted. Null of all others, so that a success does not
-- change it.
ALTER TABLE item_state ADD COLUMN attention smallint
    GENERATED ALWAYS AS (CASE WHEN status = 2 OR status > 3 THEN status END) STORED;
CREATE INDEX item_attention ON item_state (queue_id, attention, item_id) WHERE attention IS NOT NULL;

-- What a job holds is named here. A row for items that were taken together, removed when all of them have ended: it may name
-- items that are not held any more, and whatever is held is named.
CREATE TABLE item_claim (
    job    bigint NOT NULL, -- job.number
    number bigint NOT NULL, -- made by whoever takes
    items  bigint[] NOT NULL,
    PRIMARY KEY (job, number)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

INSERT INTO item_claim (job, number, items)
    SELECT holder, 0, array_agg(item_id) FROM item_state WHERE status = 1 AND holder IS NOT NULL GROUP BY holder;

-- Older programs would take items and not name them.
UPDATE schema_version SET oldest = 4;
