//! One robot: opens its applications, then claims, processes and reports one item after another.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::Instrument;

use super::catch_panic::{self, UserFuture, drop_quietly, log};
use super::erased::{AnyTransaction, Factory};
use super::event::PerformerEvent;
use super::item::TransactionItem;
use super::item_source::{ItemSource, ReceivedItem};
use super::job::{Fallback, FinishedTransaction, RunningJob};
use super::transaction_span;
use crate::exception::Exception;
use crate::model::Outcome;
use crate::orchestrator::Report;
use performer_core::crash_point;
use performer_core::outcome::{self, ReportedResult, RunOutcome};

pub(super) struct Robot {
    job: Arc<RunningJob>,
    number: u32,
    make: Factory,
    item_source: ItemSource,
    transaction: Box<dyn AnyTransaction>,
    /// A panic may have left the transaction's value inconsistent; it is replaced before the next item.
    poisoned: bool,
}

/// The next step of a robot. These are REFramework's states: Initialization, Get Transaction Data, Process Transaction
/// (with its report), End Process.
#[expect(clippy::large_enum_variant, reason = "one value per robot; a box would cost an allocation per item")]
enum Step {
    Open,
    Claim,
    Process(ReceivedItem),
    Report(FinishedTransaction),
    Reopen,
    Close,
    Done,
}

impl Robot {
    pub(super) fn new(
        job: Arc<RunningJob>,
        number: u32,
        make: Factory,
        item_source: ItemSource,
    ) -> Result<Self, String> {
        let transaction = catch_panic::call(|| make())?;
        Ok(Self { job, number, make, item_source, transaction, poisoned: false })
    }

    pub(super) async fn run(mut self) {
        let mut step = Step::Open;
        loop {
            step = match step {
                Step::Open => self.open().await,
                Step::Claim => self.item_source.claim().await.map_or(Step::Close, Step::Process),
                Step::Process(received) => Step::Report(self.process(received).await),
                Step::Report(finished) => self.report(finished).await,
                Step::Reopen => self.reopen().await,
                Step::Close => {
                    self.close().await;
                    Step::Done
                }
                Step::Done => break,
            };
        }
        drop_quietly(self.transaction);
    }

    async fn open(&mut self) -> Step {
        if self.job.stop.is_stop_requested() {
            return Step::Done; // nothing is open
        }
        let mut opening = self.transaction.open();
        let opened = until_killed(&self.job, self.number, &mut opening).await;
        drop_quietly(opening);
        match opened {
            Some(Ok(Ok(()))) => {
                self.job.emit(&PerformerEvent::ApplicationsOpened { robot: self.number });
                Step::Claim
            }
            None => Step::Close,
            Some(Ok(Err(exception))) => self.not_opened(&exception.to_string()),
            Some(Err(panic)) => self.not_opened(&format!("panicked: {panic}")),
        }
    }

    fn not_opened(&self, reason: &str) -> Step {
        self.job.fault(format!("robot {} could not open its applications: {reason}", self.number));
        Step::Close
    }

    async fn process(&mut self, received: ReceivedItem) -> FinishedTransaction {
        let job = &self.job;
        let item = TransactionItem::new(job, received, self.number);
        let span = transaction_span::of(job, &item, self.number);
        let watchdog = &job.watchdogs[self.number as usize - 1];
        watchdog.start_item(item.id());
        job.emit(&PerformerEvent::TransactionStarted { item: item.id(), robot: self.number });
        let ended = perform(&mut *self.transaction, &item, job, self.number).instrument(span.clone()).await;
        self.poisoned |= matches!(ended, RunOutcome::Panicked(_));
        let ended_at = Instant::now();
        let store_time = item.store_time(ended_at);
        let ReportedResult { result, ask, fallback, remark } = outcome::reported_result(ended, store_time);
        let mut fallback = fallback.map(Fallback::Result);
        let follow_ups = item.follow_ups_of(&result);
        let mut report = Report::new(item.claim(), result).follow_ups(follow_ups);
        if !report.follow_ups.is_empty() {
            fallback = Some(Fallback::WithoutFollowUps { ended_at: store_time });
        }
        if let Some(task) = ask {
            (report, fallback) = match job.check_ask(&task) {
                Ok(()) => (report.ask(*task), Some(Fallback::WithoutTask { ended_at: store_time })),
                Err(reason) => {
                    let result = outcome::ask_refused(&reason, store_time).result;
                    (Report::new(item.claim(), result), None)
                }
            };
        }
        if let Err(reason) = job.check_follow_ups(&report) {
            let result = outcome::success_refused(&reason, store_time).result;
            (report, fallback) = (Report::new(item.claim(), result), None);
        }
        watchdog.end_item();
        transaction_span::ended(&span, &item, &report.result);
        if report.follow_ups.is_empty() {
            job.count_outcome(report.result.outcome()); // with follow-ups it may still be refused
        }
        report.progress = item.unsent_progress().take();
        FinishedTransaction { report, fallback, remark, span, duration: item.duration(ended_at) }
    }

