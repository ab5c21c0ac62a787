//! A buffer of items taken ahead, and reports recorded behind.
//!
//! One feeder talks to the Orchestrator for all robots of the job: each of its calls records every report that
//! has come in and fills the buffer again. So a robot waits neither for its report nor for its next item, and
//! a commit holds as many of both as there are. The price: when the process dies, the items in the buffer
//! and those whose report was under way are Abandoned together. Both are bounded by `claim_ahead`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::Span;

use super::event::Ending;
use super::job::{Finished, Pauses, RunningJob, Verdict};
use super::supply::Received;
use crate::model::result::TransactionResult;
use crate::model::status::Status;
use crate::orchestrator::{Report, Result, Seen, Taken};

/// One robot's end of the buffer.
#[derive(Clone)]
pub(super) struct Ahead {
    job: Arc<RunningJob>,
    buffer: Arc<Buffer>,
    reports: mpsc::UnboundedSender<Handed>,
}

/// A report on its way, with its place among those that may be under way.
struct Handed {
    finished: Finished,
    place: Option<OwnedSemaphorePermit>,
}

struct Buffer {
    items: Mutex<VecDeque<Received>>,
    /// As many permits as items; closed when there will be no more.
    available: Semaphore,
    /// An item was taken out.
    consumed: Notify,
    reports_under_way: Arc<Semaphore>,
}

impl Buffer {
    fn items(&self) -> std::sync::MutexGuard<'_, VecDeque<Received>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The buffer for a job, and the feeder to be run beside its robots.
pub(super) fn buffer(job: Arc<RunningJob>, size: usize) -> (Ahead, Feeder) {
    let buffer = Arc::new(Buffer {
        items: Mutex::default(),
        available: Semaphore::new(0),
        consumed: Notify::new(),
        reports_under_way: Arc::new(Semaphore::new(size)),
    });
    let (reports, handed) = mpsc::unbounded_channel();
    let ahead = Ahead { job: job.clone(), buffer: buffer.clone(), reports };
    let feeder = Feeder {
        job,
        buffer,
        size,
        handed,
        pending: Vec::new(),
        seen_empty: None,
        look_again: Duration::ZERO,
        outstanding: 0,
        told: false,
    };
    (ahead, feeder)
}

impl Ahead {
    pub(super) async fn take(&mut self) -> Option<Received> {
        loop {
            self.buffer.available.acquire().await.ok()?.forget();
            if self.job.stop.is_stop_requested() {
                return None; // what is in the buffer goes back
            }
            let Some(received) = self.buffer.items().pop_front() else { continue };
            self.buffer.consumed.notify_one();
            if received.claimed.claim.job() == self.job.key() {
                return Some(received);
            }
            // Taken before the job lost its lease: somebody else may be at work on it already.
            self.report(not_begun(&received)).await;
        }
    }

