//! A transaction whose input is a script, and an Orchestrator with scripted faults.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use performer::model::{Claim, ClaimedItem, Clock, NewJob};
use performer::orchestrator::{
    BulkAdded, ClaimRequest, Decorator, Report, ReportAndClaimAnswer, Result, Seen, Swept,
};
use performer::{
    Administration, BusinessException, CommitType, ErrorKind, Exception, JobEnd, JobKey, JobState,
    NewQueueItem, Orchestrator, OrchestratorError, QueueItem, Transaction, TransactionItem,
};
use serde::Deserialize;
use tokio::sync::Notify;

/// A record of what the transactions did, in order.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The content of a scripted item.
#[derive(Deserialize)]
pub struct Script {
    #[serde(rename = "do")]
    what: String,
    #[serde(default)]
    seconds: u64,
}

/// A transaction that follows the script in its item.
#[derive(Clone, Default)]
pub struct ScriptedTransaction {
    pub journal: Journal,
    /// The script of `open`, one step per call: "fail", "panic", anything else succeeds.
    pub opens: Vec<&'static str>,
    pub closes: Vec<&'static str>,
    pub fuse: Fuse,
    /// Notified by a transaction that has started to wait.
    pub begun: Arc<Notify>,
    /// Releases a waiting transaction.
    pub go_on: Arc<Notify>,
    pub opened: usize,
    pub closed: usize,
}

/// Panics when it is dropped, if it is armed and lit.
#[derive(Default)]
pub struct Fuse {
    pub armed: bool,
    pub lit: bool,
}

impl Clone for Fuse {
    fn clone(&self) -> Self {
        Self { armed: self.armed, lit: false }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(!(self.armed && self.lit), "while it was dropped");
    }
}

fn scripted_step(steps: &[&str], at: usize, what: &str) -> Result<(), Exception> {
    match steps.get(at).copied() {
        Some("fail") => Err(std::io::Error::other(format!("{what} failed")))?,
        Some("panic") => panic!("{what} panicked"),
        _ => Ok(()),
    }
}

#[async_trait]
impl Transaction for ScriptedTransaction {
    type Content = Script;
    type Output = serde_json::Value;

    async fn open_applications(&mut self) -> Result<(), Exception> {
        self.journal.write("open");
        self.fuse.lit = true;
        self.opened += 1;
        scripted_step(&self.opens, self.opened - 1, "open")
    }

    async fn close_applications(&mut self) -> Result<(), Exception> {
        self.journal.write("close");
        self.closed += 1;
        scripted_step(&self.closes, self.closed - 1, "close")
    }

    async fn process(
        &mut self,
        script: Script,
        item: &TransactionItem,
    ) -> Result<serde_json::Value, Exception> {
        let name = item.reference().unwrap_or("?");
        self.journal.write(format!("{name}#{}", item.retry_number()));
        let duration = Duration::from_secs(script.seconds);
        match script.what.as_str() {
            "ok" => {}
            "business" => return Err(BusinessException::new("the data is wrong").into()),
            "application" => Err(std::io::Error::other("the world is wrong"))?,
            "application once" if item.retry_number() == 0 => {
                Err(std::io::Error::other("the world is wrong"))?;
            }
            "panic" => panic!("at the disco"),
            "panic strangely" => std::panic::panic_any(7),
            "sleep" => tokio::time::sleep(duration).await,
            "sleep, then fail" => {
                tokio::time::sleep(duration).await;
                Err(std::io::Error::other("the world is wrong"))?;
            }
            "wait" => {
                self.begun.notify_one();
                self.go_on.notified().await;
            }
            "wait for ever" => {
                self.begun.notify_one();
                std::future::pending::<()>().await;
            }
            "wait for a stop" => {
                self.begun.notify_one();
                item.stop_requested().await;
            }
            "postpone" => return Err(Exception::postpone_for(duration)),
            "postpone once" if item.queue_item().defer_date.is_none() => {
                return Err(Exception::postpone_for(duration));
            }
            "postpone to the past" => return Err(Exception::postpone_until(Timestamp::UNIX_EPOCH)),
            "progress" => {
                for step in 0..100 {
                    item.progress(format!("step {step}"));
                }
            }
            "progress, then wait" => {
                item.progress("half");
                self.begun.notify_one();
                self.go_on.notified().await;
                item.progress("nearly");
            }
            "large output" => return Ok(serde_json::json!({ "text": "x".repeat(60_000) })),
            _ => {}
        }
        Ok(serde_json::json!({ "did": script.what }))
    }
}

