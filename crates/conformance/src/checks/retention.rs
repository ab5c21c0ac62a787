//! T23 of `docs/reference/lifecycle.md`: items that are past the retention of their queue are removed.

use performer::model::{ItemFilter, JobState, Person, ReferenceFilter};
use performer::orchestrator::CommitType;

use super::{DAY, look};
use crate::{Fixture, QUEUE, application, named, ok, retrying, take};

pub(crate) async fn t23_a_chain_is_removed_as_a_whole_when_all_of_it_is_old(f: Fixture) {
    let policy = retrying(1).retention_days(2).stale_retention_days(5);
    let f = f.with_queue(policy).await;
    let job = f.job().await;
    let done = f.add_named("done").await;
    let retried = f.add_named("retried").await;
    f.perform(job, ok()).await;
    f.perform(job, application("down")).await; // its copy waits
    f.orchestrator.add_comment(done.id, Person::default(), "soon gone".to_owned()).await.unwrap();
    f.add_named("waiting").await;
    f.advance(2 * DAY);
    assert_eq!(f.orchestrator.apply_retention(100).await.unwrap(), 0);
    f.advance(1);
    assert_eq!(f.orchestrator.apply_retention(100).await.unwrap(), 1, "the finished chain alone");
    assert!(f.orchestrator.get_queue_item(done.id).await.unwrap_err().is_not_found());
    assert_eq!(f.orchestrator.processing_history(retried.id).await.unwrap().len(), 2);
    f.check_statistics().await;
    f.advance(3 * DAY);
    assert_eq!(
        f.orchestrator.apply_retention(1).await.unwrap(),
        2,
        "a chain is not torn, whatever the limit"
    );
    assert_eq!(f.orchestrator.apply_retention(100).await.unwrap(), 1);
    assert_eq!(f.orchestrator.apply_retention(100).await.unwrap(), 0);
    assert!(f.list(ItemFilter::default()).await.is_empty());
    f.check_statistics().await;
    let next = f.add_named("next").await;
    assert!(next.id > retried.id, "a number is never given again");
}

/// Many old items that have to be kept are before the one to remove: it is found, chunk by chunk.
pub(crate) async fn t23_retention_scans_kept_items_in_chunks(f: Fixture) {
    let policy = retrying(1).retention_days(2).stale_retention_days(5);
    let f = f.with_queue(policy).await;
    let job = f.job().await;
    let items = (0..2_100).map(|n| named(&n.to_string())).collect();
    let added = f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert_eq!(added.added, 2_100);
    let done = f.add_named("done").await;
    let reference = Some(ReferenceFilter::Equals("done".to_owned()));
    let claimed = look(&f, take(job, 1).reference(reference)).await.items.remove(0);
    f.report(claimed.claim, ok()).await.unwrap();
    f.advance(3 * DAY);
    assert_eq!(f.orchestrator.apply_retention(10).await.unwrap(), 1);
    assert!(f.orchestrator.get_queue_item(done.id).await.unwrap_err().is_not_found());
    assert_eq!(f.orchestrator.apply_retention(10).await.unwrap(), 0);
    assert_eq!(f.orchestrator.queue_statistics(QUEUE).await.unwrap().new, 2_100);
    f.advance(3 * DAY);
    assert_eq!(f.orchestrator.apply_retention(30).await.unwrap(), 30, "and no more than were asked for");
}

pub(crate) async fn t23_a_report_on_a_removed_item_is_a_lost_claim(f: Fixture) {
    let f = f.with_queue(retrying(0).retention_days(1)).await;
    let job = f.job().await;
    f.add_named("a").await;
    let claimed = f.take(job).await;
    f.orchestrator.end_job(job, JobState::Faulted.into()).await.unwrap();
    f.advance(DAY + 1);
    assert_eq!(f.orchestrator.apply_retention(10).await.unwrap(), 1);
    assert!(f.report(claimed.claim, ok()).await.unwrap_err().is_claim_lost());
}