    pub(super) async fn report(&mut self, finished: Finished) {
        let place = self.buffer.reports_under_way.clone().acquire_owned().await.ok();
        // The feeder outlives the robots; should it have died, the job is Faulted and the item Abandoned.
        let _ = self.reports.send(Handed { finished, place });
    }
}

/// The report on an item that no robot has begun with.
fn not_begun(received: &Received) -> Finished {
    Finished {
        report: Report {
            claim: received.claimed.claim,
            result: TransactionResult::GivenBack,
            progress: None,
        },
        instead: None,
        remark: None,
        span: Span::none(),
        duration: Duration::ZERO,
    }
}

/// Robots that wait for items wait no longer, however the feeder ends.
impl Drop for Feeder {
    fn drop(&mut self) {
        self.buffer.available.close();
    }
}

pub(super) struct Feeder {
    job: Arc<RunningJob>,
    buffer: Arc<Buffer>,
    size: usize,
    handed: mpsc::UnboundedReceiver<Handed>,
    pending: Vec<Handed>,
    /// The queue had nothing when it was looked at last.
    seen_empty: Option<Seen>,
    /// How long to wait at most before it is looked at again.
    look_again: Duration,
    /// Items taken whose report is not recorded yet.
    outstanding: usize,
    told: bool,
}

/// The most reports in one call.
const MOST_REPORTS: usize = 4_096;

/// What a call was answered about the reports that went with it.
#[derive(Default)]
struct Answered {
    reports: Vec<(Handed, Result<Status>)>,
    /// The performer had been killed before the call: nothing of it is tried again.
    last_try: bool,
}

impl Feeder {
    pub(super) async fn run(mut self) {
        let mut pauses = self.job.pauses();
        // Gone through while the next call is under way: neither the store nor the robots wait for it.
        let mut answered = Answered::default();
        loop {
            while self.pending.len() < MOST_REPORTS
                && let Ok(handed) = self.handed.try_recv()
            {
                self.pending.push(handed);
            }
            if self.is_over() {
                self.give_back();
                let nothing_left =
                    self.pending.is_empty() && self.handed.is_empty() && answered.reports.is_empty();
                if nothing_left && self.nobody_will_report() {
                    return;
                }
            }
            let wanted = self.wanted();
            let done = if self.pending.is_empty() && wanted == 0 {
                if answered.reports.is_empty() {
                    self.wait().await;
                    continue;
                }
                self.settle(std::mem::take(&mut answered))
            } else {
                self.exchange(wanted, &mut answered).await
            };
            if done {
                pauses.start_anew(&self.job);
            } else {
                self.pause(&mut pauses).await;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.job.stop.is_stop_requested() || self.job.drained.is_cancelled()
    }

    /// Every robot has ended; or, after a kill, those that are left are held by code that ignores it.
    fn nobody_will_report(&self) -> bool {
        let held = self.job.watches.iter().filter(|watch| watch.is_busy()).count();
        self.handed.is_closed()
            || self.job.stop.is_kill_requested() && self.handed.sender_strong_count() <= held
    }

    /// How many items to take: half of the buffer, once that is free, so that robots work on the other half while the call is
    /// under way. An empty queue is looked at again only with a report, which may have made a retry copy, or after a change.
    fn wanted(&self) -> usize {
        let room = self.size.saturating_sub(self.buffer.items().len());
        let half = self.size.div_ceil(2);
        let may_have_items = self.seen_empty.is_none() || !self.pending.is_empty();
        if room >= half && may_have_items && !self.is_over() { half } else { 0 }
    }

    /// One call: everything that is reported, and what is wanted. In the meantime, what the call before was
    /// answered. False: something is to be asked again.
    async fn exchange(&mut self, wanted: usize, answered: &mut Answered) -> bool {
        let now = self.pending.len().min(MOST_REPORTS);
        let later = self.pending.split_off(now);
        let handed = std::mem::replace(&mut self.pending, later);
        let reports: Vec<Report> = handed.iter().map(|handed| handed.finished.report.clone()).collect();
        let take = (wanted > 0).then(|| self.job.take(None, wanted));
        let (orchestrator, last_try) = (self.job.orchestrator.clone(), self.job.stop.is_kill_requested());
        let call = async move { orchestrator.report_and_take(reports, take).await };
        let before = std::mem::take(answered);
        let (answer, settled) = tokio::join!(biased; call, async { self.settle(before) });
        // Robots go on with others before the answers are gone through.
        let release = |(handed, answer): (Handed, Result<Status>)| {
            let place = handed.place.filter(|_| answer.is_err());
            (Handed { place, ..handed }, answer)
        };
        *answered =
            Answered { reports: handed.into_iter().zip(answer.reports).map(release).collect(), last_try };
        settled & (wanted == 0 || self.fill(answer.taken, answered))
    }

    /// Goes through the answers to reports. False: some are to be reported again.
    fn settle(&mut self, answered: Answered) -> bool {
        let Answered { reports, last_try } = answered;
        let mut everything_recorded = true;
        for (mut handed, answer) in reports {
            let replaced = handed.finished.instead.is_some();
            let ending = self.job.settle(&mut handed.finished, answer);
            let replaced = replaced && handed.finished.instead.is_none(); // and not yet reported as that
            match ending.or((last_try && !replaced).then_some(Ending::NotRecorded)) {
                Some(ending) => {
                    self.outstanding = self.outstanding.saturating_sub(1);
                    self.job.ended(&handed.finished, ending);
                }
                None => {
                    everything_recorded = false;
                    self.pending.push(handed);
                }
            }
        }
        everything_recorded
    }

    fn fill(&mut self, taken: Result<Taken>, answered: &mut Answered) -> bool {
        match taken {
            Ok(Taken { items, seen, withheld }) => {
                self.told = false;
                self.seen_empty = items.is_empty().then_some(seen);
                let poll_interval = self.job.settings.poll_interval;
                self.look_again = withheld.map_or(poll_interval, |time| time.min(poll_interval));
                let count = items.len();
                self.outstanding += count;
                self.buffer.items().extend(items.into_iter().map(Received::now));
                self.buffer.available.add_permits(count);
                if count > 0 || withheld.is_some() || !self.job.settings.until_empty {
                    return true;
                }
                // The reports of this call were recorded before its take: nothing is left that could make a copy.
                let settled = self.settle(std::mem::take(answered));
                if self.outstanding == 0 {
                    self.job.drained.cancel();
                }
                settled
            }
            Err(error) => {
                if let Verdict::Again = self.job.take_failed(&error)
                    && !std::mem::replace(&mut self.told, true)
                {
                    tracing::warn!(queue = %self.job.queue, %error, "nothing can be taken now; asking again");
                }
                false
            }
        }
    }

    /// There will be no more items, and those that nobody has begun go back into the queue.
    fn give_back(&mut self) {
        self.buffer.available.close();
        let items: Vec<_> = self.buffer.items().drain(..).collect();
        let given_back = items.iter().map(|item| Handed { finished: not_begun(item), place: None });
        self.pending.extend(given_back);
    }

    async fn wait(&mut self) {
        let (job, seen) = (self.job.clone(), self.seen_empty);
        let (over, killed) = (self.is_over(), self.job.stop.is_kill_requested());
        tokio::select! {
            biased;
            handed = self.handed.recv() => match handed {
                Some(handed) => self.pending.push(handed),
                // Every robot has ended.
                None => job.drained.cancel(),
            },
            () = job.stop.stop_requested(), if !over => {}
            () = job.stop.kill_requested(), if !killed => {}
            () = tokio::time::sleep(Duration::from_millis(100)), if killed => {}
            () = self.buffer.consumed.notified(), if !over && seen.is_none() => {}
            () = job.orchestrator.wait_for_items(&job.queue, seen.unwrap_or_default(), self.look_again),
                if !over && seen.is_some() => self.seen_empty = None,
        }
    }

    async fn pause(&self, pauses: &mut Pauses) {
        let stopping = self.job.stop.is_stop_requested();
        tokio::select! {
            biased;
            () = self.job.stop.kill_requested() => {}
            () = self.job.stop.stop_requested(), if !stopping => {}
            () = pauses.pause(&self.job) => {}
        }
    }
}
