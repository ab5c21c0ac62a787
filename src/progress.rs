//! How far a performer or a queue is, for people: a bar on a terminal, lines elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::model::QueueStatistics;
use crate::orchestrator::{Orchestrator, OrchestratorError, QueueAdministration};
use crate::runtime::{PerformerEvent, TransactionOutcome};

/// How often the number of waiting items is read again.
const REFRESH: Duration = Duration::from_secs(30);
/// How many lines are written, outside of a terminal, while the items of a queue are processed.
const LINES: u64 = 10;
/// How often a line is written, outside of a terminal, about a queue that is followed.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows how far a performer is, on stderr: items processed and waiting, items per second, the time that is left, and the outcomes
/// so far. On a terminal it is a bar, elsewhere a line for each tenth of the items.
///
/// ```
/// use performer::prelude::*;
/// use performer::progress::Progress;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let orchestrator = connect("memory:").await?;
/// # orchestrator.create_queue(NewQueueDefinition::new("Invoices")).await?;
/// # let process = |_: serde_json::Value, _| async { Ok(()) };
/// let progress = Progress::start(orchestrator.clone(), "Invoices").await?;
/// let performer = Performer::from_fn("Invoices", process).on_event(progress.on_event());
/// let ended = performer.run_until_empty(orchestrator).await;
/// progress.finish();
/// println!("{}", ended?);
/// # Ok(()) }
/// ```
///
/// The number of waiting items is read when it starts and every 30 seconds, so items that others add or process appear with that delay.
/// (On a UiPath Orchestrator that is nine calls each time.)
///
/// [`Progress::of_queue`] shows how far all performers of a queue are together, which may be other processes.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bar: ProgressBar,
    counts: Mutex<Counts>,
    started: Instant,
    /// Writes a line; `None` on a terminal, where the bar is drawn.
    write_line: Option<fn(&str)>,
    /// Ends the task that reads the queue.
    finished: CancellationToken,
    _dropped: DropGuard,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    successful: u64,
    business_exceptions: u64,
    application_exceptions: u64,
    retried: u64,
    postponed: u64,
    /// Of a queue that is followed. Robots report no such outcome.
    abandoned: u64,
    /// The items that waited or were in progress when the queue was read last, and how many had ended then.
    waiting: u64,
    ended_before: u64,
    /// How many items had ended when the last line was written.
    last_line: u64,
    /// The last figures of a queue that is followed, and when the last line about it was written.
    figures: Option<QueueStatistics>,
    last_line_at: Option<Instant>,
}

impl Counts {
    fn ended(&self) -> u64 {
        self.successful + self.business_exceptions + self.application_exceptions + self.abandoned
    }

    /// The items that have ended, and those that are still to be processed as far as is known.
    fn length(&self) -> u64 {
        (self.ended_before + self.waiting).max(self.ended())
    }

