//! The tables of waiting items and their order: `item_ready` and `item_deferred`.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::super::rows::NextItems;
use super::columns::{self, item_columns, item_joins, micros, waiting_columns};
use super::error::is_unreadable;
use super::{groups, prepared};
use performer_core::model::item::{QueueItem, ReferenceFilter};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::selection::{SelectionKey, is_deferred, is_eligible, rank};
use performer_core::model::status::Status;

type SqlResult<T> = rusqlite::Result<T>;

/// A DueDate as a part of a key, which cannot be NULL.
fn due_date(state: &ItemState) -> i64 {
    state.due_date.map_or(0, micros)
}

/// Inserts an item into the table in which it waits, if it is New. `touched`: it has a row in `item_state`.
pub(super) fn insert_waiting(
    connection: &Connection,
    queue: QueueId,
    id: ItemId,
    state: &ItemState,
    now: Timestamp,
    touched: bool,
) -> SqlResult<()> {
    if state.status != Status::New {
        return Ok(());
    }
    let rank = rank(state.priority, state.due_date);
    match state.defer_date.filter(|_| is_deferred(state, now)) {
        None => return insert_ready(connection, queue, (rank, due_date(state), id), touched),
        Some(defer_date) => {
            const DEFERRED: &str = "INSERT INTO item_deferred (queue_id, defer_date, item_id, rank, due_date, touched) \
                                    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let values = params![queue.0, micros(defer_date), id.0, rank, due_date(state), touched];
            prepared(connection, DEFERRED)?.execute(values)
        }
    }
    .map(drop)
}

pub(super) fn insert_ready(
    connection: &Connection,
    queue: QueueId,
    (rank, place, id): (u8, i64, ItemId),
    touched: bool,
) -> SqlResult<()> {
    const READY: &str = "INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched) \
                         VALUES (?1, ?2, ?3, ?4, ?5)";
    prepared(connection, READY)?.execute(params![queue.0, rank, place, id.0, touched]).map(drop)
}

/// Removes an item from the ready ones. Returns how many there were.
pub(super) fn remove_ready(
    connection: &Connection,
    queue: QueueId,
    (rank, place, id): (u8, i64, ItemId),
) -> SqlResult<usize> {
    const READY: &str =
        "DELETE FROM item_ready WHERE queue_id = ?1 AND rank = ?2 AND due_date = ?3 AND item_id = ?4";
    prepared(connection, READY)?.execute(params![queue.0, rank, place, id.0])
}

/// As [`remove_ready`]; returns whether the item has a row in `item_state`, if it was ready.
pub(super) fn take_ready(
    connection: &Connection,
    queue: QueueId,
    (rank, place, id): (u8, i64, ItemId),
) -> SqlResult<Option<bool>> {
    const READY: &str = "DELETE FROM item_ready WHERE queue_id = ?1 AND rank = ?2 AND due_date = ?3 AND item_id = ?4 \
                         RETURNING touched";
    let values = params![queue.0, rank, place, id.0];
    prepared(connection, READY)?.query_row(values, |row| row.get(0)).optional()
}

/// Removes an item that was New from the table in which it waited.
pub(super) fn remove_waiting(
    connection: &Connection,
    queue: QueueId,
    id: ItemId,
    state: &ItemState,
) -> SqlResult<()> {
    if state.status != Status::New {
        return Ok(());
    }
    let rank = rank(state.priority, state.due_date);
    let mut found = remove_ready(connection, queue, (rank, due_date(state), id))?;
    if let Some(defer_date) = state.defer_date.filter(|_| found == 0) {
        const DEFERRED: &str =
            "DELETE FROM item_deferred WHERE queue_id = ?1 AND defer_date = ?2 AND item_id = ?3";
        found = prepared(connection, DEFERRED)?.execute(params![queue.0, micros(defer_date), id.0])?;
    }
    if found == 0
        && let Some((rank, turn)) = groups::place_of(connection, id)?
    {
        remove_ready(connection, queue, (rank, turn, id))?;
    }
    Ok(())
}

