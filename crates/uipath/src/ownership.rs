//! Which items InProgress belong to this process; its job in the Orchestrator; the server's clock.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Inner;
use super::call::{Call, CallError};
use performer_core::orchestrator::Result;
use performer_wire::Collection;
use performer_wire::item::{ItemOwner, QueueItemDto};
use performer_wire::job::JobDto;

/// The tolerance for the estimate of the server's clock, which is off by up to the duration of a request.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// The number of refusals after which the state of the own job is no longer read.
const MAX_REFUSALS: u32 = 3;

/// A reading of the server's clock: it showed `server_time` between `sent_at` and `received_at`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    sent_at: Instant,
    received_at: Instant,
    server_time: Timestamp,
}

/// The time at `moment`, given that it was `time` at `then`.
fn shifted(time: Timestamp, then: Instant, moment: Instant) -> Option<Timestamp> {
    match moment.checked_duration_since(then) {
        Some(later) => time.checked_add(later),
        None => time.checked_sub(then.duration_since(moment)),
    }
    .ok()
}

/// The properties by which own items are recognised.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnIdentity {
    robot: Option<i64>,
    /// The job that the server assigns to own items if this client does not name one.
    executor: Option<uuid::Uuid>,
}

impl Inner {
    pub(super) fn own_identity(&self) -> MutexGuard<'_, OwnIdentity> {
        self.shared.own_identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether own items can be recognised among those InProgress.
    pub(super) fn can_identify_own_items(&self) -> bool {
        self.job_key.is_some()
            || !self.shared.robot_is_shared.load(Ordering::Relaxed) && self.own_identity().robot.is_some()
    }

    /// Whether an item InProgress is an own one: by its job where both are known, otherwise by its robot.
    pub(super) fn is_own(&self, item: &ItemOwner) -> bool {
        if let (Some(ours), Some(of_item)) = (self.job_key, item.executor_job_key) {
            return ours == of_item;
        }
        let ours = *self.own_identity();
        !self.shared.robot_is_shared.load(Ordering::Relaxed)
            && ours.robot.is_some()
            && item.robot_id == ours.robot
            && item.executor_job_key == ours.executor
    }

    /// Learns the id of the own robot and the server's time from an item handed out by a request sent at `sent`.
    pub(super) fn learn_identity(&self, item: &QueueItemDto, sent: Instant) {
        if item.robot_id.is_some() {
            *self.own_identity() = OwnIdentity { robot: item.robot_id, executor: item.executor_job_key };
        }
        self.learn_server_time(item, sent);
    }

    /// Learns the server's time from an item handed out between `sent` and now.
    fn learn_server_time(&self, item: &QueueItemDto, sent: Instant) {
        if let Some(start) = item.start_processing {
            *self.server_clock() =
                Some(ServerClock { sent_at: sent, received_at: Instant::now(), server_time: start.0 });
        }
    }

    /// Learns the server's time from a recovered item, if there is no better reading.
    pub(super) fn learn_server_time_if_unknown(&self, item: &QueueItemDto, sent: Instant) {
        if self.server_clock().is_none() {
            self.learn_server_time(item, sent);
        }
    }

    fn server_clock(&self) -> MutexGuard<'_, Option<ServerClock>> {
        self.shared.server_clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lower bound for the server's time at a moment. `None` before the first reading.
    pub(super) fn server_time_at(&self, moment: Instant) -> Option<Timestamp> {
        let clock = (*self.server_clock())?;
        shifted(clock.server_time, clock.received_at, moment)?
            .checked_sub(CLOCK_TOLERANCE / self.http.timing.speedup)
            .ok()
    }

    /// A lower and an upper bound for the server's current time. Before the first reading both are this machine's time.
    pub(super) fn server_time(&self) -> (Timestamp, Timestamp) {
        let now = Instant::now();
        let clock = *self.server_clock();
        let told = clock.and_then(|clock| {
            let earliest = shifted(clock.server_time, clock.received_at, now)?;
            Some((earliest, shifted(clock.server_time, clock.sent_at, now)?))
        });
        told.unwrap_or_else(|| (self.now(), self.now()))
    }

    /// Reads the Orchestrator's job that this program runs in. `None` if there is none or it cannot be read.
    pub(super) async fn own_job(&self, on_heartbeat_thread: bool) -> Result<Option<JobDto>> {
        let Some(key) = self.job_key.filter(|_| !self.job_is_hidden.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        let lane = |call: Call| {
            if on_heartbeat_thread {
                call.about_own_job().on_heartbeat_thread()
            } else {
                call.about_own_job()
            }
        };
        // By its id once that is known: lists count against a rate limit (orchestrator-api 3).
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
                let mut ours = self.own_identity();
                ours.robot = ours.robot.or(job.robot.as_ref().and_then(|robot| robot.id));
                drop(ours);
                self.job_refusals.store(0, Ordering::Relaxed);
                Ok(Some(job))
            }
            Ok(None) => {
                self.job_is_hidden.store(true, Ordering::Relaxed);
                tracing::warn!(%key, "the Orchestrator does not list the job with this key, so it cannot stop this performer");
                Ok(None)
            }
            Err(CallError { error, .. }) if error.is_temporary() => Err(error),
            Err(CallError { error, .. }) => {
                let refusals = self.job_refusals.fetch_add(1, Ordering::Relaxed) + 1;
                if refusals == MAX_REFUSALS {
                    self.job_is_hidden.store(true, Ordering::Relaxed);
                    tracing::warn!(%key, %error, "the state of the job cannot be read, so the Orchestrator cannot stop this performer");
                }
                Ok(None)
            }
        }
    }
}
