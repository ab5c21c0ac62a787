//! Claims begin where nothing waits before; nothing that waits is before that, whatever others do meanwhile.

use std::time::Duration;

use performer::model::clock::Clock as _;
use performer::{ItemEdit, Priority};
use tokio_postgres::{Client, NoTls};

use super::*;

/// A fleet of two: what one does, the other does not see but in the database.
struct Fleet {
    schema: Schema,
    claims: Local,
    others: Local,
    job: JobKey,
    clock: Arc<ManualClock>,
}

impl Fleet {
    /// Many items have been taken already, so that claims begin far from the beginning.
    async fn new() -> Self {
        let (schema, clock) = (Schema::new(), clock());
        let open = async || Local::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
        let (claims, others) = (open().await, open().await);
        claims.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
        let job = claims.start_job(new_job()).await.unwrap();
        let fleet = Self { schema, claims, others, job, clock };
        for at in 0..3_000 {
            if at % 100 == 0 {
                fleet.add_many(100).await;
            }
            assert_eq!(fleet.take(1).await.len(), 1);
        }
        fleet
    }

    async fn add_many(&self, count: usize) {
        let items = (0..count).map(|at| named(&format!("early {at}"))).collect();
        let added = self.others.bulk_add_queue_items(QUEUE, performer::CommitType::AllOrNothing, items).await;
        assert!(added.unwrap().failed.is_empty());
    }

    async fn add(&self, item: NewQueueItem) -> performer::QueueItem {
        self.others.add_queue_item(QUEUE, item).await.unwrap()
    }

    async fn take(&self, count: usize) -> Vec<ClaimedItem> {
        let taken = self.claims.report_and_take(Vec::new(), Some(take(self.job, count))).await;
        taken.taken.unwrap().items
    }

    /// The references of what is taken next, in the order in which it is handed out.
    async fn next(&self, count: usize) -> Vec<String> {
        self.take(count).await.into_iter().map(|claimed| claimed.item.reference.unwrap()).collect()
    }

    /// Adds and takes many, so that claims begin behind everything that was there.
    async fn go_on(&self) {
        for at in 0..600 {
            self.add(named(&format!("{at}"))).await;
            assert_eq!(self.next(1).await, [format!("{at}")]);
        }
    }

    async fn client(&self) -> Client {
        let (server, _) = self.schema.url.split_once(['?', '&']).unwrap();
        let (client, connection) = tokio_postgres::connect(server, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

#[tokio::test]
async fn a_number_that_was_drawn_long_before_its_commit_is_not_passed() {
    let fleet = Fleet::new().await;
    let mut client = fleet.client().await;
    let transaction = client.transaction().await.unwrap();
    fleet.others.add_queue_item_in(&transaction, QUEUE, named("drawn first")).await.unwrap();
    // Meanwhile many later ones are taken, and claims go on from there.
    fleet.go_on().await;
    fleet.add(named("last")).await;
    transaction.commit().await.unwrap();
    assert_eq!(fleet.next(5).await, ["drawn first", "last"]);
}

#[tokio::test]
async fn what_returns_comes_before_what_is_new() {
    let fleet = Fleet::new().await;
    fleet.add(named("first")).await;
    let first = fleet.take(1).await.pop().unwrap();
    fleet.go_on().await;
    fleet.add(named("second")).await;
    assert_eq!(first.item.reference.as_deref(), Some("first"));
    let give_back = Report { claim: first.claim, result: given_back(), progress: None };
    let reported = fleet.others.report_and_take(vec![give_back], None).await;
    assert!(reported.reports[0].is_ok());
    assert_eq!(fleet.next(5).await, ["first", "second"]);
}

#[tokio::test]
async fn what_is_more_urgent_comes_first_wherever_claims_begin() {
    let fleet = Fleet::new().await;
    fleet.add(named("normal")).await;
    fleet.add(named("low").priority(Priority::Low)).await;
    fleet.add(named("high").priority(Priority::High)).await;
    fleet.add(named("due").due_date(fleet.clock.now() + Duration::from_secs(3_600))).await;
    let edited = fleet.add(named("edited").priority(Priority::Low)).await;
    assert_eq!(fleet.next(1).await, ["due"]);
    let edit = ItemEdit { priority: Some(Priority::High), ..ItemEdit::default() };
    fleet.others.edit_queue_item(edited.id, edit).await.unwrap();
    assert_eq!(fleet.next(9).await, ["high", "edited", "normal", "low"]);
}

#[tokio::test]
async fn what_comes_of_age_comes_in_its_turn() {
    let fleet = Fleet::new().await;
    fleet.add(named("deferred").defer_date(fleet.clock.now() + Duration::from_secs(60))).await;
    fleet.go_on().await;
    fleet.add(named("new")).await;
    fleet.clock.advance(Duration::from_secs(61));
    assert_eq!(fleet.next(9).await, ["deferred", "new"]);
}
