//! Changes of items, collected one by one and written together.
//!
//! A transaction decides about its items one after the other, and what belongs to a change is in several tables. Here the changes are
//! collected. Before any other statement is sent, each kind of them becomes one statement, however many items there are: so no other
//! statement finds them missing, and nobody has to think of them.
//!
//! Statements are planned once, perhaps when the tables are nearly empty. LATERAL with OFFSET 0 says that a table is looked up for each of
//! the rows, whatever the planner thinks: a plan that walks the table instead would take longer with each item. (The rows of an item in
//! other tables are written only under the lock of its state, so that they stay where they were found.)

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::rows::{RetryCopy, StateUpdate};
use super::super::sql::list::is_for_review;
use super::super::sql::review;
use super::columns::{signed, text, uuid};
use super::ready_items::{due_date, rank_of};
use super::session::{BoundQuery, OwnedValue};
use super::write::expect_rows;
use super::{Postgres, ready_items};
use performer_core::model::history::Recorded;
use performer_core::model::key::{ItemId, ItemKey, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::selection::is_deferred;
use performer_core::model::status::Status;

/// What was collected.
#[derive(Default)]
pub(super) struct BulkWrite {
    states: Vec<ChangedState>,
    contents: BTreeMap<i64, String>,
    events: Vec<(ItemId, Recorded)>,
    copies: Vec<NewCopy>,
    failures: Vec<CountedFailure>,
    open: Vec<CountedOpen>,
}

struct ChangedState {
    id: ItemId,
    queue: QueueId,
    before: ItemState,
    after: ItemState,
    progress: Option<String>,
}

struct NewCopy {
    id: ItemId,
    queue: QueueId,
    original: ItemId,
    unique_key: ItemKey,
    state: ItemState,
    by_hand: bool,
    created_by: Option<i64>,
    is_deferred: bool,
}

/// An attempt that failed, counted in the row of a group.
pub(super) struct CountedFailure {
    pub(super) item: ItemId,
    pub(super) reason: i64,
    /// Which of the rows of the group.
    pub(super) number: i64,
    pub(super) at: Timestamp,
    pub(super) is_open: bool,
}

/// An item that failed before, counted as open, or as not open any more.
pub(super) struct CountedOpen {
    pub(super) item: ItemId,
    /// Which of the rows of its group.
    pub(super) number: i64,
    pub(super) by: i64,
}

/// Whether an item comes from one state to another without beginning or ending to be held, nor beginning to wait. Its row was read
/// in the same transaction, which has locked it: nobody else can have changed it.
pub(super) fn is_collected(before: Status, after: Status) -> bool {
    before != Status::InProgress && !matches!(after, Status::New | Status::InProgress)
}

/// A column of the rows that a statement writes.
fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> OwnedValue
where
    Vec<T>: tokio_postgres::types::ToSql + Sync + Send + 'static,
{
    Box::new(rows.iter().map(value).collect::<Vec<T>>())
}

impl BulkWrite {
    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty()
            && self.contents.is_empty()
            && self.events.is_empty()
            && self.copies.is_empty()
            && self.failures.is_empty()
            && self.open.is_empty()
    }

    /// Collects a change for which [`is_collected`] holds.
    pub(super) fn state(
        &mut self,
        (id, queue): (ItemId, QueueId),
        before: &ItemState,
        written: &StateUpdate<'_>,
    ) {
        let progress = written.progress.map(|progress| text(progress).into_owned());
        self.states.push(ChangedState { id, queue, before: *before, after: *written.state, progress });
    }

    pub(super) fn content(&mut self, id: ItemId, content: &str) {
        self.contents.insert(id.0, content.to_owned());
    }

    pub(super) fn event(&mut self, id: ItemId, event: &Recorded) {
        self.events.push((id, *event));
    }

    pub(super) fn copy(&mut self, id: ItemId, copy: &RetryCopy<'_>) {
        self.copies.push(NewCopy {
            id,
            queue: copy.queue,
            original: copy.original,
            unique_key: copy.unique_key,
            state: *copy.state,
            by_hand: copy.by_hand,
            created_by: copy.created_by,
            is_deferred: is_deferred(copy.state, copy.now),
        });
    }

    pub(super) fn failure(&mut self, failure: CountedFailure) {
        self.failures.push(failure);
    }

    pub(super) fn open(&mut self, open: CountedOpen) {
        self.open.push(open);
    }

    /// The statements that write everything. A reference that an original gives up is free before its copy has it, and the reason of a
    /// failure is noted before it is looked up.
    pub(super) fn statements(self) -> Vec<BoundQuery> {
        let mut statements = Vec::new();
        write_states(&self.states, &mut statements);
        write_contents(self.contents, &mut statements);
        insert_copies(&self.copies, &mut statements);
        insert_events(&self.events, &mut statements);
        count_failures(&self.failures, &mut statements);
        count_open(&self.open, &mut statements);
        statements
    }
}

