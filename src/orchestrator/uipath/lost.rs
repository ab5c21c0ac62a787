//! Finding items whose answer was lost.
//!
//! A StartTransaction that broke off may have been executed: the Orchestrator then has an item InProgress that no
//! robot knows of, and would keep it so for a day. So the queue is looked through for items InProgress that are ours
//! and that nobody here was told of, several times within a minute, and what is found is handed to the next robot.
//! Ours is what carries the key of the job we run in, or else the number of our robot; a number that proves to be
//! shared is trusted no more. What is judged is judged while no take is under way, so that an item on its way to its
//! robot is not taken for a lost one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::Result;
use super::Inner;
use super::call::Call;
use super::queue::Queue;
use super::request::Failed;
use super::take::get_item;
use super::unreadable::Read;
use crate::model::status::Status;
use crate::wire::item::{ItemOwner, QueueItemDto};
use crate::wire::json;

impl Inner {
    /// What is InProgress when a job starts, and not known here, is none of its items, whoever's it is.
    pub(super) async fn note_what_others_hold(&self, queue: &Arc<Queue>) -> Result<()> {
        self.look_for_the_last_time(queue).await; // what another job of ours still looks for is not somebody else's
        let rows = self.in_progress(queue).await?;
        let _nobody_takes = queue.taking.write().await;
        let (mut state, book) = (queue.state(), self.book());
        let pending = state.earliest_suspicion().and_then(|sent| self.server_time_at(sent));
        let of_others: Vec<ItemOwner> = rows
            .into_iter()
            .filter(|row| !book.knows(row) && !state.knows(row))
            .filter(|row| pending.zip(row.start_processing).is_none_or(|(pending, start)| start.0 < pending))
            .collect();
        let ours: Vec<i64> = of_others.iter().filter(|row| self.is_ours(row)).map(|row| row.id).collect();
        if !ours.is_empty() {
            tracing::warn!(
                queue = %queue.name,
                items = ?ours,
                "items are InProgress for this robot and not known here: a run that died left them, or another process \
                 uses the same robot key. Give every process a robot of its own"
            );
        }
        state.leave_to_others(&of_others);
        Ok(())
    }

    /// Looks for items whose answer was lost, if it is time to. What cannot be looked for now is looked for later.
    pub(super) async fn look_for_lost_items(&self, queue: &Arc<Queue>) {
        let _one_looks = queue.looking.lock().await;
        if queue.state().is_look_due(&self.http.pace) {
            self.look_now(queue).await;
        }
    }

    /// Looks whether it is time to or not.
    pub(super) async fn look_for_the_last_time(&self, queue: &Arc<Queue>) {
        let _one_looks = queue.looking.lock().await;
        if !queue.state().suspicions.is_empty() {
            self.look_now(queue).await;
        }
    }