    /// Such as `75 successful, 5 business exceptions, 2 retried`.
    fn outcomes(&self) -> String {
        let mut text = format!("{} successful", self.successful);
        for (count, what) in [
            (self.business_exceptions, "business exceptions"),
            (self.application_exceptions, "application exceptions"),
            (self.abandoned, "abandoned"),
            (self.retried, "retried"),
            (self.postponed, "postponed"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text
    }
}

impl Progress {
    /// Reads how many items wait in a queue, and begins to show how far a performer is.
    ///
    /// # Errors
    ///
    /// NotFound if the queue does not exist; those of [`queue_statistics`](QueueAdministration::queue_statistics).
    pub async fn start<O: Orchestrator + QueueAdministration + ?Sized>(
        orchestrator: Arc<O>,
        queue: &str,
    ) -> Result<Self, OrchestratorError> {
        let (target, write_line) = stderr();
        Self::start_on(target, write_line, orchestrator, queue).await
    }

    async fn start_on<O: Orchestrator + QueueAdministration + ?Sized>(
        target: ProgressDrawTarget,
        write_line: Option<fn(&str)>,
        orchestrator: Arc<O>,
        queue: &str,
    ) -> Result<Self, OrchestratorError> {
        let figures = orchestrator.queue_statistics(queue).await?;
        let counts = Counts { waiting: to_process(&figures), ..Counts::default() };
        let inner = Inner::new(target, write_line, counts);
        let (shown, queue) = (Arc::downgrade(&inner), queue.to_owned());
        let finished = inner.finished.clone();
        tokio::spawn(async move {
            finished.run_until_cancelled(refresh(shown, orchestrator, queue)).await;
        });
        Ok(Self(inner))
    }

    /// Begins to show how far a queue is, whoever processes its items: on stderr, a bar on a terminal, elsewhere a line every
    /// ten seconds. It does not read the queue: give it new figures with [`show_queue`](Self::show_queue), as often as suits
    /// the back end. What happened before these first `figures` is not counted.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use performer::prelude::*;
    /// use performer::progress::Progress;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let orchestrator = connect("memory:").await?;
    /// # orchestrator.create_queue(NewQueueDefinition::new("Invoices")).await?;
    /// let mut figures = orchestrator.queue_statistics("Invoices").await?;
    /// let progress = Progress::of_queue(&figures);
    /// while figures.new + figures.in_progress > 0 {
    ///     tokio::time::sleep(Duration::from_secs(1)).await;
    ///     figures = orchestrator.queue_statistics("Invoices").await?;
    ///     progress.show_queue(&figures);
    /// }
    /// progress.finish();
    /// # Ok(()) }
    /// ```
    pub fn of_queue(figures: &QueueStatistics) -> Self {
        let (target, write_line) = stderr();
        Self::of_queue_on(target, write_line, figures)
    }

    fn of_queue_on(
        target: ProgressDrawTarget,
        write_line: Option<fn(&str)>,
        figures: &QueueStatistics,
    ) -> Self {
        let counts = Counts { waiting: to_process(figures), figures: Some(*figures), ..Counts::default() };
        let progress = Self(Inner::new(target, write_line, counts));
        progress.show_queue(figures);
        progress
    }

    /// Shows the present figures of a queue: what has happened since those of [`of_queue`](Self::of_queue). Does nothing if the
    /// progress is that of a performer.
    pub fn show_queue(&self, figures: &QueueStatistics) {
        self.0.show_queue(figures);
    }

    /// The function for [`Performer::on_event`](crate::Performer::on_event). Several performers may share one progress.
    pub fn on_event(&self) -> impl Fn(&PerformerEvent) + Send + Sync + 'static {
        let inner = self.0.clone();
        move |event| inner.show(event)
    }

    /// Writes a line above the bar.
    pub fn println(&self, line: impl AsRef<str>) {
        self.0.println(line.as_ref());
    }

    /// Shows the last state, and leaves the bar where it is: after a stop it is not full.
    pub fn finish(&self) {
        self.0.finished.cancel();
        let mut counts = self.0.counts();
        if counts.last_line < counts.ended() {
            self.0.write_line(&mut counts);
        }
        drop(counts);
        self.0.bar.abandon();
    }
}

/// A bar if stderr is a terminal, otherwise lines. A reader that has gone does not stop the work.
fn stderr() -> (ProgressDrawTarget, Option<fn(&str)>) {
    if std::io::stderr().is_terminal() {
        return (ProgressDrawTarget::stderr(), None);
    }
    (ProgressDrawTarget::hidden(), Some(|line| drop(writeln!(std::io::stderr(), "{line}"))))
}

/// The items that are to be processed: those that wait, and those in progress.
fn to_process(figures: &QueueStatistics) -> u64 {
    u64::try_from(figures.new + figures.in_progress).unwrap_or(0)
}

/// Reads the queue from time to time, as long as somebody has the progress.
async fn refresh<O: Orchestrator + QueueAdministration + ?Sized>(
    progress: Weak<Inner>,
    orchestrator: Arc<O>,
    queue: String,
) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let ended = || progress.upgrade().map(|inner| inner.counts().ended());
        let Some(before) = ended() else { return };
        // The bar goes on with what it knows if the queue cannot be read.
        let read = orchestrator.queue_statistics(&queue).await;
        let Some(after) = ended() else { return };
        if let (Ok(figures), Some(inner)) = (read, progress.upgrade()) {
            inner.queue_was_read(to_process(&figures), before.midpoint(after));
        }
    }
}

fn style() -> ProgressStyle {
    let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        let _ = write!(text, "{:.0}/s", state.per_sec());
    };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {rate}  {eta} left  {wide_msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate)
}

