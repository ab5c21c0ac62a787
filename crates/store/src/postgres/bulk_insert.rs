//! New items, collected column by column, to insert many with one statement.

use jiff::Timestamp;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::super::rows::NewRow;
use super::columns::{text, uuid};
use super::ready_items::{due_date, rank_of};
use super::session::Session;
use performer_core::model::key::{ItemId, JobKey};
use performer_core::model::selection::{is_deferred, rank};
use performer_core::orchestrator::Result;

/// So many are inserted at the latest, to limit the memory.
const MAX_ROWS: usize = 2_000;

#[derive(Default)]
pub(super) struct BulkInsert {
    id: Vec<i64>,
    queue_id: Vec<i64>,
    priority: Vec<i16>,
    due_date: Vec<Option<Timestamp>>,
    defer_date: Vec<Option<Timestamp>>,
    risk_sla_date: Vec<Option<Timestamp>>,
    creation_time: Vec<Timestamp>,
    holds_reference: Vec<bool>,
    unique_key: Vec<Uuid>,
    reference: Vec<Option<String>>,
    content: Vec<String>,
    creator_job: Vec<Option<Uuid>>,
    parent_operation_id: Vec<Option<String>>,
    source: Vec<Option<i16>>,
    created_by: Vec<Option<i64>>,
    group_name: Vec<Option<String>>,
    /// Its rank in `item_ready`; none if it is inserted there separately.
    rank: Vec<Option<i16>>,
    due_at: Vec<i64>,
    grouped: NewGrouped,
}

/// From so many items on, COPY is used: it costs the server less, and one more round trip.
pub(super) const COPY_THRESHOLD: usize = 100;

/// Both tables in one statement, so that an item is never in only one of them.
const SQL: &str = "WITH added AS (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::timestamptz[], \
     $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::boolean[], $9::uuid[], $10::text[], $11::text[], \
     $12::uuid[], $13::text[], $14::smallint[], $15::smallint[], $16::bigint[], $17::bigint[], $18::text[]) \
     AS t (id, queue_id, priority, due_date, defer_date, risk_sla_date, creation_time, holds_reference, unique_key, \
     reference, content, creator_job, parent_operation_id, source, rank, due_at, created_by, group_name)), \
     ready AS (INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched, entered) \
     SELECT queue_id, rank, due_at, id, false, CASE WHEN rank < 3 THEN id END FROM added WHERE rank IS NOT NULL) \
     INSERT INTO item (id, queue_id, priority, due_date, defer_date, risk_sla_date, creation_time, holds_reference, \
     unique_key, reference, content, creator_job, parent_operation_id, source, created_by, group_name) \
     SELECT id, queue_id, priority, due_date, defer_date, risk_sla_date, creation_time, holds_reference, unique_key, \
     reference, content, creator_job, parent_operation_id, source, created_by, group_name FROM added";

