//! A terminal and lines, on paused time.

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
    let shown = terminal.shown();
    for part in ["2/4", "1 successful, 1 business exceptions, 1 retried", "stopping after"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Others have added an item; the store still has the four of the beginning.
    store.add_queue_item("Q", NewQueueItem::new(serde_json::json!({}))).await.unwrap();
    tokio::time::sleep(REFRESH + Duration::from_secs(1)).await;
    assert!(terminal.shown().contains("2/7"), "{}", terminal.shown());
    progress.finish();
    let shown = terminal.shown();
    tokio::time::sleep(REFRESH * 2).await;
    assert_eq!(terminal.shown(), shown, "nothing is drawn after the end");
    assert_eq!(Arc::strong_count(&store), 1, "the store is not held any longer");
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

static FOLLOWED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_followed_has_a_line_every_ten_seconds() {
    let write_line = |line: &str| FOLLOWED.lock().unwrap().push(line.to_owned());
    let mut figures = QueueStatistics::default();
    (figures.new, figures.in_progress, figures.successful, figures.retried) = (18, 2, 500, 7);
    let progress = Progress::of_queue_on(ProgressDrawTarget::hidden(), Some(write_line), &figures);
    for second in 1..=21 {
        tokio::time::advance(Duration::from_secs(1)).await;
        figures.successful += 1;
        figures.new -= 1;
        if second == 5 {
            figures.abandoned += 1; // and the copy of a retry comes, and somebody adds two
            (figures.retried, figures.new) = (8, figures.new + 3);
        }
        if second == 15 {
            figures.successful -= 400; // retention removed them
        }
        progress.show_queue(&figures);
    }
    progress.finish();
    let expected = [
        "0 of 20 items, 0 successful",
        "11 of 24 items, 10 successful, 1 abandoned, 1 retried, 1/s, 12 s left",
        "20 of 23 items, 19 successful, 1 abandoned, 1 retried, 1/s, 3 s left",
        "21 of 23 items, 20 successful, 1 abandoned, 1 retried, 1/s, 2 s left",
    ];
    assert_eq!(*FOLLOWED.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_followed_has_a_bar_on_a_terminal() {
    let terminal = Terminal::default();
    let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
    let mut figures = QueueStatistics::default();
    (figures.new, figures.business_exceptions) = (4, 3);
    let progress = Progress::of_queue_on(target, None, &figures);
    (figures.new, figures.business_exceptions) = (2, 5);
    tokio::time::advance(Duration::from_secs(1)).await;
    progress.show_queue(&figures);
    progress.finish();
    let shown = terminal.shown();
    assert!(shown.contains("2/4") && shown.contains("0 successful, 2 business exceptions"), "{shown}");
}

#[tokio::test]
async fn a_missing_queue_is_named() {
    let error = Progress::start(store(0).await, "Nowhere").await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("Nowhere"), "{error}");
}
