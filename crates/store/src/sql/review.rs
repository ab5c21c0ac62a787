//! The table of items that people look for: those that failed, were abandoned, retried or deleted.
//!
//! A row has what lists of them are filtered and sorted by, and no other index or table is needed for that: thirty thousand
//! rows are read in some milliseconds. Written when an item comes to such a state or changes in it, so nothing that succeeds pays.

use super::dialect::{Dialect, Engine, Values};
use super::list::is_for_review;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// Writes the row of an item whose state was written.
pub(crate) fn update_row<E: Engine>(
    engine: &mut E,
    (id, queue): (ItemId, QueueId),
    before: Status,
    after: Status,
) -> Result<()> {
    if is_for_review(before) {
        let mut values = Values::default();
        let [queue, status, item] =
            [queue.0, i64::from(before.number()), id.0].map(|number| values.bind::<E>(number));
        let sql = format!(
            "DELETE FROM item_review WHERE queue_id = {queue} AND status = {status} AND item_id = {item}"
        );
        engine.execute(&sql, &values)?;
    }
    if is_for_review(after) {
        let mut values = Values::default();
        let this = format!("= {}", values.bind::<E>(id.0));
        engine.execute(&insertion::<E>(&this), &values)?;
    }
    Ok(())
}

/// The columns of the table, in the order of [`rows`].
pub(super) const COLUMNS: &str = "item_id, queue_id, status, review_status, outcome, reviewer_user_id, start_processing, \
                                  end_processing, priority, due_date, creation_time, reference";

/// The rows that items in such states have; a condition is to follow.
pub(super) fn rows<D: Dialect>() -> String {
    format!(
        "SELECT item.id AS item_id, item_state.queue_id, item_state.status, item_state.review_status, item_state.outcome, \
         item_state.reviewer_user_id, item_state.start_processing, {}, item.priority, item.due_date, \
         item.creation_time, item.reference FROM item_state {} item ON item.id = item_state.item_id WHERE ",
        D::END_PROCESSING,
        D::THEN_JOIN
    )
}

/// Inserts the rows of items that have just come to such a state; `which` is said of their ids.
pub(crate) fn insertion<D: Dialect>(which: &str) -> String {
    format!("INSERT INTO item_review ({COLUMNS}) {}item_state.item_id {which}", rows::<D>())
}

/// Removes the row of an item that is about to be removed.
pub(crate) fn remove_row<E: Engine>(engine: &mut E, id: ItemId) -> Result<()> {
    let mut values = Values::default();
    let item = values.bind::<E>(id.0);
    let sql = format!(
        "DELETE FROM item_review WHERE (queue_id, status) = \
         (SELECT queue_id, status FROM item_state WHERE item_state.item_id = {item}) AND item_id = {item}"
    );
    engine.execute(&sql, &values)
}
