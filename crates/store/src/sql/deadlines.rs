//! Items that are ready and have a DueDate.

use jiff::Timestamp;

use super::super::deadlines::{DueRows, joined};
use super::super::unreadable_rows::UnreadableRow;
use super::dialect::{Engine, Values};
use performer_core::model::deadlines::{DueItems, MAX_FORECAST};
use performer_core::model::item::Priority;
use performer_core::model::key::QueueId;
use performer_core::model::selection::rank;
use performer_core::orchestrator::Result;

impl<E: Engine> DueRows for E {
    /// A walk of the table that claims walk. Where groups take turns, their turns stand in it instead of the due dates.
    fn ready_by_due_date(&mut self, queue: QueueId, in_turn: bool) -> Result<Vec<DueItems>> {
        let mut values = Values::default();
        let queue = values.bind::<E>(queue.0);
        let without = rank(Priority::High, None);
        let which = format!("item_ready.queue_id = {queue} AND item_ready.rank < {without}");
        let order =
            format!("ORDER BY item_ready.rank, item_ready.due_date, item_ready.item_id LIMIT {MAX_FORECAST}");
        let dates: Vec<Timestamp> = if in_turn {
            let sql = format!(
                "SELECT item.due_date FROM item_ready JOIN item ON item.id = item_ready.item_id \
             WHERE {which} AND item.due_date IS NOT NULL {order}"
            );
            self.read(&sql, &values, |row| row.time(0))?
        } else {
            self.read(&format!("SELECT due_date FROM item_ready WHERE {which} {order}"), &values, |row| {
                Timestamp::from_microsecond(row.number(0)?)
                    .map_err(|error| UnreadableRow::error(error, "the store"))
            })?
        };
        Ok(joined(dates))
    }
}
