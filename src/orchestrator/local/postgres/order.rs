//! What waits, and in which order: the tables `item_ready` and `item_deferred`.

use jiff::Timestamp;

use super::super::super::Result;
use super::super::rows::NextItems;
use super::columns::{self, date, get, item_columns, state_joins};
use super::session::Session;
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
            session.execute(READY, &[&queue.0, &rank_of(state), &due_date(state), &id.0, &touched])
        }
        Some(defer_date) => {
            const DEFERRED: &str = "INSERT INTO item_deferred (queue_id, defer_date, item_id, rank, due_date, touched) \
                                    VALUES ($1, $2, $3, $4, $5, $6)";
            session.execute(
                DEFERRED,
                &[&queue.0, &date(defer_date), &id.0, &rank_of(state), &due_date(state), &touched],
            )
        }
    }
    .map(drop)
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

/// Locks the row by which an item that is New waits. False: it waits there no longer. Of one that somebody else has
/// locked this is known when they are done; `pass`: it is passed over.
pub(super) fn lock(
    session: &mut Session,
    queue: QueueId,
    id: ItemId,
    state: &ItemState,
    pass: bool,
) -> Result<bool> {
    const READY: &str = "SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank = $2 AND due_date = $3 \
                         AND item_id = $4 FOR UPDATE";
    const READY_OR_PASS: &str = "SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank = $2 AND due_date = $3 \
                                 AND item_id = $4 FOR UPDATE SKIP LOCKED";
    const DEFERRED: &str = "SELECT 1 FROM item_deferred WHERE queue_id = $1 AND defer_date = $2 AND item_id = $3 \
                            FOR UPDATE";
    let ready = if pass { READY_OR_PASS } else { READY };
    if session.query_opt(ready, &[&queue.0, &rank_of(state), &due_date(state), &id.0])?.is_some() {
        return Ok(true);
    }
    match state.defer_date.filter(|_| !pass) {
        Some(defer_date) => Ok(session.query_opt(DEFERRED, &[&queue.0, &date(defer_date), &id.0])?.is_some()),
        None => Ok(false),
    }
}

/// Items whose DeferDate has come join those that are ready; those that somebody is changing do so later.
const PROMOTE: &str = "WITH due AS (DELETE FROM item_deferred WHERE (queue_id, defer_date, item_id) IN \
     (SELECT queue_id, defer_date, item_id FROM item_deferred WHERE queue_id = $1 AND defer_date <= $2 \
     ORDER BY defer_date, item_id LIMIT 10000 FOR UPDATE SKIP LOCKED) \
     RETURNING queue_id, rank, due_date, item_id, touched) \
     INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched) \
     SELECT queue_id, rank, due_date, item_id, touched FROM due";

/// One walk along `item_ready`, from its beginning. The index is sorted as the model sorts items, so nothing is sorted
/// and the walk ends when enough is locked, whatever else the queue holds. What another transaction is taking is passed
/// over. The walk and the locks come first; only what was locked is looked up in the other tables.
const NEXT: &str = concat!(
    "WITH next AS MATERIALIZED (SELECT rank, due_date, item_id, touched FROM item_ready WHERE queue_id = $1 \
     ORDER BY rank, due_date, item_id LIMIT $2 FOR UPDATE SKIP LOCKED) SELECT ",
    item_columns!(),
    " FROM next JOIN item ON item.id = next.item_id \
     LEFT JOIN item_state ON next.touched AND item_state.item_id = item.id \
     LEFT JOIN item_copy ON item_copy.item_id = item.id AND item.root_id IS NOT NULL \
     ORDER BY next.rank, next.due_date, next.item_id"
);

/// The same for references that begin like this: the walk goes on until it has found enough.
const STARTS_WITH: &str = concat!(
    "WITH next AS MATERIALIZED (SELECT item_ready.rank, item_ready.due_date, item_ready.item_id, item_ready.touched \
     FROM item_ready JOIN item ON item.id = item_ready.item_id WHERE item_ready.queue_id = $1 \
     AND starts_with(item.reference, $3) ORDER BY item_ready.rank, item_ready.due_date, item_ready.item_id LIMIT $2 \
     FOR UPDATE OF item_ready SKIP LOCKED) SELECT ",
    item_columns!(),
    " FROM next JOIN item ON item.id = next.item_id \
     LEFT JOIN item_state ON next.touched AND item_state.item_id = item.id \
     LEFT JOIN item_copy ON item_copy.item_id = item.id AND item.root_id IS NOT NULL \
     ORDER BY next.rank, next.due_date, next.item_id"
);

/// Items that may be handed out, in the order of the model; they are locked.
pub(super) fn next_items(
    session: &mut Session,
    ask: &NextItems<'_>,
) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
    let (queue, count) = (ask.queue.0, i64::try_from(ask.count).unwrap_or(i64::MAX));
    if let Some(ReferenceFilter::StartsWith(text) | ReferenceFilter::Equals(text)) = ask.reference
        && text.contains('\0')
    {
        return Ok(Vec::new()); // no reference has it, and PostgreSQL does not take it
    }
    let rows = match ask.reference {
        None => session.execute_and_query((PROMOTE, &[&queue, &ask.now]), (NEXT, &[&queue, &count]))?,
        Some(ReferenceFilter::StartsWith(text)) => session
            .execute_and_query((PROMOTE, &[&queue, &ask.now]), (STARTS_WITH, &[&queue, &count, text]))?,
        Some(ReferenceFilter::Equals(text)) => {
            session.execute(PROMOTE, &[&queue, &ask.now])?;
            return with_reference(session, ask, text);
        }
    };
    rows.iter().map(columns::item).collect()
}

/// A whole reference is looked up among the references; then the few that there are are locked, in their order.
fn with_reference(
    session: &mut Session,
    ask: &NextItems<'_>,
    reference: &str,
) -> Result<Vec<(ItemState, Box<QueueItem>)>> {
    const CANDIDATES: &str = "SELECT item.id, item.priority, item.due_date FROM item LEFT JOIN item_state \
         ON item_state.item_id = item.id WHERE item.queue_id = $1 AND item.reference = $2 \
         AND (item_state.item_id IS NULL OR item_state.status = 0)";
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
    let mut found = Vec::new();
    for (key, priority, due) in candidates {
        if found.len() == ask.count {
            break;
        }
        let place = ItemState { due_date: due, ..ItemState::untouched(priority, ask.now) };
        // Read when it is locked: until then it may have been changed.
        if lock(session, ask.queue, key.id(), &place, true)?
            && let Some(row) = session.query_opt(LOCKED, &[&key.id().0])?
        {
            found.push(columns::item(&row)?);
        }
    }
    Ok(found)
}
