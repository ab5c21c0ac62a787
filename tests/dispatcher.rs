//! The dispatcher: batches, what it skips and hands back, what it repeats, and what it leaves when it cannot go on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use performer::jiff::Timestamp;
use performer::model::SystemClock;
use performer::orchestrator::store::Store;
use performer::orchestrator::{BulkAdded, CommitType, Decorator, Result as CallResult};
use performer::prelude::*;
use performer::{
    DispatchProgress, ErrorCode, ErrorKind, ItemFilter, LimitsEdit, OrchestratorError, Page, QueueDefinition,
    QueueItem, QueueStatistics,
};
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Invoice {
    number: String,
    pence: i64,
}

fn invoices(numbers: std::ops::RangeInclusive<u32>) -> impl Iterator<Item = Invoice> {
    numbers.map(|n| Invoice { number: format!("INV-{n}"), pence: i64::from(n) * 100 })
}

async fn store(is_unique: bool) -> Arc<Store> {
    let store = Store::memory_with_clock(Arc::new(SystemClock::new()));
    let policy = QueuePolicy::default().enforce_unique_reference(is_unique);
    store.create_queue(NewQueueDefinition::new("Invoices").policy(policy)).await.unwrap();
    Arc::new(store)
}

fn dispatcher() -> Dispatcher<Invoice> {
    Dispatcher::new("Invoices").reference(|invoice: &Invoice| invoice.number.clone())
}

/// The items of the queue in the order in which they were added.
async fn items(store: &Store) -> Vec<QueueItem> {
    let page = Page::first(100);
    let mut items =
        store.list_queue_items(ItemFilter::default().queue("Invoices"), page).await.unwrap().items;
    items.sort_by_key(|item| item.id);
    items
}

fn references(items: &[QueueItem]) -> Vec<&str> {
    items.iter().map(|item| item.reference.as_deref().unwrap_or_default()).collect()
}

