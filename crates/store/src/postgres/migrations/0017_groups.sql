-- Items that belong together, and queues that limit how many of one group are in progress or let their groups take turns.
ALTER TABLE item ADD COLUMN group_name text;

-- The items of groups that are New and not deferred, or InProgress, of queues with rules about groups (model::groups). One without
-- a place waits behind others of its group. One with a place holds a slot of its group: it stands in item_ready at this place, or
-- is InProgress. A claim does not change the row. Whoever gives or takes a place holds the lock of the queue's starts until it has
-- committed.
CREATE TABLE item_grouped (
    item_id    bigint PRIMARY KEY,
    queue_id   bigint NOT NULL,
    group_name text NOT NULL,     -- '': the items without a group, in a queue whose groups take turns
    rank       smallint NOT NULL, -- model::selection::rank
    due_date   bigint NOT NULL,   -- 0: none
    first_id   bigint NOT NULL,   -- the first attempt of its chain, whose place in the group it has
    touched    boolean NOT NULL,  -- whether it has a row in item_state
    place      bigint             -- due_date in item_ready: the DueDate, or the turn of the group
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX item_group_waiting ON item_grouped (queue_id, group_name, rank, due_date, first_id, item_id) WHERE place IS NULL;
CREATE INDEX item_group_slot ON item_grouped (queue_id, group_name, rank, place) WHERE place IS NOT NULL;

-- Older programs would claim items of a group beyond its limit, and leave their slots held.
UPDATE schema_version SET oldest = 17;
