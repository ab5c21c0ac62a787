//! The progress of a performer, for people: a bar on a terminal, lines elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::time::Instant;

use crate::orchestrator::{Orchestrator, OrchestratorError, QueueAdministration};
use crate::runtime::{PerformerEvent, TransactionOutcome};

/// How often the number of waiting items is read again.
const REFRESH: Duration = Duration::from_secs(30);
/// How many lines are written, outside of a terminal, while the items of a queue are processed.
const LINES: u64 = 10;

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
#[derive(Clone, Debug)]
pub struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bar: ProgressBar,
    counts: Mutex<Counts>,
    started: Instant,
    /// Writes a line; `None` on a terminal, where the bar is drawn.
    write_line: Option<fn(&str)>,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    successful: u64,
    business_exceptions: u64,
    application_exceptions: u64,
    retried: u64,
    postponed: u64,
    /// The items that waited or were in progress when the queue was read last, and how many had ended then.
    waiting: u64,
    ended_before: u64,
    /// How many items had ended when the last line was written.
    last_line: u64,
}

impl Counts {
    fn ended(&self) -> u64 {
        self.successful + self.business_exceptions + self.application_exceptions
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
        let (target, write_line): (_, Option<fn(&str)>) = if std::io::stderr().is_terminal() {
            (ProgressDrawTarget::stderr(), None)
        } else {
            // A reader that has gone does not stop the work.
            (ProgressDrawTarget::hidden(), Some(|line| drop(writeln!(std::io::stderr(), "{line}"))))
        };
        Self::start_on(target, write_line, orchestrator, queue).await
    }

    async fn start_on<O: Orchestrator + QueueAdministration + ?Sized>(
        target: ProgressDrawTarget,
        write_line: Option<fn(&str)>,
        orchestrator: Arc<O>,
        queue: &str,
    ) -> Result<Self, OrchestratorError> {
        let waiting = waiting(&*orchestrator, queue).await?;
        let bar = ProgressBar::with_draw_target(Some(waiting), target).with_style(style());
        let counts = Counts { waiting, ..Counts::default() };
        let inner = Inner { bar, counts: Mutex::new(counts), started: Instant::now(), write_line };
        let inner = Arc::new(inner);
        inner.bar.set_message(inner.counts().outcomes());
        tokio::spawn(refresh(Arc::downgrade(&inner), orchestrator, queue.to_owned()));
        Ok(Self(inner))
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
        let mut counts = self.0.counts();
        if counts.last_line < counts.ended() {
            self.0.write_line(&mut counts);
        }
        drop(counts);
        self.0.bar.abandon();
    }
}

/// The items that are to be processed: those that wait, and those in progress.
async fn waiting<O: Orchestrator + QueueAdministration + ?Sized>(
    orchestrator: &O,
    queue: &str,
) -> Result<u64, OrchestratorError> {
    let figures = orchestrator.queue_statistics(queue).await?;
    Ok(u64::try_from(figures.new + figures.in_progress).unwrap_or(0))
}

/// Reads the queue from time to time, as long as somebody has the progress.
async fn refresh<O: Orchestrator + QueueAdministration + ?Sized>(
    progress: Weak<Inner>,
    orchestrator: Arc<O>,
    queue: String,
) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let Some(before) = progress.upgrade().map(|inner| inner.counts().ended()) else { return };
        // The bar goes on with what it knows if the queue cannot be read.
        let read = waiting(&*orchestrator, &queue).await;
        let Some(inner) = progress.upgrade() else { return };
        if let Ok(waiting) = read {
            inner.queue_was_read(waiting, before);
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
mod tests {
    use indicatif::TermLike;

    use super::*;
    use crate::model::ItemId;
    use crate::orchestrator::store::Store;
    use crate::{NewQueueDefinition, NewQueueItem};

    /// A terminal that keeps all that was written to it.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<String>>);

    impl Terminal {
        fn shown(&self) -> String {
            self.0.lock().unwrap().clone()
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            160
        }

        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }

        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    async fn store(items: usize) -> Arc<Store> {
        let store = Arc::new(Store::memory());
        store.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
        for n in 0..items {
            store.add_queue_item("Q", NewQueueItem::new(serde_json::json!({ "n": n }))).await.unwrap();
        }
        store
    }

    fn ended(outcome: TransactionOutcome) -> PerformerEvent {
        PerformerEvent::TransactionEnded { item: ItemId(1), outcome, duration: Duration::ZERO }
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_shows_a_bar_with_the_outcomes() {
        let (terminal, store) = (Terminal::default(), store(4).await);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let progress = Progress::start_on(target, None, store.clone(), "Q").await.unwrap();
        let on_event = progress.on_event();
        on_event(&ended(TransactionOutcome::Successful));
        on_event(&ended(TransactionOutcome::Retried));
        on_event(&ended(TransactionOutcome::BusinessException));
        on_event(&ended(TransactionOutcome::GivenBack));
        on_event(&PerformerEvent::StopRequested);
        progress.finish();
        let shown = terminal.shown();
        for part in ["2/4", "1 successful, 1 business exceptions, 1 retried", "stopping after"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        // Others have added an item; the store still has the four of the beginning.
        store.add_queue_item("Q", NewQueueItem::new(serde_json::json!({}))).await.unwrap();
        tokio::time::sleep(REFRESH * 2).await;
        progress.finish();
        assert!(terminal.shown().contains("2/7"), "{}", terminal.shown());
    }

    static LINES_WRITTEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

    #[tokio::test(start_paused = true)]
    async fn elsewhere_a_line_is_written_for_each_tenth() {
        let store = store(20).await;
        let write_line = |line: &str| LINES_WRITTEN.lock().unwrap().push(line.to_owned());
        let target = ProgressDrawTarget::hidden();
        let progress = Progress::start_on(target, Some(write_line), store, "Q").await.unwrap();
        let on_event = progress.on_event();
        tokio::time::advance(Duration::from_secs(2)).await;
        for _ in 0..5 {
            on_event(&ended(TransactionOutcome::Successful));
        }
        progress.finish();
        progress.println("done");
        let expected = [
            "2 of 20 items, 2 successful, 1/s, 18 s left",
            "4 of 20 items, 4 successful, 2/s, 8 s left",
            "5 of 20 items, 5 successful, 2/s, 6 s left",
            "done",
        ];
        assert_eq!(*LINES_WRITTEN.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_missing_queue_is_named() {
        let error = Progress::start(store(0).await, "Nowhere").await.unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("Nowhere"), "{error}");
    }
}
