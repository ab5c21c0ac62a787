//! Recovery of items whose answers were lost.
//!
//! A StartTransaction whose connection broke may have been executed: then the Orchestrator has an item InProgress that no
//! robot knows, and keeps it for a day. So after such a call the queue is searched several times within a minute for items
//! InProgress that belong to this process and that it has not received; the next robot gets them. An item belongs to this
//! process if it carries the key of its job, or else the id of its robot; the id is ignored once it proves to be shared. The
//! search results are evaluated while no claim is in flight, so that an item that is just being received is not taken
//! for a lost one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Inner;
use super::call::{Call, CallError};
use super::claim::get_item;
use super::queue::{Queue, QueueState};
use super::unreadable::ItemAnswer;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;
use performer_wire::item::{ItemOwner, QueueItemDto};
use performer_wire::json;

impl Inner {
    /// Records the items that are InProgress when a job starts: unless they are known here, they belong to others.
    pub(super) async fn record_foreign_attempts(&self, queue: &Arc<Queue>) -> Result<()> {
        self.recover_before_end(queue).await; // items that another job of this process lost must not be recorded as foreign
        let rows = self.in_progress(queue).await?;
        let _no_claims = queue.claiming.write().await;
        let (mut state, registry) = (queue.state(), self.registry());
        let pending = state.earliest_unanswered().and_then(|sent| self.server_time_at(sent));
        let of_others: Vec<ItemOwner> = rows
            .into_iter()
            .filter(|row| !registry.knows(row) && !state.knows(row))
            .filter(|row| pending.zip(row.start_processing).is_none_or(|(pending, start)| start.0 < pending))
            .collect();
        let ours: Vec<i64> = of_others.iter().filter(|row| self.is_own(row)).map(|row| row.id).collect();
        if !ours.is_empty() {
            tracing::warn!(
                queue = %queue.name,
                items = ?ours,
                "unknown items are InProgress for this robot: a previous run left them when it died, or another process uses \
                 the same robot key. Give every process its own robot"
            );
        }
        state.record_foreign(&of_others);
        Ok(())
    }

    /// Runs a recovery if one is due. If it fails, it is repeated later.
    pub(super) async fn recover_lost_items(&self, queue: &Arc<Queue>) {
        let _recovering = queue.recovering.lock().await;
        if queue.state().is_recovery_due(&self.http.timing) {
            self.run_recovery(queue).await;
        }
    }

    /// Runs a recovery if any claim was not answered, even if none is due.
    pub(super) async fn recover_before_end(&self, queue: &Arc<Queue>) {
        let _recovering = queue.recovering.lock().await;
        if !queue.state().unanswered_claims.is_empty() {
            self.run_recovery(queue).await;
        }
    }

    async fn run_recovery(&self, queue: &Arc<Queue>) {
        if !self.can_identify_own_items() {
            if queue.state().expire_unanswered(&self.http.timing) > 0 {
                tracing::error!(queue = %queue.name, "{UNRECOVERED}");
            }
            return;
        }
        let candidates = match self.candidates(queue).await {
            Ok(candidates) => candidates,
            Err(error) => {
                queue.state().delay_recovery(&self.http.timing);
                tracing::warn!(queue = %queue.name, %error, "the search for lost items failed; retrying later");
                return;
            }
        };
        // All claims in flight when the list was read are registered once the lock is held.
        let _no_claims = queue.claiming.write().await;
        let (mut state, mut registry) = (queue.state(), self.registry());
        let is_known = |item: &QueueItemDto| registry.knows(&item.into()) || state.knows(&item.into());
        let unknown = candidates.into_iter().filter(|item| !is_known(item)).collect();
        let recovered_now = self.select_lost(&queue.name, &mut state, unknown);
        if !recovered_now.is_empty() {
            let ids: Vec<i64> = recovered_now.iter().map(|item| item.id).collect();
            tracing::warn!(queue = %queue.name, items = ?ids, "recovered items whose answers were lost");
        }
        let first_sent = state.earliest_unanswered();
        for item in recovered_now {
            registry.expect(item.id);
            if let Some(sent) = first_sent {
                self.learn_server_time_if_unknown(&item, sent);
            }
            state.resolve_unanswered(item.start_processing, |sent| self.server_time_at(sent));
            state.recovered.push_back(item);
        }
        state.recovery_attempted(&self.http.timing);
    }