#[tokio::test]
async fn values_become_items_in_order() {
    let store = store(false).await;
    let due: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let dispatcher = dispatcher()
        .batch_size(3)
        .priority(|invoice| if invoice.pence > 500 { Priority::High } else { Priority::Low })
        .due(move |invoice| (invoice.pence == 200).then_some(due))
        .defer(move |_| due)
        .edit(|invoice, item| item.progress(format!("{} pence", invoice.pence)));
    let summary = dispatcher.dispatch(&*store, invoices(1..=7)).await.unwrap();
    assert_eq!((summary.added, summary.already_there, summary.refused.len()), (7, 0, 0));
    let items = items(&store).await;
    let expected = ["INV-1", "INV-2", "INV-3", "INV-4", "INV-5", "INV-6", "INV-7"];
    assert_eq!(references(&items), expected);
    assert_eq!((items[4].priority, items[5].priority), (Priority::Low, Priority::High));
    assert_eq!((items[0].due_date, items[1].due_date, items[0].defer_date), (None, Some(due), Some(due)));
    assert_eq!(items[6].progress.as_deref(), Some("700 pence"));
    assert_eq!(items[6].specific_content.as_json(), r#"{"number":"INV-7","pence":700}"#);
}

#[tokio::test]
async fn a_second_run_adds_only_what_is_missing() {
    let store = store(true).await;
    let summary = dispatcher().dispatch(&*store, invoices(1..=5)).await.unwrap();
    assert_eq!(summary.to_string(), "5 added, 0 were there already, 0 refused");
    // A value that stands twice in the source is there already the second time.
    let again = invoices(3..=8).chain(invoices(8..=8));
    let summary = dispatcher().batch_size(4).dispatch(&*store, again).await.unwrap();
    assert_eq!(summary.to_string(), "3 added, 4 were there already, 0 refused");
    assert_eq!(items(&store).await.len(), 8);
}

#[tokio::test]
async fn refused_values_are_handed_back_with_the_reason() {
    let store = store(true).await;
    let mut values: Vec<Invoice> = invoices(1..=6).collect();
    values[1].number = "x".repeat(129);
    values[4].number = String::new();
    let summary = dispatcher().batch_size(2).dispatch(&*store, values.clone()).await.unwrap();
    assert_eq!((summary.added, summary.refused.len()), (4, 2));
    for (refused, at) in summary.refused.iter().zip([1, 4]) {
        assert_eq!(refused.value.as_ref(), Some(&values[at]));
        assert_eq!(refused.refusal.code(), ErrorCode::PARAMETER_INVALID);
    }
    assert_eq!(references(&items(&store).await), ["INV-1", "INV-3", "INV-4", "INV-6"]);
}

#[tokio::test]
async fn content_that_is_no_object_is_refused() {
    let store = store(false).await;
    let summary = Dispatcher::new("Invoices").dispatch(&*store, [1, 2]).await.unwrap();
    assert_eq!((summary.added, summary.refused.len()), (0, 2));
}

#[tokio::test]
async fn no_more_than_one_batch_is_read_ahead() {
    let store = store(false).await;
    let read = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let dispatcher = dispatcher().batch_size(10).on_progress({
        let (read, seen) = (read.clone(), seen.clone());
        move |progress| seen.lock().unwrap().push((*progress, read.load(Ordering::Relaxed)))
    });
    let values = invoices(1..=35).inspect(|_| {
        read.fetch_add(1, Ordering::Relaxed);
    });
    let _ = dispatcher.dispatch(&*store, values).await.unwrap();
    let seen = seen.lock().unwrap();
    let added: Vec<u64> = seen.iter().map(|(progress, _)| progress.total()).collect();
    assert_eq!(added, [10, 20, 30, 35]);
    for (progress, read) in &*seen {
        assert!(*read as u64 <= progress.total() + 10, "{read} were read when {progress}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_pauses_does_not_hold_back_what_it_gave() {
    let store = store(false).await;
    let (values, receiver) = tokio::sync::mpsc::unbounded_channel();
    let (progress, mut batches) = tokio::sync::mpsc::unbounded_channel::<DispatchProgress>();
    let dispatcher = dispatcher().batch_delay(Duration::from_secs(5)).on_progress(move |now| {
        progress.send(*now).unwrap();
    });
    let stream = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let running = tokio::spawn({
        let store = store.clone();
        async move { dispatcher.dispatch_stream(&*store, stream).await.unwrap().added }
    });
    for (first, last) in [(1, 3), (4, 4)] {
        invoices(first..=last).for_each(|invoice| values.send(invoice).unwrap());
        assert_eq!(batches.recv().await.unwrap().added, u64::from(last));
    }
    drop(values);
    assert_eq!(running.await.unwrap(), 4);
}

#[tokio::test]
async fn an_empty_source_adds_nothing_and_a_missing_queue_is_named() {
    let store = store(false).await;
    let none: [Invoice; 0] = [];
    assert_eq!(dispatcher().dispatch(&*store, none).await.unwrap().added, 0);
    let missing =
        Dispatcher::new("Nowhere").dispatch_stream(&*store, stream::iter(invoices(1..=1)).fuse()).await;
    let error = missing.unwrap_err();
    assert_eq!((error.source.kind(), error.remaining.len()), (ErrorKind::NotFound, 0));
    assert!(error.to_string().contains("\"Nowhere\""), "{error}");
}

/// A store whose bulk adds fail as planned: before they are executed, or after it, so that only the answer is lost.
#[derive(Debug)]
struct Failing {
    store: Arc<Store>,
    faults: Mutex<VecDeque<Fault>>,
    calls: AtomicUsize,
    /// Whether the first call fails.
    is_starting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Before(ErrorKind),
    After,
}

impl Failing {
    fn new(store: Arc<Store>, faults: impl IntoIterator<Item = Fault>) -> Self {
        Self {
            store,
            faults: Mutex::new(faults.into_iter().collect()),
            calls: AtomicUsize::new(0),
            is_starting: false,
        }
    }
}

#[async_trait]
impl Decorator for Failing {
    fn inner(&self) -> &dyn Orchestrator {
        &*self.store
    }

    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    ) -> CallResult<BulkAdded> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        if let Fault::Before(kind) = fault {
            return Err(OrchestratorError::new(kind, "as planned"));
        }
        let added = self.store.bulk_add_queue_items(queue, commit_type, items).await;
        if fault == Fault::After {
            return Err(OrchestratorError::new(ErrorKind::Unknown, "the answer was lost"));
        }
        added
    }
}

#[async_trait]
impl QueueAdministration for Failing {
    async fn create_queue(&self, queue: NewQueueDefinition) -> CallResult<QueueDefinition> {
        self.store.create_queue(queue).await
    }

    async fn update_queue(&self, name: &str, queue: NewQueueDefinition) -> CallResult<QueueDefinition> {
        self.store.update_queue(name, queue).await
    }

    async fn delete_queue(&self, name: &str) -> CallResult<()> {
        self.store.delete_queue(name).await
    }

    async fn edit_queue_limits(&self, name: &str, edit: LimitsEdit) -> CallResult<QueueDefinition> {
        self.store.edit_queue_limits(name, edit).await
    }

    async fn get_queue(&self, name: &str) -> CallResult<QueueDefinition> {
        if self.calls.fetch_add(1, Ordering::Relaxed) == 0 && self.is_starting {
            return Err(OrchestratorError::new(ErrorKind::Unavailable, "it is starting"));
        }
        self.store.get_queue(name).await
    }

    async fn list_queues(&self) -> CallResult<Vec<QueueDefinition>> {
        self.store.list_queues().await
    }

    async fn queue_statistics(&self, queue: &str) -> CallResult<QueueStatistics> {
        self.store.queue_statistics(queue).await
    }

    async fn apply_retention(&self, limit: usize) -> CallResult<u64> {
        self.store.apply_retention(limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_repeated_while_the_store_is_not_available() {
    let store = store(false).await;
    let failing = Failing::new(store.clone(), [Fault::Before(ErrorKind::Unavailable); 5]);
    let summary = dispatcher().batch_size(2).dispatch(&failing, invoices(1..=4)).await.unwrap();
    assert_eq!((summary.added, failing.calls.load(Ordering::Relaxed)), (4, 8));
    assert_eq!(references(&items(&store).await), ["INV-1", "INV-2", "INV-3", "INV-4"]);
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_waits_for_a_store_that_is_starting() {
    let mut failing = Failing::new(store(true).await, []);
    failing.is_starting = true;
    let summary = dispatcher().dispatch(&failing, invoices(1..=3)).await.unwrap();
    assert_eq!(summary.added, 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_handed_back_when_it_gives_up() {
    let store = store(true).await;
    let outage =
        std::iter::once(Fault::None).chain(std::iter::repeat_n(Fault::Before(ErrorKind::Unavailable), 100));
    let failing = Failing::new(store.clone(), outage);
    let dispatcher = dispatcher().batch_size(2).retry_for(Duration::from_secs(20));
    let error = dispatcher.dispatch(&failing, invoices(1..=9)).await.unwrap_err();
    assert_eq!((error.source.kind(), error.summary.added), (ErrorKind::Unavailable, 2));
    assert_eq!(
        error.remaining,
        invoices(3..=6).collect::<Vec<_>>(),
        "the batch that failed, and the next one"
    );
    assert_eq!(error.to_string(), "the dispatcher could not go on after 2 values: as planned");
    let calls = failing.calls.load(Ordering::Relaxed);
    assert!((5..40).contains(&calls), "{calls} calls in 20 seconds");
    assert!(!format!("{error:?}").contains("INV-3"), "no values in a log: {error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_repeated_only_where_references_are_unique() {
    for is_unique in [true, false] {
        let store = store(is_unique).await;
        let failing = Failing::new(store.clone(), [Fault::After]);
        let mut values = invoices(1..=4);
        let ended = dispatcher().batch_size(2).dispatch(&failing, &mut values).await;
        if is_unique {
            let summary = ended.unwrap();
            assert_eq!(summary.to_string(), "2 added, 2 were there already, 0 refused");
            assert_eq!(references(&items(&store).await), ["INV-1", "INV-2", "INV-3", "INV-4"], "each once");
        } else {
            let error = ended.unwrap_err();
            assert_eq!(error.source.kind(), ErrorKind::Unknown);
            let left: Vec<Invoice> = error.remaining.into_iter().chain(values).collect();
            assert_eq!(left, invoices(1..=4).collect::<Vec<_>>(), "read or not, no value is lost");
            assert_eq!(items(&store).await.len(), 2, "nothing was added twice");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_does_not_pass_is_not_repeated() {
    let store = store(true).await;
    for kind in [ErrorKind::Unauthorized, ErrorKind::NotFound, ErrorKind::Other] {
        let failing = Failing::new(store.clone(), [Fault::Before(kind)]);
        let error = dispatcher().dispatch(&failing, invoices(1..=3)).await.unwrap_err();
        assert_eq!((error.source.kind(), failing.calls.load(Ordering::Relaxed)), (kind, 2));
        assert_eq!(error.remaining.len(), 3);
    }
}