pub fn script(reference: &str, what: &str) -> NewQueueItem {
    script_for(reference, what, 0)
}

pub fn script_for(reference: &str, what: &str, seconds: u64) -> NewQueueItem {
    NewQueueItem::new(serde_json::json!({ "do": what, "seconds": seconds })).reference(reference)
}

/// A clock that follows tokio's, which a test may have paused.
#[derive(Debug)]
pub struct TokioClock(tokio::time::Instant);

impl TokioClock {
    pub fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let micros = u64::try_from(self.elapsed().as_micros()).unwrap();
        performer_conformance::start_of_time() + Duration::from_micros(micros)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The fault of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFault {
    /// The call was not executed.
    Unavailable,
    /// The call was executed, and its answer was lost.
    AnswerLost,
}

/// An Orchestrator whose calls fail as scripted, and are counted.
#[derive(Debug)]
pub struct FaultyOrchestrator {
    pub inner: Arc<dyn Administration>,
    /// The faults of the next calls of `report_and_claim`; later calls succeed.
    pub faults: Mutex<Vec<CallFault>>,
    pub beats: AtomicUsize,
    pub beaten: Notify,
    /// Whether every heartbeat panics, as in a back end with a bug.
    pub beats_panic: AtomicBool,
    /// How many calls it says that it works on, and is working on; each takes a while, there and back, and another one each time.
    pub side_by_side: usize,
    pub under_way: AtomicUsize,
    pub random: Mutex<fastrand::Rng>,
}

impl FaultyOrchestrator {
    pub fn new(inner: Arc<dyn Administration>, faults: &[CallFault]) -> Arc<Self> {
        Arc::new(Self::with(inner, faults))
    }

    /// One that handles several calls concurrently.
    pub fn overlapping(
        inner: Arc<dyn Administration>,
        faults: &[CallFault],
        side_by_side: usize,
        seed: u64,
    ) -> Arc<Self> {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Arc::new(Self { side_by_side, random, ..Self::with(inner, faults) })
    }

    fn with(inner: Arc<dyn Administration>, faults: &[CallFault]) -> Self {
        let faults = faults.iter().rev().copied().collect();
        Self {
            inner,
            faults: Mutex::new(faults),
            beats: AtomicUsize::new(0),
            beaten: Notify::new(),
            beats_panic: AtomicBool::new(false),
            side_by_side: 1,
            under_way: AtomicUsize::new(0),
            random: Mutex::new(fastrand::Rng::new()),
        }
    }

    async fn on_the_way(&self) {
        if self.side_by_side > 1 {
            let delay = Duration::from_millis(self.random.lock().unwrap().u64(1..=20));
            tokio::time::sleep(delay).await;
        }
    }
}

#[async_trait]
impl Decorator for FaultyOrchestrator {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.inner
    }

    async fn beat(&self, job: JobKey) -> Result<JobState> {
        self.beats.fetch_add(1, Ordering::SeqCst);
        self.beaten.notify_one();
        assert!(!self.beats_panic.load(Ordering::SeqCst), "in the back end");
        self.inner.beat(job).await
    }

    fn max_concurrent_calls(&self) -> usize {
        self.side_by_side
    }

    async fn report_and_claim(
        &self,
        reports: Vec<Report>,
        take: Option<ClaimRequest>,
    ) -> ReportAndClaimAnswer {
        let fault = self.faults.lock().unwrap().pop();
        let Some(fault) = fault else {
            // A claim that waits is no work.
            let counted = usize::from(take.as_ref().is_none_or(|take| take.wait.is_zero()));
            let under_way = self.under_way.fetch_add(counted, Ordering::SeqCst) + counted;
            assert!(self.side_by_side == 1 || under_way <= self.side_by_side, "{under_way} calls at once");
            self.on_the_way().await;
            let answer = self.inner.report_and_claim(reports, take).await;
            self.on_the_way().await;
            self.under_way.fetch_sub(counted, Ordering::SeqCst);
            return answer;
        };
        let kind = if fault == CallFault::Unavailable { ErrorKind::Unavailable } else { ErrorKind::Unknown };
        let error = OrchestratorError::new(kind, "as the test says");
        let count = reports.len();
        if fault == CallFault::AnswerLost {
            // The reports were recorded. (What a lost take leaves behind is another matter: none is asked for.)
            self.inner.report_and_claim(reports, None).await;
        }
        ReportAndClaimAnswer::new((0..count).map(|_| Err(error.clone())).collect(), Err(error))
    }
}