/// The items whose DeferDate has come.
pub(super) fn due(connection: &Connection, queue: QueueId, now: Timestamp) -> SqlResult<Vec<ItemId>> {
    const DUE: &str = "SELECT item_id FROM item_deferred WHERE queue_id = ?1 AND defer_date <= ?2";
    let values = [queue.0, micros(now)];
    prepared(connection, DUE)?.query_map(values, |row| row.get(0).map(ItemId))?.collect()
}

/// Moves items whose DeferDate has come to the ready ones.
pub(super) fn promote(connection: &Connection, queue: i64, now: i64) -> SqlResult<()> {
    // Checked first: even a statement that writes nothing has a cost.
    const DUE: &str = "SELECT 1 FROM item_deferred WHERE queue_id = ?1 AND defer_date <= ?2 LIMIT 1";
    const PROMOTE: &str = "INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched) \
                           SELECT queue_id, rank, due_date, item_id, touched FROM item_deferred \
                           WHERE queue_id = ?1 AND defer_date <= ?2";
    const LEAVE: &str = "DELETE FROM item_deferred WHERE queue_id = ?1 AND defer_date <= ?2";
    if prepared(connection, DUE)?.query_row([queue, now], |_| Ok(())).optional()?.is_some() {
        prepared(connection, PROMOTE)?.execute([queue, now])?;
        prepared(connection, LEAVE)?.execute([queue, now])?;
    }
    Ok(())
}

/// Items that were found; `first`: they are the first ready items of the queue.
pub(super) struct FoundItems {
    pub(super) items: Vec<(ItemState, Box<QueueItem>)>,
    pub(super) first: bool,
    /// Waiting items whose rows cannot be read.
    pub(super) unreadable: Vec<(ItemId, rusqlite::Error)>,
}

