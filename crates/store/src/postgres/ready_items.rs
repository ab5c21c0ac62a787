//! The tables of waiting items and their order: `item_ready` and `item_deferred`.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::rows::{ItemRow, NextItems};
use super::super::unreadable_rows::is_unreadable;
use super::columns::{self, RowLocation, get, item_columns, new_item_columns, state_joins};
use super::session::{BoundQuery, OwnedValue, Session, Values};
use performer_core::model::groups::GroupRules;
use performer_core::model::item::{Priority, QueueItem, ReferenceFilter};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::selection::{SelectionKey, is_deferred, rank};
use performer_core::model::status::Status;
use performer_core::orchestrator::{OrchestratorError, Result};

/// A DueDate as a part of a key, which cannot be NULL.
pub(super) fn due_date(state: &ItemState) -> i64 {
    state.due_date.map_or(0, |due| due.as_microsecond())
}

pub(super) fn rank_of(state: &ItemState) -> i16 {
    rank(state.priority, state.due_date).into()
}

/// How an item comes to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// New, with an id that was drawn in this transaction.
    New,
    /// New, with a row in `item_state`.
    NewWithState,
    /// Again: it was given back, or edited. The transaction has announced that it draws numbers.
    Again(EntryNumbers),
}

/// The entry numbers of items that are not new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryNumbers {
    /// Each gets one, drawn like the id of a new item.
    Drawn,
    /// The last one that was drawn, if ids must have no gaps.
    Last,
}

/// Ids that differ only in this many low bits share a mark.
pub(super) const MARK_SHIFT: u32 = 8;

/// Takes the mark of a transaction that draws numbers (`claim_cursor/mod.rs`): to be selected from `item_id`.
macro_rules! mark {
    ($name:literal) => {
        concat!(
            "pg_advisory_xact_lock_shared(hashtext(",
            $name,
            "), ((last_value >> 8) & 2147483647)::integer)"
        )
    };
}
pub(super) use mark;

/// An entry number; a value says whether it is drawn. (The last one is not below any number that another transaction
/// has seen as the last.)
macro_rules! number {
    ($is_drawn:literal) => {
        concat!("CASE WHEN ", $is_drawn, " THEN nextval('item_id') ELSE (SELECT last_value FROM item_id) END")
    };
}
pub(super) use number;

impl EntryNumbers {
    fn are_drawn(self) -> bool {
        self == Self::Drawn
    }
}

/// Inserts an item into the table in which it waits, if it is New.
pub(super) fn insert_waiting(
    session: &mut Session,
    queue: QueueId,
    id: ItemId,
    state: &ItemState,
    now: Timestamp,
    entry: EntryKind,
) -> Result<()> {
    const NEW_IS_READY: &str = "INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched, entered) \
                                VALUES ($1, $2, $3, $4, $5, CASE WHEN $2::smallint < 3 THEN $4::bigint END)";
    const READY_AGAIN: &str = concat!(
        "INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched, entered) VALUES ($1, $2, $3, $4, true, ",
        number!("$5"),
        ")"
    );
    const NEW_IS_DEFERRED: &str = "INSERT INTO item_deferred (queue_id, defer_date, item_id, rank, due_date, touched, \
                                   entered) VALUES ($1, $2, $3, $4, $5, $6, $3)";
    const DEFERRED_AGAIN: &str = concat!(
        "INSERT INTO item_deferred (queue_id, defer_date, item_id, rank, due_date, touched, entered) \
         VALUES ($1, $2, $3, $4, $5, true, ",
        number!("$6"),
        ")"
    );
    if state.status != Status::New {
        return Ok(());
    }
    let (rank, due_date, touched) = (rank_of(state), due_date(state), entry != EntryKind::New);
    match (state.defer_date.filter(|_| is_deferred(state, now)), entry) {
        (None, EntryKind::New | EntryKind::NewWithState) => {
            session.enqueue(NEW_IS_READY, &[&queue.0, &rank, &due_date, &id.0, &touched])
        }
        (None, EntryKind::Again(numbers)) => {
            session.enqueue(READY_AGAIN, &[&queue.0, &rank, &due_date, &id.0, &numbers.are_drawn()])
        }
        (Some(until), EntryKind::New | EntryKind::NewWithState) => {
            session.enqueue(NEW_IS_DEFERRED, &[&queue.0, &until, &id.0, &rank, &due_date, &touched])
        }
        (Some(until), EntryKind::Again(numbers)) => session
            .enqueue(DEFERRED_AGAIN, &[&queue.0, &until, &id.0, &rank, &due_date, &numbers.are_drawn()]),
    }
}