/// Adds a statement unless it has no rows.
fn add<R>(to: &mut Vec<BoundQuery>, rows: &[R], sql: &'static str, values: Vec<OwnedValue>) {
    if !rows.is_empty() {
        to.push(BoundQuery { sql: sql.into(), values });
    }
}

fn write_states(states: &[ChangedState], to: &mut Vec<BoundQuery>) {
    // An item that was never touched has no row yet.
    const FIRST: &str = "INSERT INTO item_state (item_id, queue_id, status, review_status, superseded, token, row_version) \
         SELECT item_id, queue_id, 0, 0, false, 0, 1 FROM unnest($1::bigint[], $2::bigint[]) AS new (item_id, queue_id) \
         ON CONFLICT (item_id) DO NOTHING";
    const STATES: &str = concat!(
        "WITH written AS (UPDATE item_state SET status = changed.status, review_status = changed.review_status, \
         superseded = changed.superseded, start_processing = changed.start_processing, \
         reviewer_user_id = changed.reviewer_user_id, holder = changed.holder, token = changed.token, \
         row_version = changed.row_version, progress = coalesce(changed.progress, item_state.progress) \
         FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::smallint[], $6::boolean[], \
         $7::timestamptz[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[]) AS changed (item_id, \
         version_before, status_before, status, review_status, superseded, start_processing, reviewer_user_id, holder, token, \
         row_version, progress) WHERE item_state.item_id = changed.item_id \
         AND item_state.row_version = changed.version_before AND item_state.status = changed.status_before RETURNING 1) ",
        expect_rows!("$13")
    );
    const ITEMS: &str = "UPDATE item SET priority = changed.priority, due_date = changed.due_date, \
         defer_date = changed.defer_date, holds_reference = changed.holds_reference \
         FROM unnest($1::bigint[], $2::smallint[], $3::timestamptz[], $4::timestamptz[], $5::boolean[]) \
         AS changed (item_id, priority, due_date, defer_date, holds_reference) WHERE item.id = changed.item_id";
    if states.is_empty() {
        return;
    }
    let new: Vec<&ChangedState> = states.iter().filter(|state| state.before.status == Status::New).collect();
    let ids_of_new = || column(&new, |state| state.id.0);
    add(to, &new, FIRST, vec![ids_of_new(), column(&new, |state| state.queue.0)]);
    let values = vec![
        column(states, |state| state.id.0),
        column(states, |state| signed(state.before.row_version)),
        column(states, |state| i16::from(state.before.status.number())),
        column(states, |state| i16::from(state.after.status.number())),
        column(states, |state| i16::from(state.after.review_status.number())),
        column(states, |state| state.after.superseded),
        column(states, |state| state.after.start_processing),
        column(states, |state| state.after.reviewer_user_id),
        column(states, |state| state.after.holder.map(|holder| holder.job.0)),
        column(states, |state| signed(state.after.token)),
        column(states, |state| signed(state.after.row_version)),
        column(states, |state| state.progress.clone()),
        Box::new(i64::try_from(states.len()).unwrap_or(i64::MAX)),
    ];
    add(to, states, STATES, values);
    end_waiting(&new, to);
    let of_item =
        |state: &ItemState| (state.priority, state.due_date, state.defer_date, state.holds_reference);
    let items: Vec<&ChangedState> =
        states.iter().filter(|state| of_item(&state.before) != of_item(&state.after)).collect();
    let values = vec![
        column(&items, |state| state.id.0),
        column(&items, |state| i16::from(state.after.priority.number())),
        column(&items, |state| state.after.due_date),
        column(&items, |state| state.after.defer_date),
        column(&items, |state| state.after.holds_reference),
    ];
    add(to, &items, ITEMS, values);
    write_review(states, to);
}

/// Removes items that were New from where they waited: each from one of these places. (The row of its group follows when the group
/// is settled.)
fn end_waiting(new: &[&ChangedState], to: &mut Vec<BoundQuery>) {
    const READY: &str = "DELETE FROM item_ready WHERE ctid = ANY (ARRAY(SELECT place.ctid \
         FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[]) AS gone (queue_id, rank, due_date, item_id) \
         CROSS JOIN LATERAL (SELECT ctid FROM item_ready WHERE queue_id = gone.queue_id AND rank = gone.rank \
         AND due_date = gone.due_date AND item_id = gone.item_id OFFSET 0) AS place))";
    const DEFERRED: &str = "DELETE FROM item_deferred WHERE ctid = ANY (ARRAY(SELECT place.ctid \
         FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[]) AS gone (queue_id, defer_date, item_id) \
         CROSS JOIN LATERAL (SELECT ctid FROM item_deferred WHERE queue_id = gone.queue_id \
         AND defer_date = gone.defer_date AND item_id = gone.item_id OFFSET 0) AS place))";
    let values = vec![
        column(new, |state| state.queue.0),
        column(new, |state| rank_of(&state.before)),
        column(new, |state| due_date(&state.before)),
        column(new, |state| state.id.0),
    ];
    add(to, new, READY, values);
    let deferred: Vec<&&ChangedState> =
        new.iter().filter(|state| state.before.defer_date.is_some()).collect();
    let values = vec![
        column(&deferred, |state| state.queue.0),
        column(&deferred, |state| state.before.defer_date),
        column(&deferred, |state| state.id.0),
    ];
    add(to, &deferred, DEFERRED, values);
    add(to, new, ready_items::LEAVE_TURNS, vec![column(new, |state| state.id.0)]);
}

