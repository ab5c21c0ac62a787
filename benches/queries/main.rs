//! Queries that people ask, on a store with a million items of which 30,000 failed: the 95th percentile of each beside 50 ms.
//!
//! `cargo bench -p performer-benches --bench queries [-- NAME…]` prints lines of `name  ours  limit  ratio`.

#![expect(clippy::disallowed_methods, reason = "a bench reads the machine's clock and opens its own files")]

mod store;

use std::time::{Duration, Instant};

use performer::jiff::Timestamp;
use performer::model::query::{Comparison, Condition, Field, Order, TextMatch, Value};
use performer::model::{
    ExceptionType, FiguresFilter, ItemFilter, ItemId, Page, PageCursor, Priority, ReasonCursor, ReasonFilter,
    ReasonOrder, ReferenceFilter, Resolution, ReviewStatus, Status,
};
use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer_benches::{Bar, Bench, Unit, print_line};
use tokio::runtime::Runtime;

use self::store::QUEUE;

/// How long a query may take, 95 times out of 100.
const LIMIT: Duration = Duration::from_millis(50);

/// How often each is asked in a series, and how many series there are.
const TIMES: usize = 40;
const SERIES: usize = 3;

fn main() {
    // `cargo bench` passes flags of its own; the others are names of figures.
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let bench = Bench::new(names);
    let runtime = Runtime::new().expect("a runtime");
    println!("{:<36}{:>12}{:>12}{:>8}  bar", "name", "p95", "limit", "ratio");
    if bench.wants_any("sqlite") {
        let (store, _folder) = store::sqlite(&runtime);
        queries(&bench, &runtime, "sqlite", &store);
    }
    if bench.wants_any("postgres") {
        match std::env::var("PERFORMER_TEST_POSTGRES") {
            Ok(server) => {
                let (store, _schema) = store::postgres(&runtime, &server);
                queries(&bench, &runtime, "postgres", &store);
            }
            Err(_) => println!(
                "postgres: left out, because PERFORMER_TEST_POSTGRES is not set; \
                 scripts/postgres cargo bench -p performer-benches --bench queries -- postgres"
            ),
        }
    }
}

/// When the figures of a month end.
fn end_of_figures() -> Timestamp {
    Timestamp::from_second(60 * *store::LAST_MINUTE).expect("a time")
}

struct Asked<'a> {
    bench: &'a Bench,
    runtime: &'a Runtime,
    engine: &'static str,
    store: &'a dyn Administration,
}

impl Asked<'_> {
    /// Asks a query many times. `ask` returns how many rows it has found, of which there have to be some.
    fn query(&self, name: &str, ask: &impl AsyncFn(&dyn Administration, usize) -> usize) {
        let name = format!("{}.query.{name}", self.engine);
        if !self.bench.wants(&name) {
            return;
        }
        let series = |_| {
            let mut times: Vec<Duration> = (0..TIMES)
                .map(|number| {
                    let started = Instant::now();
                    let found = self.runtime.block_on(ask(self.store, number));
                    let time = started.elapsed();
                    assert!(found > 0, "{name} finds something");
                    time
                })
                .collect();
            times.sort_unstable();
            times[TIMES * 95 / 100 - 1].as_secs_f64()
        };
        // Of the series that other programs disturbed least.
        let p95 = (0..SERIES).map(series).fold(f64::INFINITY, f64::min);
        print_line(&format!("{name:<35}"), Unit::Time, Bar::AtMost(1.0), p95, LIMIT.as_secs_f64());
    }

    fn items(&self, name: &str, filter: &ItemFilter, page: impl Fn(usize) -> Page) {
        self.query(name, &async |store, number| {
            store.list_queue_items(filter.clone(), page(number)).await.expect("a page").items.len()
        });
    }
}