impl BulkInsert {
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.id.len() >= MAX_ROWS
    }

    /// Adds an item. Returns whether it will also be inserted where it waits; if not, the caller has to do that.
    pub(super) fn push(&mut self, id: ItemId, row: &NewRow<'_>) -> bool {
        let (state, origin) = (row.state, row.origin);
        let behind = row.behind.filter(|_| !is_deferred(state, row.now));
        let is_plain = behind.is_none() && row.progress.is_none() && !is_deferred(state, row.now);
        if let Some(group) = behind {
            self.grouped.push(id, group, row);
        }
        self.id.push(id.0);
        self.queue_id.push(row.queue.0);
        self.priority.push(state.priority.number().into());
        self.due_date.push(state.due_date);
        self.defer_date.push(state.defer_date);
        self.risk_sla_date.push(row.risk_sla_date);
        self.creation_time.push(state.creation_time);
        self.holds_reference.push(state.holds_reference);
        self.unique_key.push(uuid(row.unique_key.to_bytes()));
        self.reference.push(row.reference.map(str::to_owned));
        self.content.push(row.content.as_json().to_owned());
        self.creator_job.push(origin.creator_job.map(JobKey::to_bytes).map(uuid));
        self.parent_operation_id.push(origin.parent_operation_id.as_deref().map(|id| text(id).into_owned()));
        self.source.push(origin.source.map(|source| source.number().into()));
        self.created_by.push(row.created_by);
        self.group_name.push(row.group.map(str::to_owned));
        self.rank.push(is_plain.then(|| rank(state.priority, state.due_date).into()));
        self.due_at.push(due_date(state));
        is_plain || behind.is_some()
    }

    /// Inserts all of them: with the next statement, or now if they are many.
    pub(super) fn insert(&mut self, session: &mut Session) -> Result<()> {
        let all = std::mem::take(self);
        all.grouped.insert(session)?;
        if all.id.len() >= COPY_THRESHOLD && session.copies() {
            return all.copy(session);
        }
        session.enqueue(
            SQL,
            &[
                &all.id,
                &all.queue_id,
                &all.priority,
                &all.due_date,
                &all.defer_date,
                &all.risk_sla_date,
                &all.creation_time,
                &all.holds_reference,
                &all.unique_key,
                &all.reference,
                &all.content,
                &all.creator_job,
                &all.parent_operation_id,
                &all.source,
                &all.rank,
                &all.due_at,
                &all.created_by,
                &all.group_name,
            ],
        )
    }

    fn copy(&self, session: &mut Session) -> Result<()> {
        const ITEMS: &str = "COPY item (id, queue_id, priority, due_date, defer_date, risk_sla_date, creation_time, \
             holds_reference, unique_key, reference, content, creator_job, parent_operation_id, source, created_by, \
             group_name) FROM STDIN BINARY";
        const READY: &str =
            "COPY item_ready (queue_id, rank, due_date, item_id, touched, entered) FROM STDIN BINARY";
        const ITEM: [Type; 16] = [
            Type::INT8,
            Type::INT8,
            Type::INT2,
            Type::TIMESTAMPTZ,
            Type::TIMESTAMPTZ,
            Type::TIMESTAMPTZ,
            Type::TIMESTAMPTZ,
            Type::BOOL,
            Type::UUID,
            Type::TEXT,
            Type::TEXT,
            Type::UUID,
            Type::TEXT,
            Type::INT2,
            Type::INT8,
            Type::TEXT,
        ];
        const PLACE: [Type; 6] = [Type::INT8, Type::INT2, Type::INT8, Type::INT8, Type::BOOL, Type::INT8];
        let items = (0..self.id.len()).map(|at| -> [&(dyn ToSql + Sync); 16] {
            [
                &self.id[at],
                &self.queue_id[at],
                &self.priority[at],
                &self.due_date[at],
                &self.defer_date[at],
                &self.risk_sla_date[at],
                &self.creation_time[at],
                &self.holds_reference[at],
                &self.unique_key[at],
                &self.reference[at],
                &self.content[at],
                &self.creator_job[at],
                &self.parent_operation_id[at],
                &self.source[at],
                &self.created_by[at],
                &self.group_name[at],
            ]
        });
        session.copy(ITEMS, &ITEM, items)?;
        let entered: Vec<_> = self.id.iter().zip(&self.due_date).map(|(id, due)| due.map(|_| *id)).collect();
        let ready = (0..self.id.len()).filter_map(|at| -> Option<[&(dyn ToSql + Sync); 6]> {
            let rank = self.rank[at].as_ref()?;
            Some([&self.queue_id[at], rank, &self.due_at[at], &self.id[at], &false, &entered[at]])
        });
        session.copy(READY, &PLACE, ready)
    }
}

/// New items that wait until their groups are settled, column by column.
#[derive(Default)]
struct NewGrouped {
    id: Vec<i64>,
    queue_id: Vec<i64>,
    name: Vec<String>,
    rank: Vec<i16>,
    due_date: Vec<i64>,
    touched: Vec<bool>,
}

impl NewGrouped {
    fn push(&mut self, id: ItemId, group: &str, row: &NewRow<'_>) {
        self.id.push(id.0);
        self.queue_id.push(row.queue.0);
        self.name.push(group.to_owned());
        self.rank.push(rank_of(row.state));
        self.due_date.push(due_date(row.state));
        self.touched.push(row.progress.is_some());
    }

    /// Inserts them with the next statement.
    fn insert(&self, session: &mut Session) -> Result<()> {
        const SQL: &str = "INSERT INTO item_grouped (item_id, queue_id, group_name, rank, due_date, first_id, touched) \
             SELECT id, queue_id, name, rank, due_date, id, touched FROM unnest($1::bigint[], $2::bigint[], $3::text[], \
             $4::smallint[], $5::bigint[], $6::boolean[]) AS added (id, queue_id, name, rank, due_date, touched)";
        if self.id.is_empty() {
            return Ok(());
        }
        session
            .enqueue(SQL, &[&self.id, &self.queue_id, &self.name, &self.rank, &self.due_date, &self.touched])
    }
}