    /// Selects the lost items among unknown ones that look like own items, and records the others as foreign.
    fn select_lost(
        &self,
        queue: &str,
        state: &mut QueueState,
        unknown: Vec<QueueItemDto>,
    ) -> Vec<QueueItemDto> {
        // Items with the key of the own job are own ones in any case.
        let (mut lost, by_robot): (Vec<_>, Vec<_>) = unknown
            .into_iter()
            .partition(|item| self.job_key.is_some() && item.executor_job_key == self.job_key);
        // Items started before the first unanswered claim was sent do not belong to any of them.
        let earliest = state.earliest_unanswered().and_then(|sent| self.server_time_at(sent));
        let (recent, older): (Vec<_>, Vec<_>) = by_robot.into_iter().partition(|item| {
            earliest.zip(item.start_processing).is_none_or(|(earliest, start)| start.0 >= earliest)
        });
        // They may belong to a claim whose recovery was given up; otherwise another process uses the robot.
        let given_up = state.earliest_dropped().and_then(|sent| self.server_time_at(sent));
        let is_foreign = |item: &QueueItemDto| {
            given_up.zip(item.start_processing).is_none_or(|(given_up, start)| start.0 < given_up)
        };
        let unanswered = state.unanswered_claims.len();
        if recent.len() > unanswered || older.iter().any(is_foreign) {
            let ids: Vec<i64> = recent.iter().chain(&older).map(|item| item.id).collect();
            self.shared.robot_is_shared.store(true, Ordering::Relaxed);
            tracing::error!(
                %queue,
                items = ?ids,
                unanswered,
                "items are InProgress for this robot that this process did not claim: another process uses the same robot \
                 key. Lost items can no longer be recovered by it; give every process its own robot"
            );
            let rows: Vec<ItemOwner> = recent.iter().chain(&older).map(ItemOwner::from).collect();
            state.record_foreign(&rows);
            return lost;
        }
        if !older.is_empty() {
            let ids: Vec<i64> = older.iter().map(|item| item.id).collect();
            tracing::error!(%queue, items = ?ids, "these items were handed out too late to be recovered; they stay InProgress");
            let rows: Vec<ItemOwner> = older.iter().map(ItemOwner::from).collect();
            state.record_foreign(&rows);
        }
        lost.extend(recent);
        lost
    }

    /// Reads the items InProgress that belong to this process and that it has not received.
    async fn candidates(&self, queue: &Queue) -> Result<Vec<QueueItemDto>> {
        if !self.can_identify_own_items() {
            return Ok(Vec::new());
        }
        let mut candidates = Vec::new();
        for row in self.in_progress(queue).await? {
            let is_known = { queue.state().knows(&row) || self.registry().knows(&row) };
            if is_known || !self.is_own(&row) {
                continue;
            }
            // Lists may be stale; the item itself is not.
            match self.http.call(get_item(row.id), ItemAnswer::of).await {
                Ok(ItemAnswer::Complete(item)) if item.status.known() == Some(Status::InProgress) => {
                    candidates.push(*item);
                }
                Ok(ItemAnswer::Complete(_)) => {}
                Ok(ItemAnswer::IdOnly(_, why)) => {
                    tracing::error!(item = row.id, why, "an own item cannot be read; it stays InProgress");
                    queue.state().record_foreign([&row]);
                }
                Err(CallError { error, .. }) if error.is_confirmed_not_found() => {}
                Err(failed) => return Err(failed.error),
            }
        }
        candidates.retain(|item| self.is_own(&item.into()));
        Ok(candidates)
    }

    /// Lists the items InProgress of a queue. Rows that cannot be read are skipped.
    async fn in_progress(&self, queue: &Queue) -> Result<Vec<ItemOwner>> {
        let info = self.queue_info(queue).await?;
        let wanted = format!("QueueDefinitionId eq {} and Status eq 'InProgress'", info.id);
        let call = Call::get("GetQueueItems", "/odata/QueueItems")
            .query("$filter", &wanted)
            .query("$orderby", "Id desc");
        let rows = self.http.row_texts(call, MAX_PAGES).await?;
        let mut rows: Vec<ItemOwner> =
            rows.iter().filter_map(|row| json::response(row.as_bytes()).ok()).collect();
        rows.dedup_by_key(|row| row.id);
        Ok(rows)
    }
}

const UNRECOVERED: &str = "the answer to a claim was lost, and the item that it may have handed out was not found: such an item \
    stays InProgress until the Orchestrator abandons it";

/// The maximum number of pages of items InProgress that are read.
const MAX_PAGES: usize = 10;
