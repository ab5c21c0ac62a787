//! One item: its row, its public form, and its events.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::super::rows::ItemRow;
use super::super::unreadable_rows::is_unreadable;
use super::columns::{self, actor_columns, get, item_columns, numbered, signed, state_columns, state_joins};
use super::session::{BoundQuery, Values};
use super::{Postgres, ready_items};
use performer_core::model::exception::{ExceptionType, ProcessingException};
use performer_core::model::item::QueueItem;
use performer_core::model::key::{ItemId, JobKey};
use performer_core::model::status::Status;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// How often a row is read again because somebody changed it before it was locked.
const MAX_READS: u32 = 1_000;

/// After how many reads of one version an item that is New but waits nowhere is accepted as such.
const READS_WITHOUT_PLACE: u32 = 3;

/// The columns of an exception, in the order in which [`exception`] reads them.
macro_rules! exception_columns {
    () => {
        "exception_type, reason, details, image_path, creation_time"
    };
}

fn exception(row: &Row) -> Result<ProcessingException> {
    let kind = numbered!(row, 0, ExceptionType)?;
    let record = ProcessingException::new(kind, get::<String>(row, 1)?, get(row, 4)?);
    Ok(record.details(get(row, 2)?).image(get(row, 3)?))
}

/// Reads rows as [`read_row`] does; what their ids are follows.
macro_rules! rows_where_id {
    ($is:literal) => {
        concat!(
            "SELECT ",
            state_columns!(),
            actor_columns!(),
            // Without a look into another table where it cannot be there.
            ", CASE WHEN coalesce(item_state.status, 0) = 0 THEN EXISTS (SELECT 1 FROM item_grouped \
             WHERE item_grouped.item_id = item.id) ELSE false END FROM item",
            state_joins!(),
            " WHERE item.id ",
            $is
        )
    };
}

/// The part of an item's row that the rules need, and whether the item has a row in `item_grouped`.
fn read_row(row: &Row) -> Result<(ItemId, ItemRow, bool)> {
    let (id, queue, state) = columns::state(row)?;
    Ok((id, ItemRow { queue, state, actors: columns::actors(row)? }, get(row, row.len() - 1)?))
}

impl Postgres {
    /// The part of an item's row that the rules need. A transaction that writes locks it.
    pub(super) fn find_row(&mut self, id: ItemId) -> Result<Option<ItemRow>> {
        const SQL: &str = rows_where_id!("= $1");
        const LOCK: &str = "SELECT row_version FROM item_state WHERE item_id = $1 FOR UPDATE";
        let mut without_place = (0, 0);
        for _ in 0..MAX_READS {
            let Some(row) = self.session.query_opt(SQL, &[&id.0])? else { return Ok(None) };
            let (_, found, grouped) = read_row(&row)?;
            let ItemRow { queue, state, .. } = found;
            let still_so = if !self.writes {
                true
            } else if grouped && self.lock_groups_of(queue)? {
                continue; // whoever had the lock may have moved it
            } else if state.status == Status::New {
                ready_items::lock(&mut self.session, queue, id, &state, grouped)?
            } else {
                let version = self.session.query_opt(LOCK, &[&id.0])?;
                version.map(|row| get::<i64>(&row, 0)).transpose()? == Some(signed(state.row_version))
            };
            if still_so {
                return Ok(Some(found));
            }
            if state.status == Status::New {
                let (version, reads) = without_place;
                let reads = if version == state.row_version { reads + 1 } else { 1 };
                without_place = (state.row_version, reads);
                // Nobody changes it: it waits nowhere, because its queue was deleted, or its row could not be read
                // once.
                if reads == READS_WITHOUT_PLACE {
                    return Ok(Some(found));
                }
            }
        }
        let message = format!("item {id} is changed by others all the time");
        Err(OrchestratorError::new(ErrorKind::Unavailable, message))
    }

