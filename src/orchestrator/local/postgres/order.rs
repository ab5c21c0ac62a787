//! What waits, and in which order: the tables `item_ready` and `item_deferred`.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::super::Result;
use super::super::rows::NextItems;
use super::columns::{self, RowPlace, date, get, item_columns, new_item_columns, state_joins};
use super::session::{Session, Values};
use crate::model::item::{Priority, QueueItem, ReferenceFilter};
use crate::model::key::{ItemId, QueueId};
use crate::model::lifecycle::ItemState;
use crate::model::selection::{SelectionKey, is_deferred, rank};
use crate::model::status::Status;

/// A DueDate as a part of a key, which cannot be NULL.
pub(super) fn due_date(state: &ItemState) -> i64 {
    state.due_date.map_or(0, |due| date(due).as_microsecond())
}

pub(super) fn rank_of(state: &ItemState) -> i16 {
    rank(state.priority, state.due_date).into()
}

/// An item begins to wait, if it is one that does. `touched`: it has a row in `item_state`.
pub(super) fn place(
    session: &mut Session,
    queue: QueueId,
    id: ItemId,
    state: &ItemState,
    now: Timestamp,
    touched: bool,
) -> Result<()> {
    if state.status != Status::New {
        return Ok(());
    }
    match state.defer_date.filter(|_| is_deferred(state, now)) {
        None => {
            const READY: &str = "INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched) \
                                 VALUES ($1, $2, $3, $4, $5)";
            session.later(READY, &[&queue.0, &rank_of(state), &due_date(state), &id.0, &touched])
        }
        Some(defer_date) => {
            const DEFERRED: &str = "INSERT INTO item_deferred (queue_id, defer_date, item_id, rank, due_date, touched) \
                                    VALUES ($1, $2, $3, $4, $5, $6)";
            session.later(
                DEFERRED,
                &[&queue.0, &date(defer_date), &id.0, &rank_of(state), &due_date(state), &touched],
            )
        }
    }
}

/// An item waits no longer, or not there.
pub(super) fn displace(session: &mut Session, queue: QueueId, id: ItemId, state: &ItemState) -> Result<()> {
    if state.status != Status::New {
        return Ok(());
    }
    const READY: &str =
        "DELETE FROM item_ready WHERE queue_id = $1 AND rank = $2 AND due_date = $3 AND item_id = $4";
    let found = session.execute(READY, &[&queue.0, &rank_of(state), &due_date(state), &id.0])?;
    if let Some(defer_date) = state.defer_date.filter(|_| found == 0) {
        const DEFERRED: &str =
            "DELETE FROM item_deferred WHERE queue_id = $1 AND defer_date = $2 AND item_id = $3";
        session.execute(DEFERRED, &[&queue.0, &date(defer_date), &id.0])?;
    }
    Ok(())
}

/// Where an item stood when it was offered: its row in `item_ready`, which is locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) id: ItemId,
    pub(super) row: RowPlace,
    /// Whether it has a row in `item_state`.
    pub(super) touched: bool,
}

/// Items that may be handed out, and where they stand.
pub(super) type Items = (Vec<(ItemState, Box<QueueItem>)>, Vec<Place>);

/// What will be asked for: the first items of a queue, whatever their references.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) queue: i64,
    pub(super) count: i64,
}

/// The answer to it, before it is asked for. It holds for as long as nothing else begins or ends to wait.
pub(super) struct Offered {
    pub(super) ask: Ask,
    pub(super) items: Items,
}

impl Ask {
    pub(super) fn of(ask: &NextItems<'_>) -> Self {
        Self { queue: ask.queue.0, count: i64::try_from(ask.count).unwrap_or(i64::MAX) }
    }
}

impl Offered {
    pub(super) fn is_answer_to(&self, ask: &NextItems<'_>) -> bool {
        let other = Ask::of(ask);
        let has_all = self.items.1.len() < usize::try_from(self.ask.count).unwrap_or(usize::MAX);
        let has_enough = other.count == self.ask.count || has_all;
        ask.reference.is_none() && other.queue == self.ask.queue && has_enough
    }
}