/// Removes items that stand where the turn of their group is; those that wait behind others are nowhere else. Their rows there follow
/// when the groups are settled.
pub(super) const LEAVE_TURNS: &str = "DELETE FROM item_ready WHERE ctid = ANY (ARRAY(SELECT turn.ctid FROM item_grouped AS grouped \
     CROSS JOIN LATERAL (SELECT ctid FROM item_ready WHERE queue_id = grouped.queue_id AND rank = grouped.rank \
     AND due_date = grouped.place AND item_id = grouped.item_id OFFSET 0) AS turn WHERE grouped.item_id = ANY ($1)))";

/// Removes an item that was New from the table in which it waited.
pub(super) fn remove_waiting(
    session: &mut Session,
    queue: QueueId,
    id: ItemId,
    state: &ItemState,
) -> Result<()> {
    if state.status != Status::New {
        return Ok(());
    }
    const READY: &str =
        "DELETE FROM item_ready WHERE queue_id = $1 AND rank = $2 AND due_date = $3 AND item_id = $4";
    let mut found = session.execute(READY, &[&queue.0, &rank_of(state), &due_date(state), &id.0])?;
    if let Some(defer_date) = state.defer_date.filter(|_| found == 0) {
        const DEFERRED: &str =
            "DELETE FROM item_deferred WHERE queue_id = $1 AND defer_date = $2 AND item_id = $3";
        found = session.execute(DEFERRED, &[&queue.0, &defer_date, &id.0])?;
    }
    if found == 0 {
        session.enqueue(LEAVE_TURNS, &[&&[id.0][..]])?;
    }
    Ok(())
}

/// A row of `item_ready` that was found and locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockedRow {
    pub(super) id: ItemId,
    pub(super) row: RowLocation,
    /// Whether it has a row in `item_state`.
    pub(super) touched: bool,
}

/// Items that may be claimed, and their locked rows.
pub(super) type Items = (Vec<(ItemState, Box<QueueItem>)>, Vec<LockedRow>);

/// A claim: the first items of a queue, whatever their references.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClaimQuery {
    pub(super) queue: i64,
    pub(super) count: i64,
    /// The rules of the queue about groups: the transaction has the lock of the queue.
    pub(super) groups: Option<GroupRules>,
}

/// The order in which a search has found items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemOrder {
    /// Nearly always that of their keys, in which they are returned.
    Keys,
    /// That of the turns of their groups, which stays.
    Turns,
}

/// Items that were found before they are asked for. Valid until one of them ends to wait, or one before them begins to.
pub(super) struct PrefetchedItems {
    pub(super) ask: ClaimQuery,
    /// The queue has limits: nobody else claims from it until the transaction ends, and the rest of the items may stay.
    pub(super) limited: bool,
    pub(super) items: Items,
}

impl ClaimQuery {
    pub(super) fn of(ask: &NextItems<'_>) -> Self {
        Self { queue: ask.queue.0, count: i64::try_from(ask.count).unwrap_or(i64::MAX), groups: ask.groups }
    }

    /// Whether the groups of the queue take turns.
    pub(super) fn take_turns(&self) -> bool {
        self.groups.is_some_and(|rules| rules.fair)
    }

    fn order(&self) -> ItemOrder {
        if self.take_turns() { ItemOrder::Turns } else { ItemOrder::Keys }
    }
}

impl PrefetchedItems {
    pub(super) fn is_answer_to(&self, ask: &NextItems<'_>) -> bool {
        let other = ClaimQuery::of(ask);
        let has_all = self.items.1.len() < usize::try_from(self.ask.count).unwrap_or(usize::MAX);
        let has_more = self.limited && other.count < self.ask.count;
        let has_enough = other.count == self.ask.count || has_all || has_more;
        ask.reference.is_none() && other.queue == self.ask.queue && has_enough
    }

    /// How much work may join a transaction that claims `wanted` items so far, without another search. A robot's call is a
    /// report and a claim.
    pub(super) fn room(&self, wanted: usize) -> usize {
        let asked = usize::try_from(self.ask.count).unwrap_or(usize::MAX);
        let are_all = self.items.0.len() < asked;
        if are_all { usize::MAX } else { asked.saturating_sub(wanted).saturating_mul(2) }
    }

    /// Whether they are all that was asked for, and an item with this key comes after them.
    pub(super) fn are_before(&self, other: SelectionKey) -> bool {
        let (items, _) = &self.items;
        let has_enough = items.len() >= usize::try_from(self.ask.count).unwrap_or(usize::MAX);
        has_enough && items.last().is_some_and(|last| key(last) < other)
    }