    async fn look_now(&self, queue: &Arc<Queue>) {
        if !self.can_tell_its_items() {
            if queue.state().cannot_tell(&self.http.pace) > 0 {
                tracing::error!(queue = %queue.name, "{NOT_FOUND}");
            }
            return;
        }
        let candidates = match self.candidates(queue).await {
            Ok(candidates) => candidates,
            Err(error) => {
                queue.state().could_not_look(&self.http.pace);
                tracing::warn!(queue = %queue.name, %error, "items whose answer was lost cannot be looked for now");
                return;
            }
        };
        // Whatever was on its way when the list was read is known from here on.
        let _nobody_takes = queue.taking.write().await;
        let (mut state, mut book) = (queue.state(), self.book());
        let is_known = |item: &QueueItemDto| book.knows(&item.into()) || state.knows(&item.into());
        let unknown = candidates.into_iter().filter(|item| !is_known(item));
        // What carries the key of our job is ours, whatever else there is.
        let (mut taken_up, by_number): (Vec<_>, Vec<_>) =
            unknown.partition(|item| self.job_key.is_some() && item.executor_job_key == self.job_key);
        // What was started before the first lost take was sent is not one of those.
        let earliest = state.earliest_suspicion().and_then(|sent| self.server_time_at(sent));
        let (lost, older): (Vec<_>, Vec<_>) = by_number.into_iter().partition(|item| {
            earliest.zip(item.start_processing).is_none_or(|(earliest, start)| start.0 >= earliest)
        });
        // It may be of a take that was given up; otherwise somebody else uses the robot.
        let given_up = state.earliest_dropped().and_then(|sent| self.server_time_at(sent));
        let is_of_others = |item: &QueueItemDto| {
            given_up.zip(item.start_processing).is_none_or(|(given_up, start)| start.0 < given_up)
        };
        let suspected = state.suspicions.len();
        if lost.len() > suspected || older.iter().any(is_of_others) {
            let ids: Vec<i64> = lost.iter().chain(&older).map(|item| item.id).collect();
            self.shared.robot_is_shared.store(true, Ordering::Relaxed);
            tracing::error!(
                queue = %queue.name,
                items = ?ids,
                suspected,
                "items are InProgress for this robot that this process did not take: another process uses the same robot \
                 key. From now on none is taken up by it; give every process a robot of its own"
            );
            let rows: Vec<ItemOwner> = lost.iter().chain(&older).map(ItemOwner::from).collect();
            state.leave_to_others(&rows);
        } else {
            if !older.is_empty() {
                let ids: Vec<i64> = older.iter().map(|item| item.id).collect();
                tracing::error!(queue = %queue.name, items = ?ids, "these items came when nobody looked for them any more; they stay InProgress");
                let rows: Vec<ItemOwner> = older.iter().map(ItemOwner::from).collect();
                state.leave_to_others(&rows);
            }
            taken_up.extend(lost);
        }
        if !taken_up.is_empty() {
            let ids: Vec<i64> = taken_up.iter().map(|item| item.id).collect();
            tracing::warn!(queue = %queue.name, items = ?ids, "the answers that handed these items out were lost; they are taken up");
        }
        let first_sent = state.earliest_suspicion();
        for item in taken_up {
            book.expect(item.id);
            if let Some(sent) = first_sent {
                self.learn_time_from_lost(&item, sent);
            }
            state.explain(item.start_processing, |sent| self.server_time_at(sent));
            state.found.push_back(item);
        }
        state.looked(&self.http.pace);
    }

    /// Items InProgress that are ours and that nobody here seems to have been told of, as they are now.
    async fn candidates(&self, queue: &Queue) -> Result<Vec<QueueItemDto>> {
        if !self.can_tell_its_items() {
            return Ok(Vec::new());
        }
        let mut candidates = Vec::new();
        for row in self.in_progress(queue).await? {
            let is_known = { queue.state().knows(&row) || self.book().knows(&row) };
            if is_known || !self.is_ours(&row) {
                continue;
            }
            // Lists lag behind; the item itself does not.
            match self.http.call(get_item(row.id), Read::of).await {
                Ok(Read::Whole(item)) if item.status.known() == Some(Status::InProgress) => {
                    candidates.push(*item);
                }
                Ok(Read::Whole(_)) => {}
                Ok(Read::NumberAlone(_, why)) => {
                    tracing::error!(
                        item = row.id,
                        why,
                        "an item of ours cannot be read; it stays InProgress"
                    );
                    queue.state().leave_to_others([&row]);
                }
                Err(Failed { error, .. }) if error.is_surely_gone() => {}
                Err(failed) => return Err(failed.error),
            }
        }
        candidates.retain(|item| self.is_ours(&item.into()));
        Ok(candidates)
    }

    /// The items InProgress of a queue. Rows that cannot be read are passed over: they are not what got lost here.
    async fn in_progress(&self, queue: &Queue) -> Result<Vec<ItemOwner>> {
        let about = self.about(queue).await?;
        let wanted = format!("QueueDefinitionId eq {} and Status eq 'InProgress'", about.id);
        let call = Call::get("GetQueueItems", "/odata/QueueItems")
            .query("$filter", &wanted)
            .query("$orderby", "Id desc");
        let rows = self.http.row_texts(call, MOST_PAGES).await?;
        let mut rows: Vec<ItemOwner> =
            rows.iter().filter_map(|row| json::response(row.as_bytes()).ok()).collect();
        rows.dedup_by_key(|row| row.id);
        Ok(rows)
    }
}

const NOT_FOUND: &str = "the answer to a take was lost, and what it may have handed out could not be found: such an item \
    stays InProgress until the Orchestrator abandons it";

/// The most pages of items InProgress that are looked through.
const MOST_PAGES: usize = 10;