/// Reads `item_ready` from its beginning, after the items whose DeferDate has come were moved there.
///
/// The table is sorted as the model sorts items, so `ORDER BY` sorts nothing, and the scan ends when enough items are
/// found, whatever else the queue holds. With a filter on the beginning of references the scan goes on until enough are
/// found; a whole reference is looked up in the index of references.
pub(super) fn next_items(connection: &Connection, ask: &NextItems<'_>) -> SqlResult<FoundItems> {
    macro_rules! walk {
        ($filter:literal) => {
            concat!(
                "SELECT ",
                waiting_columns!(),
                " FROM item_ready CROSS JOIN item ON item.id = item_ready.item_id WHERE item_ready.queue_id = ?1",
                $filter,
                " ORDER BY item_ready.rank, item_ready.due_date, item_ready.item_id"
            )
        };
    }
    const SAME_REFERENCE: &str = concat!(
        "SELECT ",
        item_columns!(),
        " FROM item INDEXED BY item_reference",
        item_joins!("item.id"),
        " WHERE item.queue_id = ?1 AND item.reference = ?3 AND coalesce(status, 0) = 0 \
          AND (item.defer_date IS NULL OR item.defer_date <= ?2)"
    );
    // Those that wait behind others of their group are not ready.
    const SAME_REFERENCE_IN_GROUPS: &str = concat!(
        "SELECT ",
        item_columns!(),
        " FROM item INDEXED BY item_reference LEFT JOIN item_grouped ON item_grouped.item_id = item.id",
        item_joins!("item.id"),
        " WHERE item.queue_id = ?1 AND item.reference = ?3 AND coalesce(status, 0) = 0 \
          AND (item.defer_date IS NULL OR item.defer_date <= ?2) \
          AND (item_grouped.item_id IS NULL OR item_grouped.place IS NOT NULL) ORDER BY item_grouped.place, item.id"
    );
    let (queue, now) = (ask.queue.0, micros(ask.now));
    promote(connection, queue, now)?;
    let mut unreadable = Vec::new();
    type Read = fn(&Connection, &Row<'_>) -> SqlResult<(ItemState, Box<QueueItem>)>;
    let mut collect = |sql: &str, read: Read, values: &[&dyn ToSql], count: usize| -> SqlResult<Vec<_>> {
        let mut statement = prepared(connection, sql)?;
        let mut rows = statement.query(values)?;
        let mut items = Vec::with_capacity(count.min(1_024));
        while items.len() < count
            && let Some(row) = rows.next()?
        {
            match read(connection, row) {
                Ok(item) => items.push(item),
                Err(error) if is_unreadable(&error) => unreadable.push((ItemId(row.get(0)?), error)),
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    };
    let items = match ask.reference {
        None => {
            let items = collect(walk!(""), waiting, &[&queue], ask.count)?;
            // An item that another process moved at a later time than the present one here does not count yet.
            if items.iter().all(|(state, _)| is_eligible(state, ask.now)) {
                let first = unreadable.is_empty();
                return Ok(FoundItems { items, first, unreadable });
            }
            let sql = walk!(" AND (item.defer_date IS NULL OR item.defer_date <= ?2)");
            collect(sql, waiting, &[&queue, &now], ask.count)?
        }
        Some(ReferenceFilter::StartsWith(text)) => {
            let sql = walk!(
                " AND (item.defer_date IS NULL OR item.defer_date <= ?2) AND substr(item.reference, 1, length(?3)) = ?3"
            );
            collect(sql, waiting, &[&queue, &now, text], ask.count)?
        }
        Some(ReferenceFilter::Equals(text)) => {
            let sql = if ask.groups.is_some() { SAME_REFERENCE_IN_GROUPS } else { SAME_REFERENCE };
            let mut items = collect(sql, |_, row| columns::item(row), &[&queue, &now, text], usize::MAX)?;
            if ask.groups.is_some_and(|rules| rules.fair) {
                items.sort_by_key(|(state, _)| rank(state.priority, state.due_date)); // by turn already
            } else {
                items.sort_by_key(|(state, item)| SelectionKey::new(state.priority, state.due_date, item.id));
            }
            items.truncate(ask.count);
            items
        }
    };
    Ok(FoundItems { items, first: false, unreadable })
}

/// A row of the walk. Most items have rows in no other table; the others are read as a whole.
fn waiting(connection: &Connection, row: &Row<'_>) -> SqlResult<(ItemState, Box<QueueItem>)> {
    const WHOLE: &str =
        concat!("SELECT ", item_columns!(), " FROM item", item_joins!("item.id"), " WHERE item.id = ?1");
    match columns::waiting_item(row)? {
        Some(item) => Ok(item),
        None => prepared(connection, WHOLE)?.query_row([row.get::<_, i64>(0)?], columns::item),
    }
}

/// Removes the first ready items of a queue, up to this one. `fair`: groups take turns. Returns how many there were.
pub(super) fn remove_first_waiting(
    connection: &Connection,
    queue: QueueId,
    last: ItemId,
    state: &ItemState,
    fair: bool,
) -> SqlResult<usize> {
    const SQL: &str =
        "DELETE FROM item_ready WHERE queue_id = ?1 AND (rank, due_date, item_id) <= (?2, ?3, ?4)";
    let place = if fair { groups::place_of(connection, last)? } else { None };
    let (rank, place) = place.unwrap_or((rank(state.priority, state.due_date), due_date(state)));
    prepared(connection, SQL)?.execute(params![queue.0, rank, place, last.0])
}

/// New ready items with consecutive ids that differ in their order only by their ids. They are inserted together,
/// before anybody reads the table.
pub(super) struct PendingReady {
    queue: QueueId,
    rank: u8,
    due_date: i64,
    first: ItemId,
    last: ItemId,
}

impl PendingReady {
    pub(super) fn new(queue: QueueId, id: ItemId, state: &ItemState) -> Self {
        let rank = rank(state.priority, state.due_date);
        Self { queue, rank, due_date: due_date(state), first: id, last: id }
    }

    /// Appends an item if it continues these. Returns whether it did.
    pub(super) fn extend(&mut self, next: &Self) -> bool {
        let goes_on = next.first.0 == self.last.0 + 1
            && (next.queue, next.rank, next.due_date) == (self.queue, self.rank, self.due_date);
        if goes_on {
            self.last = next.last;
        }
        goes_on
    }

    pub(super) fn insert(&self, connection: &Connection) -> SqlResult<()> {
        const SQL: &str = "INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched) \
                           SELECT ?1, ?2, ?3, id, 0 FROM item WHERE id BETWEEN ?4 AND ?5 ORDER BY id";
        let values = params![self.queue.0, self.rank, self.due_date, self.first.0, self.last.0];
        prepared(connection, SQL)?.execute(values).map(drop)
    }
}
