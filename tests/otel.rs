//! OpenTelemetry: the trace of whoever adds an item goes on in its transactions.

mod support;

use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use performer::prelude::*;
use support::QUEUE;
use support::scripted::*;
use tracing::instrument::WithSubscriber as _;
use tracing::{Dispatch, Instrument as _, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

/// A program that exports its spans of level INFO, and logs everything.
struct Traced {
    exporter: InMemorySpanExporter,
    subscriber: Dispatch,
}

impl Traced {
    fn new() -> Self {
        Self::activating(true)
    }

    /// Whether the layer sets the context of OpenTelemetry for the thread, which is its default.
    fn activating(activating: bool) -> Self {
        // `tracing` remembers for all threads whether anybody wants the spans of a line, and another test may be the first to reach
        // it. An error says that another test has set it.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("test"))
            .with_context_activation(activating);
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
        let subscriber = tracing_subscriber::registry().with(spans.with_filter(LevelFilter::INFO)).with(log);
        Self { exporter, subscriber: Dispatch::new(subscriber) }
    }

    /// Runs something as this program. The runtime has one thread, so that all its tasks belong to the program.
    async fn run<T>(&self, program: impl Future<Output = T>) -> T {
        let _default = tracing::dispatcher::set_default(&self.subscriber);
        program.with_subscriber(self.subscriber.clone()).await
    }

    /// The spans with this name that have ended, in the order in which they started.
    fn spans(&self, name: &str) -> Vec<SpanData> {
        let mut spans = self.exporter.get_finished_spans().unwrap();
        spans.retain(|span| span.name == name);
        spans.sort_by_key(|span| span.start_time);
        spans
    }
}

/// Processes everything that is in the queue.
async fn perform(
    orchestrator: &std::sync::Arc<dyn Administration>,
    settings: impl Fn(Performer) -> Performer,
) {
    let performer = Performer::new(QUEUE, ScriptedTransaction::default).handle_signals(false);
    settings(performer).run_until_empty(orchestrator.clone()).await.unwrap();
}

async fn with_queue(url: &str) -> std::sync::Arc<dyn Administration> {
    let orchestrator = connect(url).await.unwrap();
    orchestrator.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    orchestrator
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

#[cfg(not(feature = "otel"))]
#[tokio::test]
async fn without_the_feature_an_item_keeps_nothing_and_the_span_is_as_before() {
    let traced = Traced::new();
    traced
        .run(async {
            let orchestrator = with_queue("memory:").await;
            let add = orchestrator.add_queue_item(QUEUE, script("INV-1", "ok"));
            let added = add.instrument(info_span!("order")).await.unwrap();
            assert_eq!(added.parent_operation_id, None);
            perform(&orchestrator, |performer| performer).await;
        })
        .await;
    assert_eq!(traced.spans("order").len(), 1, "the test looks at something");
    let [transaction] = traced.spans("transaction").try_into().unwrap();
    assert_eq!(transaction.span_kind, SpanKind::Internal);
    assert!(transaction.links.is_empty() && attribute(&transaction, "messaging.system").is_none());
    assert_eq!(
        (attribute(&transaction, "reference").unwrap(), transaction.status),
        ("INV-1".to_owned(), Status::Unset)
    );
}

#[cfg(feature = "otel")]
mod followed {
    use std::sync::Arc;

    use opentelemetry::trace::SpanContext;
    use performer::model::NewJob;
    use performer::orchestrator::ClaimRequest;
    use performer::{CommitType, QueueItem};

    use super::*;
    #[cfg(all(feature = "server", feature = "uipath"))]
    use crate::support::served::{CLIENT, SECRET, Served};

    /// A value of the header `traceparent`, its trace and its span.
    const FOREIGN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    impl Traced {
        fn transactions(&self) -> Vec<SpanData> {
            self.spans("process Invoices")
        }
    }

    /// Each link of a span: what it is, and the span that it leads to.
    fn links(span: &SpanData) -> Vec<(String, SpanContext)> {
        let link = |link: &opentelemetry::trace::Link| {
            let [kind] = link.attributes.as_slice() else { panic!("{link:?}") };
            assert_eq!(kind.key.as_str(), "messaging.performer.link");
            (kind.value.to_string(), link.span_context.clone())
        };
        span.links.iter().map(link).collect()
    }

    /// The trace and the span of a context: one that came from elsewhere is not equal to itself in other ways.
    fn ids(context: &SpanContext) -> (String, String) {
        (context.trace_id().to_string(), context.span_id().to_string())
    }

    fn parent(span: &SpanData) -> (String, String) {
        (span.span_context.trace_id().to_string(), span.parent_span_id.to_string())
    }

    /// Every kind of back end that needs nothing installed, each with a queue; and what keeps it running.
    async fn back_ends() -> Vec<(Arc<dyn Administration>, Box<dyn std::any::Any>)> {
        let mut all: Vec<(Arc<dyn Administration>, Box<dyn std::any::Any>)> =
            vec![(with_queue("memory:").await, Box::new(()))];
        #[cfg(feature = "sqlite")]
        {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}", folder.path().join("a.db").display());
            all.push((with_queue(&url).await, Box::new(folder)));
        }
        #[cfg(all(feature = "server", feature = "uipath"))]
        {
            let served = Served::start().await;
            let client = served.client().await;
            client.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
            all.push((client, Box::new(served)));
        }
        all
    }

    /// Adds three items, each in another way; the last one is given back.
    async fn add_in_every_way(orchestrator: &Arc<dyn Administration>) -> Vec<QueueItem> {
        let one = orchestrator.add_queue_item(QUEUE, script("INV-1", "ok")).await.unwrap();
        let many = vec![script("INV-2", "ok")];
        let added = orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, many).await.unwrap();
        assert_eq!(added.added, 1);
        let job = orchestrator.start_job(NewJob::new(QUEUE)).await.unwrap();
        let request = ClaimRequest::new(QUEUE, job, 1).robot(1);
        let started = orchestrator.add_and_start_transaction(request, script("INV-3", "ok")).await.unwrap();
        let end = performer::JobEnd::new(performer::JobState::Successful);
        orchestrator.end_job(job, end).await.unwrap();
        let filter = performer::ItemFilter::default();
        let listed = orchestrator.list_queue_items(filter, performer::Page::default()).await.unwrap().items;
        assert_eq!(listed.len(), 3);
        assert!(
            listed.iter().any(|item| item.id == one.id)
                && listed.iter().any(|item| item.id == started.item.id)
        );
        listed
    }

    #[tokio::test]
    async fn an_item_keeps_the_span_in_which_it_is_added_and_its_transaction_is_a_child_of_it() {
        let traced = Traced::new();
        traced
            .run(async {
                for (at, (orchestrator, _running)) in back_ends().await.into_iter().enumerate() {
                    traced.exporter.reset();
                    let items = add_in_every_way(&orchestrator).instrument(info_span!("order")).await;
                    let [order] = traced.spans("order").try_into().unwrap();
                    let (trace, span) = ids(&order.span_context);
                    for item in &items {
                        assert_eq!(item.parent_operation_id, Some(format!("00-{trace}-{span}-01")), "{at}");
                    }
                    perform(&orchestrator, |performer| performer.robots(2)).await;
                    let transactions = traced.transactions();
                    assert_eq!(transactions.len(), 2, "{at}: the third one is Abandoned with its job");
                    for transaction in transactions {
                        assert_eq!(parent(&transaction), (trace.clone(), span.clone()));
                        assert!(transaction.parent_span_is_remote);
                        let [(kind, link)] = links(&transaction).try_into().unwrap();
                        assert_eq!((kind.as_str(), ids(&link)), ("creation", (trace.clone(), span.clone())));
                        let reference = attribute(&transaction, "reference");
                        let item = items.iter().find(|item| item.reference == reference).unwrap();
                        let is = |name: &str, value: &str| {
                            assert_eq!(attribute(&transaction, name).as_deref(), Some(value), "{name}");
                        };
                        is("messaging.system", "performer");
                        is("messaging.destination.name", QUEUE);
                        is("messaging.operation.name", "process");
                        is("messaging.operation.type", "process");
                        is("messaging.message.id", &item.unique_key.to_string());
                        is("messaging.message.conversation_id", &item.key.to_string());
                        is("messaging.performer.outcome", "Successful");
                        is("queue", QUEUE);
                        assert!(attribute(&transaction, "messaging.client.id").is_some());
                        assert_eq!(attribute(&transaction, "error.type"), None);
                        assert_eq!(
                            (transaction.span_kind, transaction.status),
                            (SpanKind::Consumer, Status::Unset)
                        );
                    }
                }
            })
            .await;
    }

    #[tokio::test]
    async fn a_retry_is_linked_to_the_attempt_before_it() {
        let traced = Traced::new();
        traced
            .run(async {
                for (orchestrator, _running) in back_ends().await {
                    for claim_ahead in [0, 2] {
                        traced.exporter.reset();
                        let add = orchestrator.add_queue_item(QUEUE, script("INV-1", "application once"));
                        let added = add.instrument(info_span!("order")).await.unwrap();
                        perform(&orchestrator, |performer| performer.claim_ahead(claim_ahead)).await;
                        let [order] = traced.spans("order").try_into().unwrap();
                        let [first, second] = traced.transactions().try_into().unwrap();
                        for attempt in [&first, &second] {
                            assert_eq!(parent(attempt), ids(&order.span_context), "one trace, one parent");
                        }
                        let kinds = |span: &SpanData| {
                            links(span).into_iter().map(|(kind, to)| (kind, ids(&to))).collect::<Vec<_>>()
                        };
                        let creation = ("creation".to_owned(), ids(&order.span_context));
                        assert_eq!(kinds(&first), std::slice::from_ref(&creation));
                        let previous = ("previous_attempt".to_owned(), ids(&first.span_context));
                        assert_eq!(kinds(&second), [creation, previous]);
                        let ancestor = "messaging.performer.ancestor_id";
                        assert_eq!(attribute(&first, ancestor), None);
                        assert_eq!(attribute(&second, ancestor), Some(added.id.to_string()));

                        assert_eq!(first.status, Status::error("the world is wrong"));
                        assert_eq!(second.status, Status::Unset);
                        assert_eq!(attribute(&first, "messaging.performer.outcome").unwrap(), "Retried");
                        assert_eq!(attribute(&first, "error.type").unwrap(), "ApplicationException");
                    }
                }
            })
            .await;
    }

    /// The attributes of the exceptions that a span has recorded.
    fn exceptions(span: &SpanData) -> Vec<(String, String)> {
        let events = span.events.iter().filter(|event| event.name == "exception");
        let texts = events.map(|event| {
            let text = |name: &str| {
                let found = event.attributes.iter().find(|attribute| attribute.key.as_str() == name);
                found.unwrap_or_else(|| panic!("{name} of {event:?}")).value.to_string()
            };
            (text("exception.type"), text("exception.message"))
        });
        texts.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_outcome_is_the_status_and_exceptions_are_recorded() {
        let traced = Traced::new();
        let cases = [
            ("ok", "Successful", None),
            ("business", "BusinessException", Some(("BusinessException", "the data is wrong"))),
            ("application", "ApplicationException", Some(("ApplicationException", "the world is wrong"))),
            ("panic", "ApplicationException", Some(("ApplicationException", "panicked: at the disco"))),
            ("postpone", "Postponed", None),
        ];
        for (what, outcome, exception) in cases {
            traced.exporter.reset();
            traced
                .run(async {
                    let orchestrator = connect("memory:").await.unwrap();
                    let policy = QueuePolicy::default().max_number_of_retries(0);
                    orchestrator.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.unwrap();
                    orchestrator.add_queue_item(QUEUE, script_for("INV-1", what, 3_600)).await.unwrap();
                    perform(&orchestrator, |performer| performer).await;
                })
                .await;
            let [transaction] = traced.transactions().try_into().unwrap();
            assert_eq!(attribute(&transaction, "messaging.performer.outcome").as_deref(), Some(outcome));
            let recorded = exceptions(&transaction);
            let (kind, reason) = match exception {
                Some((kind, reason)) => (Some(kind.to_owned()), Some(reason.to_owned())),
                None => (None, None),
            };
            assert_eq!(attribute(&transaction, "error.type"), kind, "{what}");
            assert_eq!(recorded, kind.zip(reason.clone()).into_iter().collect::<Vec<_>>(), "{what}");
            assert_eq!(transaction.status, reason.map_or(Status::Unset, Status::error), "{what}");
        }
    }

    #[tokio::test]
    async fn a_lost_claim_is_an_error() {
        let traced = Traced::new();
        traced
            .run(async {
                let orchestrator = with_queue("memory:").await;
                let added = orchestrator.add_queue_item(QUEUE, script("INV-1", "wait")).await.unwrap();
                let transaction = ScriptedTransaction::default();
                let (begun, go_on) = (transaction.begun.clone(), transaction.go_on.clone());
                let performer = Performer::new(QUEUE, move || transaction.clone()).handle_signals(false);
                let run = performer.run_until_empty(orchestrator.clone());
                let lose = async {
                    begun.notified().await;
                    let job = orchestrator.list_jobs(1).await.unwrap().remove(0);
                    let end = performer::JobEnd::new(performer::JobState::Faulted);
                    orchestrator.end_job(job.key, end).await.unwrap();
                    go_on.notify_one();
                };
                let (summary, ()) = tokio::join!(run, lose);
                assert_eq!(summary.unwrap().claims_lost, 1, "{}", added.id);
            })
            .await;
        let [transaction] = traced.transactions().try_into().unwrap();
        assert_eq!(attribute(&transaction, "error.type").as_deref(), Some("ClaimLost"));
        assert_eq!(transaction.status, Status::error("ClaimLost"));
    }

    #[tokio::test]
    async fn without_a_span_or_with_an_id_of_the_callers_a_transaction_has_no_parent() {
        let traced = Traced::new();
        traced
            .run(async {
                let orchestrator = with_queue("memory:").await;
                let outside = orchestrator.add_queue_item(QUEUE, script("INV-1", "ok")).await.unwrap();
                assert_eq!(outside.parent_operation_id, None);
                let malformed = FOREIGN.replace("-01", "-0x");
                for (reference, given) in [("INV-2", "operation 17"), ("INV-3", &malformed), ("INV-4", "")] {
                    let mut item = script(reference, "ok");
                    item.origin.parent_operation_id = Some(given.to_owned());
                    let add = orchestrator.add_queue_item(QUEUE, item);
                    let added = add.instrument(info_span!("order")).await.unwrap();
                    assert_eq!(added.parent_operation_id.as_deref(), Some(given));
                }
                perform(&orchestrator, |performer| performer).await;
            })
            .await;
        let transactions = traced.transactions();
        assert_eq!(transactions.len(), 4);
        let orders = traced.spans("order");
        for transaction in transactions {
            assert_eq!(parent(&transaction).1, "0".repeat(16));
            assert!(transaction.links.is_empty());
            let traces = orders.iter().map(|order| order.span_context.trace_id());
            assert!(traces.into_iter().all(|trace| trace != transaction.span_context.trace_id()));
        }
    }

    /// The log has a span inside that of the order, which the filter of OpenTelemetry leaves out.
    #[tokio::test]
    async fn the_innermost_span_that_opentelemetry_sees_is_kept() {
        for activating in [true, false] {
            let traced = Traced::activating(activating);
            let add = async || {
                let orchestrator = with_queue("memory:").await;
                orchestrator.add_queue_item(QUEUE, script("INV-1", "ok")).await.unwrap().parent_operation_id
            };
            let kept = traced
                .run(async {
                    let in_order = add().instrument(info_span!("order")).await;
                    let in_detail = async { add().instrument(tracing::debug_span!("detail")).await };
                    [in_order, in_detail.instrument(info_span!("order")).await]
                })
                .await;
            let mut orders = traced.spans("order").into_iter().map(|order| {
                let (trace, span) = ids(&order.span_context);
                Some(format!("00-{trace}-{span}-01"))
            });
            assert_eq!(kept[0], orders.next().unwrap());
            // Where the thread has no context, the span of the log hides that of the order.
            assert_eq!(kept[1], orders.next().unwrap().filter(|_| activating));
        }
    }

    /// A producer that knows OpenTelemetry but not `tracing`, and one that is not sampled.
    #[tokio::test]
    async fn a_context_without_a_span_of_tracing_is_kept_too() {
        use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, TraceFlags, TraceState};
        let traced = Traced::new();
        for (flags, shown) in [(TraceFlags::SAMPLED, "-01"), (TraceFlags::default(), "-00")] {
            let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
            let of = SpanContext::new(
                opentelemetry::TraceId::from_hex(trace).unwrap(),
                opentelemetry::SpanId::from_hex(span).unwrap(),
                flags,
                false,
                TraceState::default(),
            );
            let context = opentelemetry::Context::new().with_remote_span_context(of);
            let added = traced
                .run(async {
                    let orchestrator = with_queue("memory:").await;
                    let add = orchestrator.add_queue_item(QUEUE, script("INV-1", "ok"));
                    let added = add.with_context(context).await.unwrap();
                    perform(&orchestrator, |performer| performer).await;
                    added
                })
                .await;
            assert_eq!(added.parent_operation_id, Some(FOREIGN.replace("-01", shown)));
        }
        assert_eq!(traced.transactions().len(), 1, "what is not sampled is not exported");
    }

    /// A retry that another process takes: it knows the trace and the ancestor, and has no link to the attempt.
    #[tokio::test]
    async fn a_retry_that_nobody_here_remembers_is_in_the_same_trace() {
        let traced = Traced::new();
        traced
            .run(async {
                let orchestrator = with_queue("memory:").await;
                let mut item = script("INV-1", "ok");
                item.origin.parent_operation_id = Some(FOREIGN.to_owned());
                orchestrator.add_queue_item(QUEUE, item).await.unwrap();
                // As another process would: by hand, outside of a performer.
                let job = orchestrator.start_job(NewJob::new(QUEUE)).await.unwrap();
                let request = ClaimRequest::new(QUEUE, job, 1).robot(1);
                let claimed = orchestrator.report_and_claim(Vec::new(), Some(request)).await.claimed.unwrap();
                let exception = performer::ProcessingException::new(
                    performer::ExceptionType::ApplicationException,
                    "elsewhere",
                    performer_conformance::start_of_time(),
                );
                let failed = performer::model::TransactionResult::Failed {
                    exception: Some(exception),
                    defer_date: None,
                };
                let report = performer::orchestrator::Report::new(claimed.items[0].claim, failed);
                let mut answer = orchestrator.report_and_claim(vec![report], None).await;
                assert_eq!(answer.reports.remove(0).unwrap(), performer::Status::Retried);
                perform(&orchestrator, |performer| performer).await;
            })
            .await;
        let [retry] = traced.transactions().try_into().unwrap();
        assert_eq!(attribute(&retry, "retry_number").as_deref(), Some("1"));
        assert!(FOREIGN.contains(&parent(&retry).0) && FOREIGN.contains(&parent(&retry).1));
        assert_eq!(links(&retry).len(), 1, "the creation alone");
        assert!(attribute(&retry, "messaging.performer.ancestor_id").is_some());
    }

    #[cfg(all(feature = "server", feature = "uipath"))]
    #[tokio::test]
    async fn the_transaction_of_a_foreign_clients_item_follows_from_its_request() {
        let traced = Traced::new();
        traced
            .run(async {
                let served = Served::start().await;
                let orchestrator = served.client().await;
                orchestrator.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
                let form = "content-type: application/x-www-form-urlencoded";
                let login = format!(
                    "grant_type=client_credentials&client_id={CLIENT}&client_secret={}",
                    SECRET.replace(' ', "+")
                );
                let token = served.post("/identity_/connect/token", &[form], &login).await;
                let token = format!("authorization: Bearer {}", token["access_token"].as_str().unwrap());
                let traceparent = format!("traceparent: {FOREIGN}");
                let headers =
                    [&token, "content-type: application/json", "x-uipath-folderpath: Shared", &traceparent];
                let body = r#"{"itemData":{"Name":"Invoices","SpecificContent":{"do":"ok"}}}"#;
                let path = "/odata/Queues/UiPathODataSvc.AddQueueItem";
                let added = served.post(path, &headers, body).await;
                assert_eq!(added["ParentOperationId"], FOREIGN);
                perform(&orchestrator, |performer| performer).await;
            })
            .await;
        let [transaction] = traced.transactions().try_into().unwrap();
        let [_, trace, span, _] = FOREIGN.split('-').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(parent(&transaction), (trace.to_owned(), span.to_owned()));
        assert_eq!(ids(&links(&transaction)[0].1), parent(&transaction));
    }
}