    /// The first `count` of them.
    pub(super) fn up_to(self, count: usize) -> Items {
        let (mut items, places) = self.items;
        items.truncate(count);
        (items, places)
    }
}

/// Locks the row of a waiting item. False: it does not wait there any more, which is known only after the present
/// holder of the lock is done. `grouped`: it has a row in `item_grouped`, and the transaction the lock of its queue.
pub(super) fn lock(
    session: &mut Session,
    queue: QueueId,
    id: ItemId,
    state: &ItemState,
    grouped: bool,
) -> Result<bool> {
    const READY: &str = "SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank = $2 AND due_date = $3 \
                         AND item_id = $4 FOR UPDATE";
    const DEFERRED: &str = "SELECT 1 FROM item_deferred WHERE queue_id = $1 AND defer_date = $2 AND item_id = $3 \
                            FOR UPDATE";
    if session.query_opt(READY, &[&queue.0, &rank_of(state), &due_date(state), &id.0])?.is_some() {
        return Ok(true);
    }
    if let Some(defer_date) = state.defer_date
        && session.query_opt(DEFERRED, &[&queue.0, &defer_date, &id.0])?.is_some()
    {
        return Ok(true);
    }
    if !grouped {
        return Ok(false);
    }
    // Nobody else moves it, nor claims it.
    const GROUPED: &str = "SELECT place IS NULL OR EXISTS (SELECT 1 FROM item_ready WHERE queue_id = grouped.queue_id \
                           AND rank = grouped.rank AND due_date = grouped.place AND item_id = grouped.item_id) \
                           FROM item_grouped AS grouped WHERE item_id = $1";
    session.query_opt(GROUPED, &[&id.0])?.map_or(Ok(false), |row| get(&row, 0))
}

/// The queries that lock the rows of waiting items, as [`lock`] does, and return the ids of those that wait there. None of the items
/// has a row in `item_grouped`.
///
/// They are locked in the order of their ids, as everybody does who locks several. Each is looked up by its key: a plan of the time at
/// which the table was empty would scan it.
pub(super) fn locks(new: &mut [(&ItemId, &ItemRow)]) -> Vec<BoundQuery> {
    const READY: &str = "SELECT item_ready.item_id FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[]) \
         AS new (queue_id, rank, due_date, item_id) CROSS JOIN LATERAL (SELECT item_id FROM item_ready \
         WHERE queue_id = new.queue_id AND rank = new.rank AND due_date = new.due_date AND item_id = new.item_id \
         FOR UPDATE) AS item_ready";
    const DEFERRED: &str = "SELECT item_deferred.item_id FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[]) \
         AS new (queue_id, defer_date, item_id) CROSS JOIN LATERAL (SELECT item_id FROM item_deferred \
         WHERE queue_id = new.queue_id AND defer_date = new.defer_date AND item_id = new.item_id FOR UPDATE) AS item_deferred";
    let mut queries = Vec::new();
    if new.is_empty() {
        return queries;
    }
    new.sort_unstable_by_key(|(id, _)| **id);
    let ids: Vec<i64> = new.iter().map(|(id, _)| id.0).collect();
    let queues: Vec<i64> = new.iter().map(|(_, row)| row.queue.0).collect();
    let ranks: Vec<i16> = new.iter().map(|(_, row)| rank_of(&row.state)).collect();
    let due_dates: Vec<i64> = new.iter().map(|(_, row)| due_date(&row.state)).collect();
    let defer_dates: Vec<Option<Timestamp>> = new.iter().map(|(_, row)| row.state.defer_date).collect();
    if defer_dates.iter().any(Option::is_some) {
        let values: Vec<OwnedValue> =
            vec![Box::new(queues.clone()), Box::new(defer_dates), Box::new(ids.clone())];
        queries.push(BoundQuery { sql: DEFERRED.into(), values });
    }
    let values: Vec<OwnedValue> = vec![Box::new(queues), Box::new(ranks), Box::new(due_dates), Box::new(ids)];
    queries.push(BoundQuery { sql: READY.into(), values });
    queries
}