    /// Rows that a transaction will change, read and locked in two round trips. Left out are those that somebody has changed before they
    /// were locked, those that cannot be read, and those of items that wait in groups, whose queue has to be locked first.
    pub(super) fn find_rows_to_change(&mut self, ids: &[ItemId]) -> Result<HashMap<ItemId, ItemRow>> {
        const SQL: &str = rows_where_id!("= ANY ($1)");
        const STATES: &str = "SELECT item_id, row_version FROM item_state WHERE item_id = ANY ($1) ORDER BY item_id FOR UPDATE";
        if ids.len() < 2 {
            return Ok(HashMap::new());
        }
        let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let mut found = HashMap::with_capacity(ids.len());
        for row in self.session.query(SQL, &[&numbers])? {
            match read_row(&row) {
                Ok((id, row, false)) => drop(found.insert(id, row)),
                Ok((.., true)) => {}
                Err(error) if is_unreadable(&error) => {} // reported when its turn comes
                Err(error) => return Err(error),
            }
        }
        let (mut new, others): (Vec<_>, Vec<_>) =
            found.iter().partition(|(_, row)| row.state.status == Status::New);
        let others: Vec<i64> = others.iter().map(|(id, _)| id.0).collect();
        let mut queries = ready_items::locks(&mut new);
        queries.push(BoundQuery { sql: STATES.into(), values: vec![Box::new(others)] });
        let mut answers = self.session.ask(&queries)?;
        let states = answers.pop().unwrap_or_default();
        let mut locked: HashMap<ItemId, Option<i64>> = HashMap::with_capacity(found.len());
        for row in answers.iter().flatten() {
            locked.insert(ItemId(get(row, 0)?), None);
        }
        for row in &states {
            locked.insert(ItemId(get(row, 0)?), Some(get(row, 1)?));
        }
        found.retain(|id, row| match locked.get(id) {
            Some(version) => version.is_none_or(|version| version == signed(row.state.row_version)),
            None => false,
        });
        // Perhaps each of them gets a copy.
        let copies = i64::try_from(found.len()).unwrap_or(i64::MAX);
        self.next_ids = self.next_ids.max(copies).min(self.max_ids);
        Ok(found)
    }

    pub(super) fn find_item(&mut self, id: ItemId) -> Result<Option<QueueItem>> {
        self.read_items(&[id])?.pop().map(|(_, item)| item).transpose()
    }

    /// The items of a page, in the order of their ids in `ids`. Items whose rows cannot be read are reported and left out.
    pub(super) fn find_items(&mut self, ids: &[ItemId]) -> Result<Vec<QueueItem>> {
        let mut found: HashMap<ItemId, QueueItem> = HashMap::with_capacity(ids.len());
        for (id, read) in self.read_items(ids)? {
            match read {
                Ok(item) => drop(found.insert(id, item)),
                Err(error) if is_unreadable(&error) => self.session.skipped_rows.report(id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// Reads items in one round trip: a page of a hundred took two hundred, and most of its time.
    fn read_items(&mut self, ids: &[ItemId]) -> Result<Vec<(ItemId, Result<QueueItem>)>> {
        const ITEMS: &str = concat!(
            "SELECT ",
            item_columns!(),
            " FROM item",
            state_joins!(),
            " WHERE item.id = ANY ($1) AND EXISTS (SELECT 1 FROM queue WHERE queue.id = item.queue_id AND NOT queue.deleted)"
        );
        const EXCEPTIONS: &str = concat!(
            "SELECT ",
            exception_columns!(),
            ", item_id FROM item_exception WHERE item_id = ANY ($1)"
        );
        const HOLDERS: &str = "SELECT item_state.item_id, job.key FROM item_state JOIN job ON job.number = item_state.holder \
                               WHERE item_state.item_id = ANY ($1)";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let values: Values<'_> = &[&numbers];
        let answers = self.session.pipelined(&[(ITEMS, values), (EXCEPTIONS, values), (HOLDERS, values)])?;
        let [items, exceptions, holders] = &answers[..] else { unreachable!("an answer to each query") };
        let mut exceptions_of: HashMap<i64, &Row> = HashMap::with_capacity(exceptions.len());
        for row in exceptions {
            exceptions_of.insert(get(row, 5)?, row);
        }
        let mut holders_of: HashMap<i64, JobKey> = HashMap::with_capacity(holders.len());
        for row in holders {
            holders_of.insert(get(row, 0)?, JobKey::from_bytes(columns::bytes(get(row, 1)?)));
        }
        let read = |row: &Row| {
            let id: i64 = get(row, 0)?;
            let item = columns::item(row).and_then(|(state, mut item)| {
                if state.outcome.is_some() {
                    item.processing_exception =
                        exceptions_of.get(&id).map(|row| exception(row)).transpose()?;
                }
                if state.holder.is_some_and(|holder| holder.job != JobKey::CALLER.number()) {
                    item.executor_job = holders_of.get(&id).copied();
                }
                Ok(*item)
            });
            Ok((ItemId(id), item))
        };
        items.iter().map(read).collect()
    }
}