    /// After an ApplicationException the applications are reopened before the next claim; otherwise the report and the next
    /// claim are one call.
    async fn report(&mut self, finished: FinishedTransaction) -> Step {
        if finished.report.result.outcome() == Some(Outcome::ApplicationException) {
            self.item_source.report(finished).await;
            return Step::Reopen;
        }
        self.item_source.report_and_claim(finished).await.map_or(Step::Claim, Step::Process)
    }

    async fn reopen(&mut self) -> Step {
        self.close().await;
        if self.poisoned && !self.job.stop.is_stop_requested() {
            match catch_panic::call(|| (self.make)()) {
                Ok(fresh) => drop_quietly(std::mem::replace(&mut self.transaction, fresh)),
                Err(panic) => {
                    self.job.fault(format!(
                        "robot {} could not be created again: panicked: {panic}",
                        self.number
                    ));
                    return Step::Done;
                }
            }
            self.poisoned = false;
        }
        Step::Open
    }

    async fn close(&mut self) {
        let mut closing = self.transaction.close();
        let closed = until_killed(&self.job, self.number, &mut closing).await;
        drop_quietly(closing);
        let error = match closed {
            None => return,
            Some(Ok(Ok(()))) => None,
            Some(Ok(Err(exception))) => Some(exception.to_string()),
            Some(Err(panic)) => Some(format!("panicked: {panic}")),
        };
        if let Some(reason) = &error {
            log!(warn, robot = self.number, reason, "the applications could not be closed");
        }
        self.job.emit(&PerformerEvent::ApplicationsClosed { robot: self.number, error });
    }
}

/// Runs user code that opens or closes applications. `None` if the performer was killed meanwhile.
async fn until_killed(
    job: &RunningJob,
    robot: u32,
    future: &mut UserFuture<'_, Result<(), Exception>>,
) -> Option<Result<Result<(), Exception>, String>> {
    let watchdog = &job.watchdogs[robot as usize - 1];
    tokio::select! {
        biased;
        ended = catch_panic::run(future, watchdog) => Some(ended),
        () = job.stop.kill_requested() => None,
    }
}

async fn perform(
    transaction: &mut dyn AnyTransaction,
    item: &TransactionItem,
    job: &RunningJob,
    robot: u32,
) -> RunOutcome {
    if job.stop.is_kill_requested() {
        return RunOutcome::Interrupted; // claimed in the same call as the last report; it must not start
    }
    let mut running = match catch_panic::call(|| transaction.begin(item)) {
        Ok(Ok(running)) => running,
        Ok(Err(reason)) => return RunOutcome::ContentMismatch(reason),
        Err(panic) => return RunOutcome::Panicked(panic),
    };
    crash_point!("claim.after_reply");
    let ended = tokio::select! {
        biased;
        ended = catch_panic::run(&mut running, &job.watchdogs[robot as usize - 1]) => match ended {
            Ok(returned) => RunOutcome::Returned(returned),
            Err(panic) => RunOutcome::Panicked(panic),
        },
        () = job.stop.kill_requested() => RunOutcome::Interrupted,
        limit = time_limit(job) => RunOutcome::TimedOut(limit),
        () = item.unsent_progress().send_all(&*job.orchestrator, item.claim()) => unreachable!("it never returns"),
    };
    drop_quietly(running);
    if matches!(ended, RunOutcome::Interrupted) {
        // What is given back is not for a robot of this job that waits for an item.
        job.orchestrator.give_up_claims(job.key());
    }
    crash_point!("process.after_return");
    ended
}

async fn time_limit(job: &RunningJob) -> std::time::Duration {
    match job.settings.time_limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}