/// Locks the row by which an item that is New waits. False: it waits there no longer. Of one that somebody else has
/// locked this is known when they are done.
pub(super) fn lock(session: &mut Session, queue: QueueId, id: ItemId, state: &ItemState) -> Result<bool> {
    const READY: &str = "SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank = $2 AND due_date = $3 \
                         AND item_id = $4 FOR UPDATE";
    const DEFERRED: &str = "SELECT 1 FROM item_deferred WHERE queue_id = $1 AND defer_date = $2 AND item_id = $3 \
                            FOR UPDATE";
    if session.query_opt(READY, &[&queue.0, &rank_of(state), &due_date(state), &id.0])?.is_some() {
        return Ok(true);
    }
    match state.defer_date {
        Some(defer_date) => Ok(session.query_opt(DEFERRED, &[&queue.0, &date(defer_date), &id.0])?.is_some()),
        None => Ok(false),
    }
}

/// Items whose DeferDate has come join those that are ready; those that somebody is changing do so later.
macro_rules! promote {
    ([$($queue:tt)+], $now:literal) => {
        concat!(
            "WITH due AS (DELETE FROM item_deferred WHERE (queue_id, defer_date, item_id) IN \
             (SELECT queue_id, defer_date, item_id FROM item_deferred WHERE queue_id = ",
            $($queue)+,
            " AND defer_date <= ",
            $now,
            " ORDER BY defer_date, item_id LIMIT 10000 FOR UPDATE SKIP LOCKED) \
             RETURNING queue_id, rank, due_date, item_id, touched) \
             INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched) \
             SELECT queue_id, rank, due_date, item_id, touched FROM due"
        )
    };
}

pub(super) const PROMOTE: &str = promote!(["$1"], "$2");

/// What is read of the items that a walk has locked.
macro_rules! of_next {
    () => {
        concat!(
            new_item_columns!(),
            ", next.place, next.touched, item.root_id IS NOT NULL FROM next JOIN item ON item.id = next.item_id \
             ORDER BY next.rank, next.due_date, next.item_id"
        )
    };
}

/// One walk along `item_ready`, from its beginning. The index is sorted as the model sorts items, so nothing is sorted
/// and the walk ends when enough is locked, whatever else the queue holds. What another transaction is taking is passed
/// over. The walk and the locks come first; only what was locked is looked up. Nothing ever happened to most of what waits,
/// and nothing is read of that: of the others, all is read afterwards.
macro_rules! next {
    ([$($queue:tt)+], $count:literal) => {
        concat!(
            "WITH next AS MATERIALIZED (SELECT ctid AS place, rank, due_date, item_id, touched FROM item_ready \
             WHERE queue_id = ",
            $($queue)+,
            " ORDER BY rank, due_date, item_id LIMIT ",
            $count,
            " FOR UPDATE SKIP LOCKED) SELECT ",
            of_next!()
        )
    };
}

pub(super) const NEXT: &str = next!(["$1"], "$2");

/// The same before it is known which queue has this name. One with limits is left alone.
macro_rules! named {
    () => {
        "(SELECT queue.id FROM queue_folder JOIN queue ON queue.id = queue_folder.queue_id \
         WHERE queue_folder.folder_id = $1 AND queue_folder.folded_name = $2 AND queue.limits IS NULL \
         AND NOT queue.deleted)"
    };
}

/// Whether there is anything in it.
pub(super) const SOME_OF_NAMED: &str =
    concat!("EXISTS (SELECT 1 FROM item_ready WHERE queue_id = ", named!(), ")");

pub(super) const PROMOTE_OF_NAMED: &str = promote!([named!()], "coalesce($3, transaction_timestamp())");
pub(super) const NEXT_OF_NAMED: &str = next!([named!()], "$3");

/// The same for references that begin like this: the walk goes on until it has found enough.
const STARTS_WITH: &str = concat!(
    "WITH next AS MATERIALIZED (SELECT item_ready.ctid AS place, item_ready.rank, item_ready.due_date, \
     item_ready.item_id, item_ready.touched FROM item_ready JOIN item ON item.id = item_ready.item_id \
     WHERE item_ready.queue_id = $1 AND starts_with(item.reference, $3) \
     ORDER BY item_ready.rank, item_ready.due_date, item_ready.item_id LIMIT $2 \
     FOR UPDATE OF item_ready SKIP LOCKED) SELECT ",
    of_next!()
);

