//! A change of a queue's rules about groups, which puts all its waiting items in their places again.

use jiff::Timestamp;

use super::Postgres;
use super::claim_rows::HELD_STATES;
use super::columns::get;
use super::ready_items::{EntryNumbers, number};
use performer_core::model::groups::GroupRules;
use performer_core::model::key::QueueId;
use performer_core::orchestrator::Result;

/// Items that are ready wait, whatever their turns.
const STOP: &str = "WITH stopped AS (DELETE FROM item_ready USING item_grouped AS held WHERE held.queue_id = $1 \
     AND held.place IS NOT NULL AND item_ready.queue_id = held.queue_id AND item_ready.rank = held.rank \
     AND item_ready.due_date = held.place AND item_ready.item_id = held.item_id RETURNING item_ready.item_id) \
     UPDATE item_grouped SET place = NULL FROM stopped WHERE item_grouped.item_id = stopped.item_id";

/// All that wait are ready, as in a queue without rules.
const RELEASE: &str = concat!(
    "WITH released AS (DELETE FROM item_grouped WHERE queue_id = $1 AND place IS NULL \
     RETURNING queue_id, rank, due_date, item_id, touched) \
     INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched, entered) \
     SELECT queue_id, rank, due_date, item_id, touched, ",
    number!("$2"),
    " FROM released"
);

/// Those that are left are InProgress.
const CLEAR: &str = "DELETE FROM item_grouped WHERE queue_id = $1 AND place IS NOT NULL";

/// Those that the new rules concern wait in their groups.
const WAIT: &str = "WITH waiting AS MATERIALIZED (SELECT item_ready.rank, item_ready.due_date, item_ready.item_id, \
     item_ready.touched, coalesce(item.group_name, '') AS name, coalesce(item.root_id, item.id) AS first \
     FROM item_ready JOIN item ON item.id = item_ready.item_id \
     WHERE item_ready.queue_id = $1 AND ($2::boolean OR item.group_name IS NOT NULL)), \
     gone AS (DELETE FROM item_ready USING waiting WHERE item_ready.queue_id = $1 AND item_ready.rank = waiting.rank \
     AND item_ready.due_date = waiting.due_date AND item_ready.item_id = waiting.item_id) \
     INSERT INTO item_grouped (item_id, queue_id, group_name, rank, due_date, first_id, touched) \
     SELECT item_id, $1, name, rank, due_date, first, touched FROM waiting";

const GROUPS: &str =
    "SELECT DISTINCT group_name FROM item_grouped WHERE queue_id = $1 AND place IS NULL ORDER BY group_name";

impl Postgres {
    /// Nobody else reads or writes items of the queue: this transaction has the lock of all queues, and nobody's own transaction,
    /// which does not share it, has the row of this one.
    pub(super) fn put_into_groups(
        &mut self,
        queue: QueueId,
        rules: Option<GroupRules>,
        now: Timestamp,
    ) -> Result<()> {
        self.lock_groups_of(queue)?;
        (self.prefetched_items, self.places) = (None, Vec::new());
        self.mark()?;
        let drawn = self.numbers() == EntryNumbers::Drawn;
        self.session.execute(STOP, &[&queue.0])?;
        self.session.execute(RELEASE, &[&queue.0, &drawn])?;
        self.session.execute(CLEAR, &[&queue.0])?;
        let Some(rules) = rules else { return Ok(()) };
        self.session.execute(WAIT, &[&queue.0, &rules.fair])?;
        // Those in progress hold slots.
        let hold = format!(
            "INSERT INTO item_grouped (item_id, queue_id, group_name, rank, due_date, first_id, touched, place) \
             SELECT running.id, $1, running.name, running.rank, running.due, running.first, true, \
             CASE WHEN $2 THEN 0 ELSE running.due END FROM (SELECT item.id, coalesce(item.group_name, '') AS name, \
             (item.priority + CASE WHEN item.due_date IS NULL THEN 3 ELSE 0 END)::smallint AS rank, \
             coalesce((extract(epoch FROM item.due_date)::numeric * 1000000)::bigint, 0) AS due, \
             coalesce(item.root_id, item.id) AS first FROM {HELD_STATES} JOIN item ON item.id = held.item_id \
             WHERE item.queue_id = $1 AND ($2::boolean OR item.group_name IS NOT NULL)) AS running"
        );
        self.session.execute(&hold, &[&queue.0, &rules.fair])?;
        let rows = self.session.query(GROUPS, &[&queue.0])?;
        let names = rows.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
        self.settle_named((queue, rules), names, now)
    }
}
