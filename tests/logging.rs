//! The log of a performer.

mod support;

use std::sync::{Arc, Mutex};

use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::{ItemFilter, Page, ReferenceFilter};
use support::QUEUE;
use support::scripted::*;

/// What a subscriber writes, kept.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sets a subscriber for the whole process that wants every event: `tracing` remembers for all threads whether anybody wants the
/// events of a line, and the other test may be the first to reach it.
fn enable_every_callsite() {
    // An error says that the other test has set it.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_logged_once_and_an_expected_one_is_no_error() {
    enable_every_callsite();
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);

    let o: Arc<dyn Administration> = Arc::new(Store::memory_with_clock(Arc::new(TokioClock::new())));
    o.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    for (reference, what) in [("INV-1", "business"), ("INV-2", "application")] {
        o.add_queue_item(QUEUE, script(reference, what)).await.unwrap();
    }
    let performer =
        Performer::new(QUEUE, ScriptedTransaction::default).single_threaded().handle_signals(false);
    performer.run_until_empty(o.clone()).await.unwrap();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> =
        text.lines().filter(|line| line.contains("exception") && line.contains("reason=")).collect();
    let [business, retried, failed] = lines.as_slice() else { panic!("{text}") };
    assert!(business.contains(" INFO ") && business.contains("the data is wrong"), "{business}");
    assert!(retried.contains(" WARN ") && retried.contains("retry_number=0"), "{retried}");
    assert!(failed.contains("ERROR ") && failed.contains("retry_number=1"), "{failed}");
    let named = Some(ReferenceFilter::Equals("INV-1".to_owned()));
    let filter = ItemFilter::default().reference(named);
    let item = o.list_queue_items(filter, Page::default()).await.unwrap().items.remove(0);
    for part in [
        "queue=Invoices".to_owned(),
        format!("item={}", item.id),
        format!("key={}", item.key),
        format!("job={}", item.executor_job.unwrap()),
        "reference=\"INV-1\"".to_owned(),
        "retry_number=0".to_owned(),
        "robot=1".to_owned(),
    ] {
        assert!(business.contains(&part), "{part} in {business}");
    }
    assert_eq!(text.lines().filter(|line| line.contains("ERROR")).count(), 1, "{text}");
}

/// A pipe that nobody reads any more: the formatter tells of it with `eprintln!`, which panics when that is closed too.
struct Closed;

impl std::io::Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
        panic!("the pipe is closed");
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_subscriber_loses_lines_but_no_item() {
    enable_every_callsite();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(|| Closed)
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);

    let o: Arc<dyn Administration> = Arc::new(Store::memory_with_clock(Arc::new(TokioClock::new())));
    o.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    for (reference, what) in [("INV-1", "business"), ("INV-2", "application"), ("INV-3", "ok")] {
        o.add_queue_item(QUEUE, script(reference, what)).await.unwrap();
    }
    let performer =
        Performer::new(QUEUE, ScriptedTransaction::default).single_threaded().handle_signals(false);
    let summary = performer.run_until_empty(o.clone()).await.unwrap();
    let counted = o.queue_statistics(QUEUE).await.unwrap();
    assert_eq!((counted.new, counted.in_progress, counted.successful), (0, 0, 1), "{summary}");
}