/// Moves items whose DeferDate has come to the ready ones, except locked ones. Searches from a DeferDate on, and among
/// items with an earlier one that were entered since that was the first. Draws numbers after taking the mark.
pub(super) const PROMOTE: &str = concat!(
    "WITH due AS MATERIALIZED (SELECT ctid AS place FROM item_deferred WHERE queue_id = $1 \
     AND defer_date >= coalesce($3::timestamptz, '-infinity') AND defer_date <= coalesce($2, transaction_timestamp()) \
     ORDER BY defer_date, item_id LIMIT 10000 FOR UPDATE SKIP LOCKED), \
     late AS MATERIALIZED (SELECT ctid AS place FROM item_deferred WHERE queue_id + 0 = $1 AND entered >= $4 \
     AND defer_date < coalesce($3::timestamptz, '-infinity') AND defer_date <= coalesce($2, transaction_timestamp()) \
     LIMIT 10000 FOR UPDATE SKIP LOCKED), \
     ripe AS MATERIALIZED (SELECT place FROM due UNION ALL SELECT place FROM late), \
     marked AS MATERIALIZED (SELECT ",
    mark!("$5"),
    " FROM item_id WHERE EXISTS (SELECT 1 FROM ripe)), \
     gone AS (DELETE FROM item_deferred WHERE ctid = ANY (ARRAY(SELECT place FROM ripe)) \
     RETURNING queue_id, rank, due_date, item_id, touched) \
     INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched, entered) \
     SELECT queue_id, rank, due_date, item_id, touched, ",
    number!("$6"),
    " FROM marked CROSS JOIN gone"
);

/// Moves items back that came due while the clock was ahead.
const DEFER_AGAIN: &str = concat!(
    "WITH early AS MATERIALIZED (DELETE FROM item_ready WHERE queue_id = $1 AND ctid = ANY ($2) \
     RETURNING queue_id, rank, due_date, item_id, touched) \
     INSERT INTO item_deferred (queue_id, defer_date, item_id, rank, due_date, touched, entered) \
     SELECT early.queue_id, item.defer_date, early.item_id, early.rank, early.due_date, early.touched, ",
    number!("$3"),
    " FROM early JOIN item ON item.id = early.item_id"
);

/// Moves items back that are not due yet. The transaction has announced that it draws numbers.
pub(super) fn defer_again(
    session: &mut Session,
    queue: i64,
    places: &[RowLocation],
    numbers: EntryNumbers,
) -> Result<()> {
    session.execute(DEFER_AGAIN, &[&queue, &places, &numbers.are_drawn()]).map(drop)
}

/// The search for references with this beginning: continues until enough are found.
const STARTS_WITH: &str = concat!(
    "WITH next AS MATERIALIZED (SELECT item_ready.ctid AS place, item_ready.rank, item_ready.due_date, \
     item_ready.item_id, item_ready.touched FROM item_ready JOIN item ON item.id = item_ready.item_id \
     WHERE item_ready.queue_id = $1 AND starts_with(item.reference, $3) \
     ORDER BY item_ready.rank, item_ready.due_date, item_ready.item_id LIMIT $2 \
     FOR UPDATE OF item_ready SKIP LOCKED) SELECT ",
    new_item_columns!(),
    ", next.place, next.touched, item.root_id IS NOT NULL FROM next JOIN item ON item.id = next.item_id \
     ORDER BY next.rank, next.due_date, next.item_id"
);

/// Locks and returns items with matching references, in the order of the model. Items whose DeferDate has come have
/// been moved before.
pub(super) fn next_with_references(
    session: &mut Session,
    ask: &NextItems<'_>,
    filter: &ReferenceFilter,
) -> Result<Items> {
    let query = ClaimQuery::of(ask);
    let ClaimQuery { queue, count, .. } = query;
    let (ReferenceFilter::StartsWith(text) | ReferenceFilter::Equals(text)) = filter;
    if text.contains('\0') {
        return Ok((Vec::new(), Vec::new())); // no reference contains it, and PostgreSQL does not accept it
    }
    match filter {
        ReferenceFilter::StartsWith(text) => {
            let rows = session.query(STARTS_WITH, &[&queue, &count, text])?;
            prefetched_items(session, &rows, query.order())
        }
        ReferenceFilter::Equals(text) => with_reference(session, ask, text),
    }
}

