//! One robot: opens its applications, then takes, processes and reports one item after the other.

use std::sync::Arc;

use serde::Serialize;
use tracing::Instrument;

use super::event::PerformerEvent;
use super::guard::{self, UserFuture, drop_quietly, log};
use super::item::TransactionItem;
use super::job::{Finished, RunningJob};
use super::report::{self, Ended};
use super::supply::{Received, Supply};
use super::transaction::Transaction;
use crate::crash_point::crash_point;
use crate::exception::Exception;
use crate::model::result::Outcome;
use crate::orchestrator::Report;

pub(super) struct Robot<T> {
    job: Arc<RunningJob>,
    number: u32,
    make: Arc<dyn Fn() -> T + Send + Sync>,
    supply: Supply,
    transaction: T,
    /// A panic may have left the transaction's value half changed; it is replaced before the next item.
    spoilt: bool,
}

/// What a robot does next. REFramework's states: Initialization, Get Transaction Data, Process Transaction
/// (with its report), End Process.
#[expect(clippy::large_enum_variant, reason = "one a robot; a box would cost an allocation an item")]
enum Step {
    Open,
    Take,
    Process(Received),
    Report(Finished),
    Reopen,
    Close,
    Ended,
}

impl<T: Transaction> Robot<T> {
    pub(super) fn new(
        job: Arc<RunningJob>,
        number: u32,
        make: Arc<dyn Fn() -> T + Send + Sync>,
        supply: Supply,
    ) -> Result<Self, String> {
        let transaction = guard::call(|| make())?;
        Ok(Self { job, number, make, supply, transaction, spoilt: false })
    }

    pub(super) async fn run(mut self) {
        let mut step = Step::Open;
        loop {
            step = match step {
                Step::Open => self.open().await,
                Step::Take => self.supply.take().await.map_or(Step::Close, Step::Process),
                Step::Process(received) => Step::Report(self.process(received).await),
                Step::Report(finished) => self.report(finished).await,
                Step::Reopen => self.reopen().await,
                Step::Close => {
                    self.close().await;
                    Step::Ended
                }
                Step::Ended => break,
            };
        }
        drop_quietly(self.transaction);
    }

    async fn open(&mut self) -> Step {
        if self.job.stop.is_stop_requested() {
            return Step::Ended; // nothing is open
        }
        let mut opening = self.transaction.open_applications();
        let opened = until_killed(&self.job, self.number, &mut opening).await;
        drop_quietly(opening);
        match opened {
            Some(Ok(Ok(()))) => Step::Take,
            None => Step::Close,
            Some(Ok(Err(exception))) => self.not_opened(&exception.to_string()),
            Some(Err(panic)) => self.not_opened(&format!("panicked: {panic}")),
        }
    }

    fn not_opened(&self, reason: &str) -> Step {
        self.job.fault(format!("robot {} could not open its applications: {reason}", self.number));
        Step::Close
    }

    async fn process(&mut self, received: Received) -> Finished {
        let job = &self.job;
        let item = TransactionItem::new(job.queue.clone(), received, self.number, job.stop.clone());
        let span = tracing::info_span!(
            "transaction",
            queue = %job.queue,
            item = %item.id(),
            key = %item.key(),
            reference = item.reference(),
            retry_number = item.retry_number(),
            robot = self.number,
        );
        let watch = &job.watches[self.number as usize - 1];
        watch.begins(item.id());
        job.emit(&PerformerEvent::TransactionStarted { item: item.id(), robot: self.number });
        let ended = perform(&mut self.transaction, &item, job, self.number).instrument(span.clone()).await;
        self.spoilt |= matches!(ended, Ended::Panicked(_));
        let verdict = verdict(ended, &item);
        watch.ends();
        job.outcome(verdict.result.outcome());
        Finished {
            report: Report {
                claim: item.claim(),
                result: verdict.result,
                progress: item.unsent_progress().take(),
            },
            instead: verdict.instead,
            remark: verdict.remark,
            span,
            duration: item.duration(),
        }
    }

    /// After an ApplicationException the applications are reopened before the next item is taken; otherwise
    /// the report and the next take are one call.
    async fn report(&mut self, finished: Finished) -> Step {
        if finished.report.result.outcome() == Some(Outcome::ApplicationException) {
            self.supply.report(finished).await;
            return Step::Reopen;
        }
        self.supply.report_and_take(finished).await.map_or(Step::Take, Step::Process)
    }

    async fn reopen(&mut self) -> Step {
        self.close().await;
        if self.spoilt && !self.job.stop.is_stop_requested() {
            match guard::call(|| (self.make)()) {
                Ok(fresh) => drop_quietly(std::mem::replace(&mut self.transaction, fresh)),
                Err(panic) => {
                    self.job
                        .fault(format!("robot {} could not be made again: panicked: {panic}", self.number));
                    return Step::Ended;
                }
            }
            self.spoilt = false;
        }
        Step::Open
    }

    async fn close(&mut self) {
        let mut closing = self.transaction.close_applications();
        let closed = until_killed(&self.job, self.number, &mut closing).await;
        drop_quietly(closing);
        let reason = match closed {
            Some(Ok(Ok(()))) | None => return,
            Some(Ok(Err(exception))) => exception.to_string(),
            Some(Err(panic)) => format!("panicked: {panic}"),
        };
        log!(warn, robot = self.number, reason, "the applications were not closed properly");
    }
}

/// Runs user code that is not a transaction. `None`: the performer was killed in the meantime.
async fn until_killed<O>(
    job: &RunningJob,
    robot: u32,
    future: &mut UserFuture<'_, Result<O, Exception>>,
) -> Option<Result<Result<O, Exception>, String>> {
    let watch = &job.watches[robot as usize - 1];
    tokio::select! {
        biased;
        ended = guard::run(future, watch) => Some(ended),
        () = job.stop.kill_requested() => None,
    }
}

async fn perform<T: Transaction>(
    transaction: &mut T,
    item: &TransactionItem,
    job: &RunningJob,
    robot: u32,
) -> Ended<T::Output> {
    if job.stop.is_kill_requested() {
        return Ended::Interrupted; // it came with the last report; not one line of it is run
    }
    let content = match guard::call(|| item.specific_content().parse::<T::Content>()) {
        Ok(Ok(content)) => content,
        Ok(Err(error)) => return Ended::ContentDoesNotFit(error.to_string()),
        Err(panic) => return Ended::Panicked(panic),
    };
    crash_point!("claim.after_reply");
    let mut running = transaction.process(content, item);
    let ended = tokio::select! {
        biased;
        ended = guard::run(&mut running, &job.watches[robot as usize - 1]) => match ended {
            Ok(returned) => Ended::Returned(returned),
            Err(panic) => Ended::Panicked(panic),
        },
        () = job.stop.kill_requested() => Ended::Interrupted,
        limit = time_limit(job) => Ended::TimedOut(limit),
        () = item.unsent_progress().send_all(&*job.orchestrator, item.claim()) => unreachable!("it never returns"),
    };
    drop_quietly(running);
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

/// The output is written by the user's code too, and may panic. The work is done then: the item is Successful.
fn verdict<O: Serialize>(ended: Ended<O>, item: &TransactionItem) -> report::Verdict {
    let now = item.store_time();
    guard::call(|| report::verdict(ended, now)).unwrap_or_else(|panic| {
        let omitted = serde_json::json!({ "OutputOmitted": format!("writing the output panicked: {panic}") });
        report::verdict(Ended::Returned(Ok(omitted)), now)
    })
}
