//! Damaged rows in a store: one of them must stop neither its queue nor the calls in the same batch.
#![cfg(feature = "sqlite")]

use std::sync::Arc;

use performer::model::ReferenceFilter;
use performer::orchestrator::Report;
use performer::orchestrator::store::Store;
use performer::{
    Administration, ErrorKind, ItemFilter, ItemId, NewQueueDefinition, Page, QueuePolicy, Status,
};
use performer_proofs::*;

/// A store that a test damages with another program's connection.
struct Damaged {
    store: Arc<dyn Administration>,
    /// Opens the store as another process does, which took none of its items and so has to read their rows.
    url: String,
    execute: Box<dyn Fn(&str)>,
}

impl Damaged {
    async fn sqlite(folder: &std::path::Path) -> Self {
        let path = folder.join("queue.db");
        let store = Arc::new(Store::sqlite(&path).await.unwrap());
        let url = format!("sqlite:{}", path.display());
        let execute = move |sql: &str| {
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
            let connection = rusqlite::Connection::open_with_flags(&path, flags).unwrap();
            connection.execute_batch(&sql.replace("{schema}.", "")).unwrap();
        };
        Self { store, url, execute: Box::new(execute) }
    }

    #[cfg(feature = "postgres")]
    async fn postgres(schema: Arc<postgres::Schema>) -> Self {
        let store = Arc::new(Store::postgres(&schema.url).await.unwrap());
        Self { store, url: schema.url.clone(), execute: Box::new(move |sql| drop(schema.run(sql))) }
    }

    async fn add(&self, reference: &str) -> ItemId {
        self.store.add_queue_item(QUEUE, named(reference)).await.unwrap().id
    }
}

/// What another program may have written into a row of the table `item`.
const OF_ANY_STORE: &[&str] = &["priority = 99"];
const OF_SQLITE: &[&str] = &[
    "priority = -1",
    "creation_time = 9223372036854775807",
    "risk_sla_date = -9223372036854775808",
    "unique_key = x'00'",
    "reference = CAST(x'ff' AS TEXT)",
    "content = CAST(x'7b22ff227d' AS TEXT)",
];

async fn a_damaged_row_stops_nobody(damaged: &Damaged, damages: &[&str]) {
    let store = &damaged.store;
    let policy = QueuePolicy::default().retry_abandoned_items(true);
    for damage in damages {
        store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy.clone())).await.unwrap();
        let job = store.start_job(new_job()).await.unwrap();

        // It waits before others, and a claim for one item passes over it, again and again.
        let bad = damaged.add("bad").await;
        let good = [damaged.add("b").await, damaged.add("c").await, damaged.add("d").await];
        let held = damaged.add("held").await;
        let only = |name: &str| Some(ReferenceFilter::Equals(name.to_owned()));
        let taken = take(job, 1).reference(only("held"));
        let taken = store.report_and_claim(Vec::new(), Some(taken)).await.claimed.unwrap().items;
        let held_claim = taken[0].claim;
        (damaged.execute)(&format!("UPDATE {{schema}}.item SET {damage} WHERE id = {bad}"));
        let mut claims = Vec::new();
        for expected in good {
            let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
            assert_eq!(taken.iter().map(|item| item.item.id).collect::<Vec<_>>(), [expected], "{damage}");
            claims.push(taken[0].claim);
        }
        let taken = store.report_and_claim(Vec::new(), Some(take(job, 9))).await.claimed.unwrap();
        assert!(taken.items.is_empty(), "{damage}");
        let prefixed = take(job, 9).reference(ReferenceFilter::StartsWith("b".to_owned()));
        let taken = store.report_and_claim(Vec::new(), Some(prefixed)).await.claimed.unwrap();
        assert!(taken.items.is_empty(), "{damage}");

        // Lists pass over it; who asks for it is told.
        let listed = store.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap().items;
        let listed: Vec<ItemId> = listed.iter().map(|item| item.id).collect();
        assert!(good.iter().all(|id| listed.contains(id)) && !listed.contains(&bad), "{damage}: {listed:?}");
        let error = store.get_queue_item(bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        assert!(error.to_string().contains("cannot be read"), "{error}");

        // One call: a report on an item whose row cannot be read, one on another item, and a claim.
        (damaged.execute)(&format!("UPDATE {{schema}}.item SET {damage} WHERE id = {held}"));
        damaged.add("e").await;
        let report = |claim| Report::new(claim, ok());
        let reports = vec![report(claims[0]), report(held_claim), report(claims[1])];
        let elsewhere = performer::connect(&damaged.url).await.unwrap();
        let answer = elsewhere.report_and_claim(reports, Some(take(job, 1))).await;
        let statuses: Vec<_> =
            answer.reports.into_iter().map(|report| report.map_err(|e| e.kind())).collect();
        let ended = Ok(Status::Successful);
        // A report reads the state of an item, and not its content.
        let of_state = ["priority", "creation_time"].iter().any(|column| damage.starts_with(column));
        let on_damaged = if of_state { Err(ErrorKind::Other) } else { ended };
        assert_eq!(statuses, [ended, on_damaged, ended], "{damage}");
        assert_eq!(answer.claimed.unwrap().items.len(), 1, "{damage}");

        // The end of the job abandons what it can, and the queue can be deleted.
        store.end_job(job, performer::JobState::Faulted.into()).await.unwrap();
        assert_ne!(store.get_queue_item(good[2]).await.unwrap().status, Status::InProgress, "{damage}");
        store.delete_queue(QUEUE).await.unwrap();
        assert!(store.list_queues().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn sqlite_skips_a_damaged_row() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = Damaged::sqlite(folder.path()).await;
    a_damaged_row_stops_nobody(&damaged, &[OF_ANY_STORE, OF_SQLITE].concat()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_skips_a_damaged_row() {
    let damaged = Damaged::postgres(Arc::new(postgres::Schema::new())).await;
    a_damaged_row_stops_nobody(&damaged, OF_ANY_STORE).await;
}