/// Reads the result of a search.
pub(super) fn prefetched_items(session: &mut Session, rows: &[Row], order: ItemOrder) -> Result<Items> {
    const WHOLE: &str =
        concat!("SELECT ", item_columns!(), " FROM item", state_joins!(), " WHERE item.id = ANY ($1)");
    let (mut items, mut places) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    let mut unreadable = Vec::new();
    for row in rows {
        let (touched, is_copy): (bool, bool) = (get(row, row.len() - 2)?, get(row, row.len() - 1)?);
        let place: RowLocation = get(row, row.len() - 3)?;
        match columns::new_item(row) {
            Ok(item) => {
                places.push((key(&item), LockedRow { id: item.1.id, row: place, touched }, is_copy));
                items.push(item);
            }
            Err(error) if is_unreadable(&error) => unreadable.push((ItemId(get(row, 0)?), place, error)),
            Err(error) => return Err(error),
        }
    }
    if order == ItemOrder::Keys && !places.is_sorted_by_key(|(key, ..)| *key) {
        places.sort_by_key(|(key, ..)| *key);
        items.sort_by_key(key);
    }
    let known = places.iter().enumerate().filter(|(_, (_, place, is_copy))| place.touched || *is_copy);
    let known: HashMap<_, _> = known.map(|(at, (_, place, _))| (place.id, at)).collect();
    let mut places: Vec<_> = places.into_iter().map(|(_, place, _)| place).collect();
    if !known.is_empty() {
        let ids: Vec<i64> = known.keys().map(|id| id.0).collect();
        for row in session.query(WHOLE, &[&ids])? {
            let id = ItemId(get(&row, 0)?);
            let Some(at) = known.get(&id) else { continue };
            match columns::item(&row) {
                Ok(whole) => items[*at] = whole,
                Err(error) if is_unreadable(&error) => unreadable.push((id, places[*at].row, error)),
                Err(error) => return Err(error),
            }
        }
    }
    if !unreadable.is_empty() {
        let is_readable = |id: ItemId| unreadable.iter().all(|(other, ..)| *other != id);
        items.retain(|(_, item)| is_readable(item.id));
        places.retain(|place| is_readable(place.id));
        pass_over(session, unreadable)?;
    }
    Ok((items, places))
}

/// Removes items whose rows cannot be read from `item_ready`: every search would find them again, and nothing after
/// them. After a repair, an edit of the item enters it again.
fn pass_over(session: &mut Session, unreadable: Vec<(ItemId, RowLocation, OrchestratorError)>) -> Result<()> {
    const LEAVE: &str = "DELETE FROM item_ready WHERE ctid = ANY ($1)";
    let places: Vec<RowLocation> = unreadable.iter().map(|(_, place, _)| *place).collect();
    session.found_fewer = true;
    for (id, _, error) in unreadable {
        session.skipped_rows.report(id, &error);
    }
    session.execute(LEAVE, &[&places]).map(drop)
}

fn key((state, item): &(ItemState, Box<QueueItem>)) -> SelectionKey {
    SelectionKey::new(state.priority, state.due_date, item.id)
}

/// Looks a whole reference up in the index of references, and locks the few items in their order.
fn with_reference(session: &mut Session, ask: &NextItems<'_>, reference: &str) -> Result<Items> {
    const CANDIDATES: &str = "SELECT item.id, item.priority, item.due_date FROM item LEFT JOIN item_state \
         ON item_state.item_id = item.id WHERE item.queue_id = $1 AND item.reference = $2 \
         AND (item_state.item_id IS NULL OR item_state.status = 0)";
    // Those that wait behind others of their group are not ready; the others may stand where the turn of their group is.
    const IN_GROUPS: &str = "SELECT item.id, item.priority, item.due_date, grouped.place FROM item \
         LEFT JOIN item_state ON item_state.item_id = item.id \
         LEFT JOIN item_grouped AS grouped ON grouped.item_id = item.id WHERE item.queue_id = $1 AND item.reference = $2 \
         AND (item_state.item_id IS NULL OR item_state.status = 0) \
         AND (grouped.item_id IS NULL OR grouped.place IS NOT NULL)";
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
    let sql = if ask.groups.is_some() { IN_GROUPS } else { CANDIDATES };
    for row in session.query(sql, &[&ask.queue.0, &reference])? {
        let Ok(priority) = columns::numbered!(&row, 1, Priority) else { continue };
        let state = ItemState { due_date: get(&row, 2)?, ..ItemState::untouched(priority, ask.now) };
        let place: Option<i64> = if ask.groups.is_some() { get(&row, 3)? } else { None };
        candidates.push((rank_of(&state), place.unwrap_or_else(|| due_date(&state)), ItemId(get(&row, 0)?)));
    }
    candidates.sort_unstable();
    let (mut found, mut places) = (Vec::new(), Vec::new());
    for (rank, due_date, id) in candidates {
        if found.len() == ask.count {
            break;
        }
        let values: Values<'_> = &[&ask.queue.0, &rank, &due_date, &id.0];
        // Read after it is locked: before, it could have been changed.
        if let Some(place) = session.query_opt(PLACE, values)?
            && let Some(row) = session.query_opt(LOCKED, &[&id.0])?
        {
            match columns::item(&row) {
                Ok(item) => {
                    places.push(LockedRow { id, row: get(&place, 0)?, touched: get(&place, 1)? });
                    found.push(item);
                }
                Err(error) if is_unreadable(&error) => session.skipped_rows.report(id, &error),
                Err(error) => return Err(error),
            }
        }
    }
    Ok((found, places))
}