impl Inner {
    fn new(target: ProgressDrawTarget, write_line: Option<fn(&str)>, counts: Counts) -> Arc<Self> {
        let finished = CancellationToken::new();
        let bar = ProgressBar::with_draw_target(Some(counts.waiting), target).with_style(style());
        bar.set_message(counts.outcomes());
        Arc::new(Self {
            bar,
            counts: Mutex::new(counts),
            started: Instant::now(),
            write_line,
            _dropped: finished.clone().drop_guard(),
            finished,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, event: &PerformerEvent) {
        match event {
            PerformerEvent::TransactionEnded { outcome, .. } => self.count(*outcome),
            PerformerEvent::StopRequested => {
                self.println("stopping after the running transactions; a second signal interrupts them");
            }
            PerformerEvent::TransactionStuck { item, .. } => self.println(&format!("item {item} is stuck")),
            _ => {}
        }
    }

    fn count(&self, outcome: TransactionOutcome) {
        let mut counts = self.counts();
        *match outcome {
            TransactionOutcome::Successful => &mut counts.successful,
            TransactionOutcome::BusinessException => &mut counts.business_exceptions,
            TransactionOutcome::ApplicationException => &mut counts.application_exceptions,
            TransactionOutcome::Retried => &mut counts.retried,
            TransactionOutcome::Postponed => &mut counts.postponed,
            // These items are processed again, here or elsewhere.
            TransactionOutcome::GivenBack
            | TransactionOutcome::ClaimLost
            | TransactionOutcome::NotRecorded => return,
        } += 1;
        let step = (counts.length() / LINES).max(1);
        if counts.ended() / step > counts.last_line / step {
            self.write_line(&mut counts);
        }
        self.draw(&counts);
    }

    /// The queue had so many items to process when so many had ended here.
    fn queue_was_read(&self, waiting: u64, ended: u64) {
        let mut counts = self.counts();
        (counts.waiting, counts.ended_before) = (waiting, ended);
        if counts.last_line < counts.ended() {
            self.write_line(&mut counts); // a slow queue shows that it goes on
        }
        self.draw(&counts);
    }

    fn show_queue(&self, figures: &QueueStatistics) {
        let mut counts = self.counts();
        let Some(before) = counts.figures.replace(*figures) else {
            counts.figures = None;
            return;
        };
        // A figure falls when retention or people remove items that have ended; that is no outcome.
        let more = |of: fn(&QueueStatistics) -> i64| u64::try_from(of(figures) - of(&before)).unwrap_or(0);
        counts.successful += more(|figures| figures.successful);
        counts.business_exceptions += more(|figures| figures.business_exceptions);
        counts.application_exceptions += more(|figures| figures.application_exceptions);
        counts.abandoned += more(|figures| figures.abandoned);
        counts.retried += more(|figures| figures.retried);
        (counts.waiting, counts.ended_before) = (to_process(figures), counts.ended());
        let now = Instant::now();
        if counts.last_line_at.is_none_or(|at| now.duration_since(at) >= LINE_INTERVAL) {
            counts.last_line_at = Some(now);
            self.write_line(&mut counts);
        }
        self.draw(&counts);
    }

    fn draw(&self, counts: &Counts) {
        self.bar.set_length(counts.length());
        self.bar.set_position(counts.ended());
        self.bar.set_message(counts.outcomes());
    }

    fn write_line(&self, counts: &mut Counts) {
        let (ended, length) = (counts.ended(), counts.length());
        counts.last_line = ended;
        let Some(write_line) = self.write_line else { return };
        let elapsed = self.started.elapsed();
        let mut line = format!("{ended} of {length} items, {}", counts.outcomes());
        #[expect(clippy::cast_precision_loss, reason = "a rate and a time for people")]
        if ended > 0 && !elapsed.is_zero() {
            let rate = ended as f64 / elapsed.as_secs_f64();
            let left = ((length - ended) as f64 / rate).ceil();
            let _ = write!(line, ", {rate:.0}/s, {left:.0} s left");
        }
        write_line(&line);
    }

    fn println(&self, line: &str) {
        match self.write_line {
            Some(write_line) => write_line(line),
            None => self.bar.println(line),
        }
    }
}

#[cfg(test)]
mod tests;
