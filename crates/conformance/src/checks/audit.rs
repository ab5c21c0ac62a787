//! The audit: what people did, in a chain.

use performer::model::audit::{Act, AuditFilter};
use performer::model::{LimitsEdit, NewQueueDefinition};
use performer::orchestrator::ErrorKind;

use crate::{Fixture, QUEUE, retrying};

pub(crate) async fn the_audit_is_a_chain_of_what_people_did(f: Fixture) {
    let before = f.orchestrator.check_audit(None).await.unwrap();
    assert_eq!(before.broken, None, "what was made for this fixture may have been recorded");
    let began = before.records;
    let f = f.with_queue(retrying(0)).await;
    f.orchestrator.edit_queue_limits(QUEUE, LimitsEdit::default().paused(true)).await.unwrap();
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    f.orchestrator.delete_queue("Other").await.unwrap();

    let filter = AuditFilter::default();
    let records = f.orchestrator.list_audit(filter.clone()).await.unwrap();
    let new: Vec<_> = records.iter().filter(|record| record.id > began).collect();
    assert!(new.is_sorted_by(|a, b| a.id == b.id + 1), "consecutive, the newest first: {new:?}");
    let told: Vec<_> = new.iter().rev().map(|record| (record.entry.act, &*record.entry.subject)).collect();
    assert_eq!(told.first(), Some(&(Act::QueueCreated, &*format!("queue {QUEUE}"))));
    assert_eq!(told.last(), Some(&(Act::QueueDeleted, "queue Other")));

    let mut of_act = filter.clone();
    (of_act.acts, of_act.from) = (vec![Act::QueueCreated], Some(f.now()));
    let created = f.orchestrator.list_audit(of_act).await.unwrap();
    assert_eq!(created.iter().filter(|record| record.id > began).count(), 2);
    let mut page = filter.clone();
    (page.before, page.top) = (Some(records[0].id), 1);
    assert_eq!(f.orchestrator.list_audit(page).await.unwrap(), [records[1].clone()]);
    let mut nobody = filter.clone();
    nobody.user_name = Some("nobody".to_owned());
    assert_eq!(f.orchestrator.list_audit(nobody).await.unwrap(), []);
    let mut wrong = filter;
    wrong.top = 0;
    assert_eq!(f.orchestrator.list_audit(wrong).await.unwrap_err().kind(), ErrorKind::Invalid);

    let lines = f.orchestrator.audit_lines(began).await.unwrap();
    assert_eq!(lines.len(), new.len());
    let newest = lines.last().unwrap();
    assert_eq!((newest.id, &newest.digest, &newest.text), (new[0].id, &new[0].digest, &new[0].text));
    let check = f.orchestrator.check_audit(None).await.unwrap();
    assert_eq!((check.records, check.head.as_ref(), check.broken), (newest.id, Some(&newest.digest), None));
    assert_eq!(f.orchestrator.check_audit(Some(&lines[0].digest)).await.unwrap().broken, None);
    assert!(f.orchestrator.check_audit(Some("f00")).await.unwrap().broken.is_some());
}