fn queries(bench: &Bench, runtime: &Runtime, engine: &'static str, store: &Store) {
    let asked = Asked { bench, runtime, engine, store };
    let all = ItemFilter::default;
    let here = || all().queue(QUEUE);
    let failed = || here().status([Status::Failed]);
    let newest = |_: usize| Page::default().descending(true);
    // Somewhere in the list, elsewhere each time.
    let behind =
        |number: usize| PageCursor::from(ItemId(20_000 + 23_000 * i64::try_from(number).expect("small")));
    let deep = |number: usize| Page::default().descending(true).after(behind(number));
    let starts = |text: &str| ReferenceFilter::StartsWith(text.to_owned());
    let order = |field, descending| vec![Order { field, descending }];

    // What a query costs that finds one row of a few: what is left of it on a machine that others use.
    asked.query("trivial", &async |store, _| {
        usize::try_from(store.get_queue(QUEUE).await.expect("the queue").id.0).expect("a number")
    });
    asked.items("page.newest", &here(), newest);
    asked.items("page.after", &here(), deep);
    asked.items("page.after.oldest", &here(), |number| Page::default().after(behind(number)));
    asked.items("page.failed", &failed(), newest);
    asked.items("page.failed.after", &failed(), deep);
    asked.items("page.successful.after", &here().status([Status::Successful]), deep);
    asked.items("page.new.after", &here().status([Status::New]), deep);
    asked.items("page.open", &failed().review_status([ReviewStatus::None, ReviewStatus::InReview]), newest);
    asked.items("page.business", &failed().exception_type(ExceptionType::BusinessException), newest);
    asked.items("page.failed.by_end", &failed().order(order(Field::EndProcessing, true)), newest);
    asked.items("page.failed.by_end.oldest", &failed().order(order(Field::EndProcessing, false)), newest);
    asked.items("page.failed.by_created", &failed().order(order(Field::CreationTime, true)), newest);
    asked.items("page.failed.by_due", &failed().order(order(Field::DueDate, false)), newest);
    let recent =
        Condition::Compare(Field::EndProcessing, Comparison::Greater, Value::Time(Timestamp::UNIX_EPOCH));
    asked.items("page.failed.ended_since", &failed().condition(recent), newest);
    asked.items("page.failed.priority", &failed().priority(Priority::Normal), newest);
    let nobody = Condition::Compare(Field::ReviewerUserId, Comparison::Equal, Value::Null);
    asked.items("page.failed.no_reviewer", &failed().condition(nobody), newest);
    asked.items("page.any.business", &here().exception_type(ExceptionType::BusinessException), newest);
    let by_end = failed().order(order(Field::EndProcessing, true));
    let first = runtime.block_on(store.list_queue_items(by_end.clone(), Page::default())).expect("a page");
    let second = first.next(&by_end);
    asked.items("page.failed.by_end.after", &by_end, |_| Page::default().after(second.clone()));
    let several = here().status([Status::Failed, Status::Abandoned, Status::Retried, Status::Deleted]);
    asked.items("page.attention.after", &several, deep);

    asked.items("reference", &here().reference(ReferenceFilter::Equals("INV-0123456".to_owned())), newest);
    asked.items("prefix.ten", &here().reference(starts("INV-012345")), newest);
    asked.items("prefix.ten_thousand", &here().reference(starts("INV-012")), newest);
    asked.items("prefix.hundred_thousand", &here().reference(starts("INV-01")), |_| Page::default());
    asked.items("prefix.all", &here().reference(starts("INV-")), newest);
    asked.items("prefix.all.after", &here().reference(starts("INV-")), deep);
    asked.items("prefix.failed", &failed().reference(starts("INV-012")), newest);
    let text = Condition::Text(Field::Reference, TextMatch::StartsWith, "INV-0123".to_owned());
    asked.items("prefix.condition", &here().condition(text), newest);

    asked.items("count.priority", &here().priority(Priority::Normal), newest);
    asked.items("count.created", &here().created_from(Timestamp::UNIX_EPOCH), newest);
    asked.items("count.successful", &here().status([Status::Successful]).priority(Priority::Normal), newest);
    asked.query("statistics", &async |store, _| {
        usize::try_from(store.queue_statistics(QUEUE).await.expect("statistics").total()).expect("a number")
    });
    let reasons = async |store: &dyn Administration, filter: ReasonFilter| {
        store.list_reasons(filter).await.expect("reasons")
    };
    asked.query("reasons.open", &async |store, _| reasons(store, ReasonFilter::default()).await.len());
    asked.query("reasons.last", &async |store, _| {
        reasons(store, ReasonFilter::default().queues([QUEUE]).order(ReasonOrder::LastSeen)).await.len()
    });
    let first = runtime.block_on(store.list_reasons(ReasonFilter::default().top(10))).expect("reasons");
    let last = ReasonCursor::behind(&first[9], ReasonOrder::MostOpen);
    asked.query("reasons.after", &async |store, _| {
        reasons(store, ReasonFilter::default().after(last)).await.len()
    });
    let of_reason = here().reason(first[0].id);
    asked.items("reason.items.prefix", &of_reason.clone().reference(starts("INV-012")), newest);
    asked.items("reason.items", &of_reason, newest);
    asked.items("reason.items.after", &of_reason, deep);
    asked.items("reason.items.open", &of_reason.status([Status::Failed]), newest);

    let (until, hour) = (end_of_figures(), Duration::from_secs(3_600));
    let figures = |since: Timestamp, resolution| {
        let filter = FiguresFilter::new(since, until).queues([QUEUE]).resolution(resolution);
        async move |store: &dyn Administration, _: usize| {
            store.queue_figures(filter.clone()).await.expect("figures").ended.len()
        }
    };
    asked.query("figures.hour", &figures(until - hour, Resolution::Minute));
    asked.query("figures.day", &figures(until - 24 * hour, Resolution::Minute));
    asked.query("figures.month", &figures(until - 24 * 30 * hour, Resolution::Hour));
}