/// Items that may be handed out, in the order of the model; they are locked. And where they stand.
pub(super) fn next_items(session: &mut Session, ask: &NextItems<'_>) -> Result<Items> {
    let Ask { queue, count } = Ask::of(ask);
    if let Some(ReferenceFilter::StartsWith(text) | ReferenceFilter::Equals(text)) = ask.reference
        && text.contains('\0')
    {
        return Ok((Vec::new(), Vec::new())); // no reference has it, and PostgreSQL does not take it
    }
    let promote: (&str, Values<'_>) = (PROMOTE, &[&queue, &ask.now]);
    let answers = match ask.reference {
        None => session.together(&[promote, (NEXT, &[&queue, &count])])?,
        Some(ReferenceFilter::StartsWith(text)) => {
            session.together(&[promote, (STARTS_WITH, &[&queue, &count, text])])?
        }
        Some(ReferenceFilter::Equals(text)) => {
            session.later(promote.0, promote.1)?;
            return with_reference(session, ask, text);
        }
    };
    offered(session, answers.last().map_or(&[], Vec::as_slice))
}

/// What a walk has found.
pub(super) fn offered(session: &mut Session, rows: &[Row]) -> Result<Items> {
    const WHOLE: &str =
        concat!("SELECT ", item_columns!(), " FROM item", state_joins!(), " WHERE item.id = ANY ($1)");
    let (mut items, mut places) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    let mut known = HashMap::new();
    for row in rows {
        let (touched, is_copy): (bool, bool) = (get(row, row.len() - 2)?, get(row, row.len() - 1)?);
        let (state, item) = columns::new_item(row)?;
        if touched || is_copy {
            known.insert(item.id, items.len());
        }
        places.push(Place { id: item.id, row: get(row, row.len() - 3)?, touched });
        items.push((state, item));
    }
    if !known.is_empty() {
        let ids: Vec<i64> = known.keys().map(|id| id.0).collect();
        for row in session.query(WHOLE, &[&ids])? {
            let whole = columns::item(&row)?;
            if let Some(at) = known.get(&whole.1.id) {
                items[*at] = whole;
            }
        }
    }
    Ok((items, places))
}

/// A whole reference is looked up among the references; then the few that there are are locked, in their order.
fn with_reference(session: &mut Session, ask: &NextItems<'_>, reference: &str) -> Result<Items> {
    const CANDIDATES: &str = "SELECT item.id, item.priority, item.due_date FROM item LEFT JOIN item_state \
         ON item_state.item_id = item.id WHERE item.queue_id = $1 AND item.reference = $2 \
         AND (item_state.item_id IS NULL OR item_state.status = 0)";
    const PLACE: &str = "SELECT ctid, touched FROM item_ready WHERE queue_id = $1 AND rank = $2 AND due_date = $3 \
                         AND item_id = $4 FOR UPDATE SKIP LOCKED";
    const LOCKED: &str = concat!(
        "SELECT ",
        item_columns!(),
        " FROM item",
        state_joins!(),
        " WHERE item.id = $1 AND (item_state.item_id IS NULL OR item_state.status = 0)"
    );
    let mut candidates = Vec::new();
    for row in session.query(CANDIDATES, &[&ask.queue.0, &reference])? {
        let (priority, due) = (columns::numbered!(&row, 1, Priority)?, get(&row, 2)?);
        candidates.push((SelectionKey::new(priority, due, ItemId(get(&row, 0)?)), priority, due));
    }
    candidates.sort_by_key(|(key, ..)| *key);
    let (mut found, mut places) = (Vec::new(), Vec::new());
    for (key, priority, due) in candidates {
        if found.len() == ask.count {
            break;
        }
        let state = ItemState { due_date: due, ..ItemState::untouched(priority, ask.now) };
        let values: Values<'_> = &[&ask.queue.0, &rank_of(&state), &due_date(&state), &key.id().0];
        // Read when it is locked: until then it may have been changed.
        if let Some(place) = session.query_opt(PLACE, values)?
            && let Some(row) = session.query_opt(LOCKED, &[&key.id().0])?
        {
            places.push(Place { id: key.id(), row: get(&place, 0)?, touched: get(&place, 1)? });
            found.push(columns::item(&row)?);
        }
    }
    Ok((found, places))
}
