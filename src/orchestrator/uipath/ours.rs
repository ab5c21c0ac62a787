//! What is ours: which items InProgress, and the job of the Orchestrator that this program runs in.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::super::Result;
use super::Inner;
use super::call::Call;
use super::request::Failed;
use crate::wire::Collection;
use crate::wire::item::{ItemOwner, QueueItemDto};
use crate::wire::job::JobDto;

/// How far what we think of the server's clock may be off: by as much as an answer took.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// After how many refusals the state of our job is not asked for any more.
const MOST_REFUSALS: u32 = 3;

/// What a server told of its clock: `told` was its time at some moment between `sent` and `heard`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    sent: Instant,
    heard: Instant,
    told: Timestamp,
}

/// The time at `moment`, when it was `time` at `then`.
fn shifted(time: Timestamp, then: Instant, moment: Instant) -> Option<Timestamp> {
    match moment.checked_duration_since(then) {
        Some(later) => time.checked_add(later),
        None => time.checked_sub(then.duration_since(moment)),
    }
    .ok()
}

/// By what our items are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ours {
    robot: Option<i64>,
    /// The job that the server sees us in, where it is not told of one.
    executor: Option<uuid::Uuid>,
}

impl Inner {
    pub(super) fn ours(&self) -> MutexGuard<'_, Ours> {
        self.shared.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an item that is InProgress can be told to be ours.
    pub(super) fn can_tell_its_items(&self) -> bool {
        self.job_key.is_some()
            || !self.shared.robot_is_shared.load(Ordering::Relaxed) && self.ours().robot.is_some()
    }

    /// Whether an item is InProgress for us: in our job, where both are known, or for our robot.
    pub(super) fn is_ours(&self, item: &ItemOwner) -> bool {
        if let (Some(ours), Some(of_item)) = (self.job_key, item.executor_job_key) {
            return ours == of_item;
        }
        let ours = *self.ours();
        !self.shared.robot_is_shared.load(Ordering::Relaxed)
            && ours.robot.is_some()
            && item.robot_id == ours.robot
            && item.executor_job_key == ours.executor
    }

    /// An item that was just handed out, by a take that was sent then, tells the number of our robot, and what time it is
    /// there.
    pub(super) fn learn_from(&self, item: &QueueItemDto, sent: Instant) {
        if item.robot_id.is_some() {
            *self.ours() = Ours { robot: item.robot_id, executor: item.executor_job_key };
        }
        self.learn_time_from(item, sent);
    }

    /// An item that was handed out between `sent` and now tells what time it is there.
    fn learn_time_from(&self, item: &QueueItemDto, sent: Instant) {
        if let Some(start) = item.start_processing {
            *self.server_clock() = Some(ServerClock { sent, heard: Instant::now(), told: start.0 });
        }
    }

    /// The same for an item whose answer was lost, where nothing better is known.
    pub(super) fn learn_time_from_lost(&self, item: &QueueItemDto, sent: Instant) {
        if self.server_clock().is_none() {
            self.learn_time_from(item, sent);
        }
    }

    fn server_clock(&self) -> MutexGuard<'_, Option<ServerClock>> {
        self.shared.server_clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What time it was at the server, at the latest: a bit earlier, for answers that were slow. `None` before it told.
    pub(super) fn server_time_at(&self, moment: Instant) -> Option<Timestamp> {
        let clock = (*self.server_clock())?;
        shifted(clock.told, clock.heard, moment)?.checked_sub(CLOCK_TOLERANCE / self.http.pace.hurry).ok()
    }

    /// What time it is at the server: not before the first of these times, and not after the second. Before it told, both
    /// are what this machine thinks.
    pub(super) fn server_time(&self) -> (Timestamp, Timestamp) {
        let now = Instant::now();
        let clock = *self.server_clock();
        let told = clock.and_then(|clock| {
            let earliest = shifted(clock.told, clock.heard, now)?;
            Some((earliest, shifted(clock.told, clock.sent, now)?))
        });
        told.unwrap_or_else(|| (self.now(), self.now()))
    }

    /// The job we run in, as the Orchestrator sees it. `None` where it cannot be asked.
    pub(super) async fn own_job(&self, by_the_heart: bool) -> Result<Option<JobDto>> {
        let Some(key) = self.job_key.filter(|_| !self.job_is_hidden.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        let lane =
            |call: Call| if by_the_heart { call.of_the_job().by_the_heart() } else { call.of_the_job() };
        // By its number: the list counts against a limit (orchestrator-api 3).
        let id = self.job_id.load(Ordering::Relaxed);
        let answer = if id != 0 {
            self.http.json::<JobDto>(lane(Call::get("GetJob", format!("/odata/Jobs({id})")))).await.map(Some)
        } else {
            let call = Call::get("GetJobs", "/odata/Jobs")
                .query("$filter", format!("Key eq {key}"))
                .query("$expand", "Robot")
                .query("$top", "1");
            let page = self.http.json::<Collection<JobDto>>(lane(call)).await;
            page.map(|page| page.value.into_iter().next())
        };
        match answer {
            Ok(Some(job)) => {
                self.job_id.store(job.id, Ordering::Relaxed);
                let mut ours = self.ours();
                ours.robot = ours.robot.or(job.robot.as_ref().and_then(|robot| robot.id));
                drop(ours);
                self.job_refusals.store(0, Ordering::Relaxed);
                Ok(Some(job))
            }
            Ok(None) => {
                self.job_is_hidden.store(true, Ordering::Relaxed);
                tracing::warn!(%key, "the Orchestrator does not show the job of this key; it cannot be stopped from there");
                Ok(None)
            }
            Err(Failed { error, .. }) if error.is_temporary() => Err(error),
            Err(Failed { error, .. }) => {
                let refusals = self.job_refusals.fetch_add(1, Ordering::Relaxed) + 1;
                if refusals == MOST_REFUSALS {
                    self.job_is_hidden.store(true, Ordering::Relaxed);
                    tracing::warn!(%key, %error, "the state of the job cannot be read; it cannot be stopped from the Orchestrator");
                }
                Ok(None)
            }
        }
    }
}
