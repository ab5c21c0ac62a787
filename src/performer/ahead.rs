//! A buffer of items taken ahead, and reports recorded behind.
//!
//! One feeder talks to the Orchestrator for all robots of the job: each of its calls records every report that
//! has come in and fills the buffer again. So a robot waits neither for its report nor for its next item, and
//! a commit holds as many of both as there are. Where the Orchestrator works on several calls at the same time, the feeder
//! makes as many, and each takes its part. The price: when the process dies, the items in the buffer
//! and those whose report was under way are Abandoned together. Both are bounded by `claim_ahead`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::Span;

use super::event::Ending;
use super::guard::log;
use super::job::{Finished, Pauses, RunningJob, Verdict};
use super::supply::Received;
use crate::model::result::TransactionResult;
use crate::model::status::Status;
use crate::orchestrator::{Report, ReportedAndTaken, Result, Seen, Taken};

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
    let most_calls = job.orchestrator.calls_side_by_side().max(1);
    let feeder = Feeder {
        job,
        buffer,
        size,
        most_calls,
        calls: Calls::default(),
        begun: 0,
        asked: 0,
        handed,
        pending: Vec::new(),
        nears_the_end: false,
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
    most_calls: usize,
    calls: Calls,
    /// How many calls have been begun.
    begun: u64,
    /// How many items the calls that are under way want.
    asked: usize,
    handed: mpsc::UnboundedReceiver<Handed>,
    pending: Vec<Handed>,
    /// The last take found nothing: calls are made one at a time, so that it is known when there is nothing left.
    nears_the_end: bool,
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

/// Calls that are under way.
#[derive(Default)]
struct Calls(Vec<Pin<Box<dyn Future<Output = Ended> + Send>>>);

/// A call that has ended.
struct Ended {
    handed: Vec<Handed>,
    wanted: usize,
    answer: ReportedAndTaken,
    /// The performer had been killed before the call: nothing of it is tried again.
    last_try: bool,
    /// Which call it was, if no other was under way when it began.
    alone: Option<u64>,
}

impl Calls {
    /// The next one that ends. They are asked in the order in which they were begun.
    async fn next(&mut self) -> Ended {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// One that has ended, if any has. Those that have just been begun are on their way then.
    async fn look(&mut self) -> Option<Ended> {
        let look = |context: &mut Context<'_>| match self.poll(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => Poll::Ready(None),
        };
        std::future::poll_fn(look).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        let mut ended = None;
        for (at, call) in self.0.iter_mut().enumerate() {
            if let Poll::Ready(answer) = call.as_mut().poll(context) {
                ended = Some((at, answer));
                break;
            }
        }
        let Some((at, answer)) = ended else { return Poll::Pending };
        drop(self.0.remove(at));
        Poll::Ready(answer)
    }
}

/// What a call was answered about the reports that went with it.
#[derive(Default)]
struct Answered {
    reports: Vec<(Handed, Result<Status>)>,
    last_try: bool,
}

impl Feeder {
    pub(super) async fn run(mut self) {
        let mut pauses = self.job.pauses();
        // Gone through while the next calls are under way: neither the store nor the robots wait for it.
        let mut answered = Answered::default();
        loop {
            self.receive();
            if self.is_over() {
                self.give_back();
                let nothing_left = self.pending.is_empty()
                    && self.handed.is_empty()
                    && self.calls.0.is_empty()
                    && answered.reports.is_empty();
                if nothing_left && self.nobody_will_report() {
                    return;
                }
            }
            while self.begin_call() {}
            let is_idle = self.calls.0.is_empty();
            let ended = if !answered.reports.is_empty() {
                self.calls.look().await
            } else if is_idle {
                self.wait().await;
                continue;
            } else {
                let Some(ended) = self.wait_for_a_call().await else { continue };
                Some(ended)
            };
            let has_ended = ended.is_some();
            let mut done = self.settle(std::mem::take(&mut answered));
            if let Some(ended) = ended {
                done &= self.end_call(ended, &mut answered);
            }
            if !done {
                // What is under way may bring something that robots wait for.
                while !self.calls.0.is_empty() {
                    let ended = self.calls.next().await;
                    self.settle(std::mem::take(&mut answered));
                    self.end_call(ended, &mut answered);
                }
                self.pause(&mut pauses).await;
            } else if has_ended || is_idle {
                pauses.start_anew(&self.job);
            }
        }
    }

    /// What robots have handed over.
    fn receive(&mut self) {
        while self.pending.len() < MOST_REPORTS
            && let Ok(handed) = self.handed.try_recv()
        {
            self.pending.push(handed);
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

    /// The part of the buffer that one call fills: so robots work on another one while all calls are under way.
    fn part(&self) -> usize {
        self.size.div_ceil(self.most_calls + 1)
    }

    /// How many items to take: a part of the buffer, once that is free. An empty queue is looked at again only with a report,
    /// which may have made a retry copy, or after a change.
    fn wanted(&self) -> usize {
        let room = self.size.saturating_sub(self.buffer.items().len() + self.asked);
        let may_have_items = self.seen_empty.is_none() || !self.pending.is_empty();
        if room >= self.part() && may_have_items && !self.is_over() { self.part() } else { 0 }
    }

    /// Begins a call with everything that is to be reported and what is wanted, if one can be begun. Beside others one is
    /// worth while that does as much as they do.
    fn begin_call(&mut self) -> bool {
        let is_first = self.calls.0.is_empty();
        if self.calls.0.len() >= self.most_calls || !is_first && self.nears_the_end {
            return false;
        }
        let wanted = self.wanted();
        let has_enough = if is_first { !self.pending.is_empty() } else { self.pending.len() >= self.part() };
        if wanted == 0 && !has_enough {
            return false;
        }
        let now = self.pending.len().min(MOST_REPORTS);
        let later = self.pending.split_off(now);
        let handed = std::mem::replace(&mut self.pending, later);
        let reports: Vec<Report> = handed.iter().map(|handed| handed.finished.report.clone()).collect();
        let take = (wanted > 0).then(|| self.job.take(None, wanted));
        self.begun += 1;
        self.asked += wanted;
        let alone = is_first.then_some(self.begun);
        let (orchestrator, last_try) = (self.job.orchestrator.clone(), self.job.stop.is_kill_requested());
        self.calls.0.push(Box::pin(async move {
            let answer = orchestrator.report_and_take(reports, take).await;
            Ended { handed, wanted, answer, last_try, alone }
        }));
        true
    }

    /// Waits until a call has ended, or another one may be worth while.
    async fn wait_for_a_call(&mut self) -> Option<Ended> {
        let over = self.is_over();
        let may_begin = self.calls.0.len() < self.most_calls && !self.nears_the_end;
        tokio::select! {
            biased;
            ended = self.calls.next() => Some(ended),
            Some(handed) = self.handed.recv(), if may_begin => {
                self.pending.push(handed);
                None
            }
            () = self.job.stop.stop_requested(), if may_begin && !over => None,
            () = self.buffer.consumed.notified(), if may_begin && !over => None,
        }
    }

    /// A call has ended: robots go on with what it took before its other answers are gone through. False: something is to be
    /// asked again.
    fn end_call(&mut self, ended: Ended, answered: &mut Answered) -> bool {
        let Ended { handed, wanted, answer, last_try, alone } = ended;
        self.asked -= wanted;
        let release = |(handed, answer): (Handed, Result<Status>)| {
            let place = handed.place.filter(|_| answer.is_err());
            (Handed { place, ..handed }, answer)
        };
        *answered =
            Answered { reports: handed.into_iter().zip(answer.reports).map(release).collect(), last_try };
        wanted == 0 || self.fill(answer.taken, answered, alone == Some(self.begun))
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

    /// `was_alone`: nothing else was under way that could have made a copy.
    fn fill(&mut self, taken: Result<Taken>, answered: &mut Answered, was_alone: bool) -> bool {
        match taken {
            Ok(Taken { items, seen, withheld }) => {
                self.told = false;
                self.nears_the_end = items.is_empty();
                self.seen_empty = (items.is_empty() && was_alone).then_some(seen);
                let poll_interval = self.job.settings.poll_interval;
                self.look_again = withheld.map_or(poll_interval, |time| time.min(poll_interval));
                let count = items.len();
                self.outstanding += count;
                self.buffer.items().extend(items.into_iter().map(Received::now));
                self.buffer.available.add_permits(count);
                if count > 0 || !was_alone || withheld.is_some() || !self.job.settings.until_empty {
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
                    log!(warn, queue = %self.job.queue, %error, "nothing can be taken now; asking again");
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

    async fn pause(&mut self, pauses: &mut Pauses) {
        let stopping = self.job.stop.is_stop_requested();
        tokio::select! {
            biased;
            () = self.job.stop.kill_requested() => {}
            () = self.job.stop.stop_requested(), if !stopping => {}
            () = pauses.pause(&self.job) => {}
        }
    }
}
