//! What is known of an item beside its state: its chain and its events; and its removal.

#[cfg(feature = "sqlite")]
use super::columns::Columns;
use super::columns::unreadable;
use super::dialect::{Bound, Engine, Values};
use performer_core::model::history::{EventAction, Recorded};
use performer_core::model::key::ItemId;
use performer_core::model::status::{ReviewStatus, Status};
use performer_core::orchestrator::Result;

/// All attempts of the chain of an item, by id.
pub(crate) fn chain<E: Engine>(engine: &mut E, id: ItemId) -> Result<Vec<ItemId>> {
    let mut values = Values::default();
    let sql = format!(
        "WITH first AS (SELECT coalesce(root_id, id) AS id FROM item WHERE id = {}) SELECT id FROM first UNION ALL \
         SELECT item.id FROM item JOIN first ON item.root_id = first.id ORDER BY 1",
        values.bind::<E>(id.0)
    );
    engine.write_added()?;
    engine.read_prepared(&sql, &values, |row| row.number(0).map(ItemId))
}

#[cfg(feature = "sqlite")] // PostgreSQL writes the events of a batch together
pub(crate) fn record<E: Engine>(engine: &mut E, id: ItemId, event: &Recorded) -> Result<()> {
    let Recorded { version, at, action, status, review_status, user_id } = event;
    let columns = Columns::<E>::new()
        .set("item_id", id.0)
        .set("version", version.cast_signed())
        .set("at", *at)
        .set("action", i64::from(action.number()))
        .set("status", i64::from(status.number()))
        .set("review_status", i64::from(review_status.number()))
        .set_or_null("user_id", *user_id);
    engine.execute(&format!("INSERT INTO item_event {}", columns.insertion()), &columns.values)
}

pub(crate) fn recorded<E: Engine>(engine: &mut E, id: ItemId) -> Result<Vec<Recorded>> {
    let mut values = Values::default();
    let sql = format!(
        "SELECT version, at, action, status, review_status, user_id FROM item_event WHERE item_id = {} ORDER BY version",
        values.bind::<E>(id.0)
    );
    engine.read_list(("item_event, version", 0), &sql, &values, |row| {
        Ok(Recorded {
            version: row.number(0)?.unsigned_abs(),
            at: row.time(1)?,
            action: EventAction::from_number(row.number(2)?).map_err(unreadable)?,
            status: Status::from_number(row.number(3)?).map_err(unreadable)?,
            review_status: ReviewStatus::from_number(row.number(4)?).map_err(unreadable)?,
            user_id: row.number_or_none(5)?,
        })
    })
}

/// Removes the rows of items, except where they wait and among those for review.
pub(crate) fn remove<E: Engine>(engine: &mut E, items: &[ItemId]) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let mut values = Values::default();
    let these = values.bind::<E>(Bound::Numbers(items.iter().map(|id| id.0).collect()));
    for table in E::TABLES_OF_ITEM {
        engine.execute(&format!("DELETE FROM {table} WHERE {}", E::among("item_id", &these)), &values)?;
    }
    engine.execute(&format!("DELETE FROM item WHERE {}", E::among("id", &these)), &values)
}
