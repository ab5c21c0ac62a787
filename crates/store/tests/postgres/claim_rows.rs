//! The rows of `item_claim`: what jobs hold.

use performer::CommitType;
use performer::model::{JobEnd, JobState};

use super::*;

fn number(schema: &Schema, sql: &str) -> i64 {
    schema.run(sql)[0][0].as_ref().unwrap().parse().unwrap()
}

fn claims(schema: &Schema) -> i64 {
    number(schema, "SELECT count(*) FROM {schema}.item_claim")
}

async fn filled(store: &Store, count: usize) -> JobKey {
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let items = (0..count).map(|at| named(&at.to_string())).collect();
    let added = store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert!(added.failed.is_empty());
    store.start_job(new_job()).await.unwrap()
}

fn success(item: &ClaimedItem) -> Report {
    Report::new(item.claim, ok())
}

#[tokio::test]
async fn a_success_updates_its_row_in_place_and_leaves_no_claim_row() {
    const COUNT: i64 = 2_000;
    let schema = Schema::new();
    let store = open(&schema.url).await;
    let job = filled(&store, usize::try_from(COUNT).unwrap()).await;
    let mut held = Vec::new();
    loop {
        let reports = held.iter().map(success).collect();
        let answer = store.report_and_claim(reports, Some(take(job, 10))).await;
        assert!(answer.reports.iter().all(Result::is_ok));
        held = answer.claimed.unwrap().items;
        if held.is_empty() {
            break;
        }
    }
    // The rows that ended last are removed together with the next ones.
    assert!(claims(&schema) < 32, "{} claims of {} are left", claims(&schema), COUNT / 10);
    store.end_job(job, JobEnd::from(JobState::Successful)).await.unwrap();
    assert_eq!(claims(&schema), 0);
    drop(store); // what a connection counts is told when it ends, if not before
    let changed_in_place = "SELECT pg_stat_get_tuples_hot_updated('{schema}.item_state'::regclass)";
    let in_place = (0..500).map(|_| number(&schema, changed_in_place)).find(|count| *count > 0);
    assert!(in_place > Some(COUNT * 9 / 10), "of {COUNT} rows {in_place:?} were changed where they stood");
}

#[tokio::test]
async fn claim_rows_whose_ends_others_write_are_compacted() {
    const AT_ONCE: usize = 1_000;
    let schema = Schema::new();
    let (takes, reports) = (open(&schema.url).await, open(&schema.url).await);
    let job = filled(&takes, 24 * AT_ONCE).await;
    let mut kept = Vec::new();
    for _ in 0..24 {
        let taken = takes.report_and_claim(Vec::new(), Some(take(job, AT_ONCE))).await.claimed;
        let mut items = taken.unwrap().items;
        kept.extend(items.pop());
        let reported = reports.report_and_claim(items.iter().map(success).collect(), None).await;
        assert!(reported.reports.iter().all(Result::is_ok));
    }
    // The store that claimed them does not count their ends: from time to time it asks the database what is held.
    assert!(claims(&schema) < 24, "{} claims", claims(&schema));
    let named = "SELECT sum(cardinality(items))::bigint FROM {schema}.item_claim";
    assert!(number(&schema, named) < 20_000, "{} items are named", number(&schema, named));
    // No held item was lost: the next job gets them.
    let in_progress = ItemFilter::default().status([Status::InProgress]);
    let held = reports.list_queue_items(in_progress, Page::default()).await.unwrap().items;
    let ids = |items: &[performer::QueueItem]| items.iter().map(|item| item.id).collect::<Vec<_>>();
    assert_eq!(ids(&held), kept.iter().map(|item| item.item.id).collect::<Vec<_>>());
    reports.end_job(job, JobEnd::from(JobState::Faulted)).await.unwrap();
    assert_eq!(claims(&schema), 0);
    for item in kept {
        assert_eq!(takes.get_queue_item(item.item.id).await.unwrap().status, Status::Abandoned);
    }
}

/// Each connection counts in a row of its own; the rows of closed connections are merged later.
#[tokio::test]
async fn counters_of_closed_connections_are_merged() {
    let schema = Schema::new();
    open(&schema.url).await.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    for at in 0..20 {
        open(&schema.url).await.add_queue_item(QUEUE, named(&at.to_string())).await.unwrap();
    }
    let rows = number(&schema, "SELECT count(*) FROM {schema}.queue_statistics");
    assert!(rows < 20, "{rows} rows");
    assert_eq!(open(&schema.url).await.queue_statistics(QUEUE).await.unwrap().new, 20);
}

#[tokio::test]
async fn reports_written_together_are_answered_individually() {
    let schema = Schema::new();
    let (here, elsewhere) = (open(&schema.url).await, open(&schema.url).await);
    let job = filled(&here, 6).await;
    let held = here.report_and_claim(Vec::new(), Some(take(job, 6))).await.claimed.unwrap().items;
    // This store assumes all rows to be as it wrote them.
    for at in [1, 4] {
        let failed = Report::new(held[at].claim, performer_proofs::business("the data is wrong"));
        elsewhere.report_and_claim(vec![failed], None).await.reports.pop().unwrap().unwrap();
    }
    let told = |at: usize| {
        let report = success(&held[at]);
        // Those with and those without are two statements.
        if at.is_multiple_of(2) { report.progress("almost") } else { report }
    };
    let answers = here.report_and_claim((0..6).map(told).collect(), None).await.reports;
    for (at, answer) in answers.into_iter().enumerate() {
        let item = here.get_queue_item(held[at].item.id).await.unwrap();
        if [1, 4].contains(&at) {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::ClaimLost, "item {at}");
            assert_eq!(item.status, Status::Failed);
        } else {
            assert_eq!(answer.unwrap(), Status::Successful, "item {at}");
            assert_eq!(item.status, Status::Successful);
        }
    }
}