/// Writes the rows of items that people look for.
fn write_review(states: &[ChangedState], to: &mut Vec<BoundQuery>) {
    const GONE: &str = "DELETE FROM item_review WHERE ctid = ANY (ARRAY(SELECT place.ctid \
         FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS gone (queue_id, status, item_id) \
         CROSS JOIN LATERAL (SELECT ctid FROM item_review WHERE queue_id = gone.queue_id AND status = gone.status \
         AND item_id = gone.item_id OFFSET 0) AS place))";
    let gone: Vec<_> = states.iter().filter(|state| is_for_review(state.before.status)).collect();
    let values = vec![
        column(&gone, |state| state.queue.0),
        column(&gone, |state| i16::from(state.before.status.number())),
        column(&gone, |state| state.id.0),
    ];
    add(to, &gone, GONE, values);
    let there: Vec<_> = states.iter().filter(|state| is_for_review(state.after.status)).collect();
    if !there.is_empty() {
        let sql = review::insertion::<Postgres>("= ANY ($1)").into();
        to.push(BoundQuery { sql, values: vec![column(&there, |state| state.id.0)] });
    }
}

fn write_contents(contents: BTreeMap<i64, String>, to: &mut Vec<BoundQuery>) {
    const SQL: &str = "UPDATE item SET content = changed.content FROM unnest($1::bigint[], $2::text[]) \
                       AS changed (item_id, content) WHERE item.id = changed.item_id";
    if !contents.is_empty() {
        let (ids, contents): (Vec<i64>, Vec<String>) = contents.into_iter().unzip();
        to.push(BoundQuery { sql: SQL.into(), values: vec![Box::new(ids), Box::new(contents)] });
    }
}

/// Everything that is not named here is copied from the original.
fn insert_copies(copies: &[NewCopy], to: &mut Vec<BoundQuery>) {
    const ITEMS: &str = "INSERT INTO item (id, queue_id, root_id, priority, due_date, defer_date, risk_sla_date, creation_time, \
         holds_reference, unique_key, reference, content, creator_job, parent_operation_id, source, created_by, group_name) \
         SELECT copy.id, item.queue_id, coalesce(item.root_id, item.id), copy.priority, copy.due_date, copy.defer_date, \
         item.risk_sla_date, copy.creation_time, copy.holds_reference, copy.unique_key, item.reference, item.content, \
         item.creator_job, item.parent_operation_id, item.source, copy.created_by, item.group_name \
         FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], \
         $7::boolean[], $8::uuid[], $9::bigint[]) AS copy (original, id, priority, due_date, defer_date, creation_time, \
         holds_reference, unique_key, created_by) \
         CROSS JOIN LATERAL (SELECT * FROM item WHERE item.id = copy.original OFFSET 0) AS item";
    const COPIES: &str = "INSERT INTO item_copy (item_id, chain_key, ancestor_id, manual_ancestor_id, retry_number, \
         manual_retry_number, seconds_in_previous_attempts) \
         SELECT copy.id, coalesce(before.chain_key, item.unique_key), CASE WHEN copy.by_hand THEN NULL ELSE item.id END, \
         CASE WHEN copy.by_hand THEN item.id ELSE before.manual_ancestor_id END, copy.retry_number, \
         copy.manual_retry_number, copy.seconds \
         FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::integer[], $5::integer[], $6::bigint[]) \
         AS copy (original, id, by_hand, retry_number, manual_retry_number, seconds) \
         CROSS JOIN LATERAL (SELECT id, unique_key FROM item WHERE item.id = copy.original OFFSET 0) AS item \
         LEFT JOIN LATERAL (SELECT chain_key, manual_ancestor_id FROM item_copy WHERE item_copy.item_id = copy.original OFFSET 0) \
         AS before ON true";
    const READY: &str = "INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched, entered) \
         SELECT queue_id, rank, due_date, item_id, false, CASE WHEN rank < 3 THEN item_id END \
         FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[]) AS new (queue_id, rank, due_date, item_id)";
    const DEFERRED: &str = "INSERT INTO item_deferred (queue_id, defer_date, item_id, rank, due_date, touched, entered) \
         SELECT queue_id, defer_date, item_id, rank, due_date, false, item_id \
         FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::timestamptz[]) \
         AS new (queue_id, rank, due_date, item_id, defer_date)";
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let values = vec![
        column(copies, |copy| copy.original.0),
        column(copies, |copy| copy.id.0),
        column(copies, |copy| i16::from(copy.state.priority.number())),
        column(copies, |copy| copy.state.due_date),
        column(copies, |copy| copy.state.defer_date),
        column(copies, |copy| copy.state.creation_time),
        column(copies, |copy| copy.state.holds_reference),
        column(copies, |copy| uuid(copy.unique_key.to_bytes())),
        column(copies, |copy| copy.created_by),
    ];
    add(to, copies, ITEMS, values);
    let values = vec![
        column(copies, |copy| copy.original.0),
        column(copies, |copy| copy.id.0),
        column(copies, |copy| copy.by_hand),
        column(copies, |copy| number(copy.state.retry_number)),
        column(copies, |copy| number(copy.state.manual_retry_number)),
        column(copies, |copy| i64::from(copy.state.seconds_in_previous_attempts)),
    ];
    add(to, copies, COPIES, values);
    let (deferred, ready): (Vec<&NewCopy>, Vec<&NewCopy>) = copies.iter().partition(|copy| copy.is_deferred);
    let places = |copies: &[&NewCopy]| -> Vec<OwnedValue> {
        vec![
            column(copies, |copy| copy.queue.0),
            column(copies, |copy| rank_of(&copy.state)),
            column(copies, |copy| due_date(&copy.state)),
            column(copies, |copy| copy.id.0),
        ]
    };
    add(to, &ready, READY, places(&ready));
    let mut values = places(&deferred);
    values.push(column(&deferred, |copy| copy.state.defer_date));
    add(to, &deferred, DEFERRED, values);
}

fn insert_events(events: &[(ItemId, Recorded)], to: &mut Vec<BoundQuery>) {
    const SQL: &str = "INSERT INTO item_event (item_id, version, at, action, status, review_status, user_id) \
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::smallint[], $5::smallint[], $6::smallint[], \
         $7::bigint[])";
    let values = vec![
        column(events, |(id, _)| id.0),
        column(events, |(_, event)| signed(event.version)),
        column(events, |(_, event)| event.at),
        column(events, |(_, event)| i16::from(event.action.number())),
        column(events, |(_, event)| i16::from(event.status.number())),
        column(events, |(_, event)| i16::from(event.review_status.number())),
        column(events, |(_, event)| event.user_id),
    ];
    add(to, events, SQL, values);
}

/// Notes the groups of failures at their items, and counts them. In one order, so that two transactions that count in the same rows
/// do not wait for each other.
fn count_failures(failures: &[CountedFailure], to: &mut Vec<BoundQuery>) {
    const SQL: &str = "WITH failed AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], \
         $4::timestamptz[], $5::bigint[]) AS failed (item_id, reason_id, number, at, open)), \
         named AS (UPDATE item_exception SET reason_id = failed.reason_id FROM failed \
         WHERE item_exception.item_id = failed.item_id) \
         INSERT INTO reason_count AS there (reason_id, number, last_seen, total, open) \
         SELECT reason_id, number, max(at), count(*), sum(open)::bigint FROM failed GROUP BY reason_id, number \
         ORDER BY reason_id, number ON CONFLICT (reason_id, number) DO UPDATE \
         SET last_seen = greatest(there.last_seen, excluded.last_seen), total = there.total + excluded.total, \
         open = there.open + excluded.open";
    let values = vec![
        column(failures, |failure| failure.item.0),
        column(failures, |failure| failure.reason),
        column(failures, |failure| failure.number),
        column(failures, |failure| failure.at),
        column(failures, |failure| i64::from(failure.is_open)),
    ];
    add(to, failures, SQL, values);
}

fn count_open(open: &[CountedOpen], to: &mut Vec<BoundQuery>) {
    const SQL: &str = "INSERT INTO reason_count AS there (reason_id, number, total, open) \
         SELECT reason_id, number, 0, sum(changed.by)::bigint \
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS changed (item_id, number, by) \
         CROSS JOIN LATERAL (SELECT reason_id FROM item_exception WHERE item_exception.item_id = changed.item_id OFFSET 0) \
         AS failed WHERE reason_id IS NOT NULL \
         GROUP BY reason_id, number ORDER BY reason_id, number \
         ON CONFLICT (reason_id, number) DO UPDATE SET open = there.open + excluded.open";
    let values = vec![
        column(open, |open| open.item.0),
        column(open, |open| open.number),
        column(open, |open| open.by),
    ];
    add(to, open, SQL, values);
}
