//! Queues are created, changed and deleted, and what becomes of the items of a deleted queue.

use std::time::Duration;

use performer::model::{
    ErrorCode, ExponentialDelay, ItemEdit, ItemFilter, ItemVersion, JobState, NewQueueDefinition, Priority,
    QueueNotes, RetryDelay, Status,
};
use performer::orchestrator::{CommitType, ErrorKind};

use crate::{Fixture, QUEUE, application, named, ok, retrying, take, unique};

pub(crate) async fn queues_are_created_changed_and_deleted(f: Fixture) {
    let o = &f.orchestrator;
    let made = o.create_queue(NewQueueDefinition::new("Payroll").description("monthly")).await.unwrap();
    assert_eq!(o.get_queue("PAYROLL").await.unwrap(), made, "names are compared without their case");
    let taken = o.create_queue(NewQueueDefinition::new("payroll")).await.unwrap_err();
    assert_eq!((taken.kind(), taken.code()), (ErrorKind::Conflict, Some(ErrorCode::NAME_ALREADY_USED)));

    o.create_queue(NewQueueDefinition::new("Ärger")).await.unwrap();
    assert!(o.create_queue(NewQueueDefinition::new("ÄRGER")).await.is_err());
    let names: Vec<_> = o.list_queues().await.unwrap().into_iter().map(|queue| queue.name).collect();
    assert_eq!(names, ["Payroll", "Ärger"]);

    let change = NewQueueDefinition::new("Payroll 2").policy(retrying(5));
    let changed = o.update_queue("payroll", change).await.unwrap();
    assert_eq!((changed.id, changed.key, changed.policy.max_number_of_retries), (made.id, made.key, 5));
    assert_eq!(o.get_queue("Payroll 2").await.unwrap(), changed);
    assert!(o.get_queue("Payroll").await.unwrap_err().is_not_found());

    let onto_another = o.update_queue("Payroll 2", NewQueueDefinition::new("Ärger")).await.unwrap_err();
    assert_eq!(onto_another.code(), Some(ErrorCode::NAME_ALREADY_USED));
    let frozen =
        o.update_queue("Payroll 2", NewQueueDefinition::new("Payroll 2").policy(unique())).await.unwrap_err();
    assert_eq!(frozen.code(), Some(ErrorCode::QUEUE_DEFINITION_PARAMETERS_CANNOT_CHANGE));
    let invalid = o.create_queue(NewQueueDefinition::new("x").policy(retrying(51))).await.unwrap_err();
    assert_eq!(invalid.kind(), ErrorKind::Invalid);

    o.delete_queue("Payroll 2").await.unwrap();
    assert!(o.delete_queue("Payroll 2").await.unwrap_err().is_not_found());
    o.create_queue(NewQueueDefinition::new("Payroll 2")).await.expect("the name is free again");
}

pub(crate) async fn a_queue_is_ensured_and_its_differences_are_named(f: Fixture) {
    let o = &f.orchestrator;
    let wanted = NewQueueDefinition::new("Payroll").description("monthly").policy(retrying(2));
    let made = o.ensure_queue(wanted.clone()).await.unwrap();
    assert_eq!((made.name.as_str(), made.policy.max_number_of_retries), ("Payroll", 2));
    assert_eq!(o.ensure_queue(wanted).await.unwrap(), made, "it is there, and agrees");
    assert_eq!(o.ensure_queue(NewQueueDefinition::new("payroll").policy(retrying(2))).await.unwrap(), made);

    let other =
        NewQueueDefinition::new("Payroll").description("weekly").policy(retrying(5).retention_days(7));
    let refused = o.ensure_queue(other).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    for part in
        ["MaxNumberOfRetries is 2 and should be 5", "RetentionDays is 30 and should be 7", "the description"]
    {
        assert!(refused.to_string().contains(part), "{part}: {refused}");
    }
    assert_eq!(o.get_queue("Payroll").await.unwrap(), made, "nothing was changed");
    assert!(o.ensure_queue(NewQueueDefinition::new(" ")).await.is_err());
    assert_eq!(o.list_queues().await.unwrap().len(), 1);
}

pub(crate) async fn a_performer_reads_the_schemas_of_its_queue(f: Fixture) {
    let o = &f.orchestrator;
    assert!(o.queue_schemas("Payroll").await.unwrap_err().is_not_found());
    let made = o.create_queue(NewQueueDefinition::new("Payroll")).await.unwrap();
    assert_eq!(o.queue_schemas("payroll").await.unwrap(), made.schemas);
    let mut settings = made.settings();
    settings.schemas.output_data = Some(r#"{"type":"object"}"#.into());
    let schemas = match o.update_queue("Payroll", settings).await {
        Ok(changed) => changed.schemas,
        // A store that was built without the feature `json-schema` refuses schemas.
        Err(error) => {
            assert_eq!(error.code(), Some(ErrorCode::FEATURE_DISABLED), "{error}");
            made.schemas
        }
    };
    assert_eq!(o.queue_schemas("Payroll").await.unwrap(), schemas);
}

pub(crate) async fn an_update_of_a_queue_removes_what_it_does_not_set(f: Fixture) {
    let o = &f.orchestrator;
    let notes = QueueNotes::default().sla_in_minutes(90).risk_sla_in_minutes(60).release_id(Some(7));
    let full = NewQueueDefinition::new("Payroll").description("monthly").notes(notes.clone());
    let made = o.create_queue(full).await.unwrap();
    assert_eq!((&made.notes, made.description.as_deref()), (&notes, Some("monthly")));
    let changed = o.update_queue("Payroll", NewQueueDefinition::new("Payroll")).await.unwrap();
    assert_eq!((&changed.notes, &changed.description), (&QueueNotes::default(), &None));
    let read = o.get_queue("Payroll").await.unwrap();
    assert_eq!(read, changed);
}

pub(crate) async fn a_retry_delay_is_kept_changed_and_removed(f: Fixture) {
    let o = &f.orchestrator;
    let with = |delay: RetryDelay| NewQueueDefinition::new("Payroll").policy(retrying(2).retry_delay(delay));
    let growing = ExponentialDelay::new(Duration::from_millis(1_500), Duration::from_secs(86_400));
    let delays = [growing.jitter_percent(0).into(), Duration::from_secs(30).into(), RetryDelay::None];
    let made = o.create_queue(with(growing.into())).await.unwrap();
    assert_eq!(made.policy.retry_delay, growing.into());
    assert_eq!(o.get_queue("Payroll").await.unwrap(), made);
    for delay in delays {
        let changed = o.update_queue("Payroll", with(delay)).await.unwrap();
        assert_eq!(changed.policy, retrying(2).retry_delay(delay));
        assert_eq!(o.list_queues().await.unwrap(), [changed]);
    }
    let refused = o.ensure_queue(with(growing.into())).await.unwrap_err();
    let expected = "the retry delay is none and should be 1s 500ms..24h~25%";
    assert!(refused.to_string().contains(expected), "{refused}");
    for invalid in [RetryDelay::Fixed(Duration::ZERO), growing.jitter_percent(101).into()] {
        let mut other = with(invalid);
        other.name = "Other".to_owned();
        let made = o.create_queue(other).await;
        assert_eq!(made.unwrap_err().code(), Some(ErrorCode::PARAMETER_INVALID));
        let changed = o.update_queue("Payroll", with(invalid)).await;
        assert_eq!(changed.unwrap_err().code(), Some(ErrorCode::PARAMETER_INVALID));
    }
    assert_eq!(o.get_queue("Payroll").await.unwrap().policy, retrying(2));
}

pub(crate) async fn items_of_a_deleted_queue_are_neither_claimed_nor_found(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let running = f.add_named("running").await;
    let waiting = f.add_named("waiting").await;
    let claimed = f.take(job).await;
    f.orchestrator.delete_queue(QUEUE).await.unwrap();
    let late = f.report(claimed.claim, ok()).await.unwrap_err();
    assert!(late.is_claim_lost(), "{late}");
    for id in [running.id, waiting.id] {
        assert!(f.orchestrator.get_queue_item(id).await.unwrap_err().is_not_found());
    }
    assert!(f.list(ItemFilter::default()).await.is_empty());
    let answer = f.orchestrator.report_and_claim(Vec::new(), Some(take(job, 1))).await;
    assert!(answer.claimed.unwrap_err().is_not_found());
    assert!(f.orchestrator.add_queue_item(QUEUE, named("x")).await.unwrap_err().is_not_found());
}

/// While the items of a deleted queue are removed in chunks, they exist but do not wait anywhere.
pub(crate) async fn items_of_a_deleted_queue_cannot_be_changed(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let o = &f.orchestrator;
    o.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let first = f.add_named("first").await;
    let items = (0..3_000).map(|n| named(&n.to_string())).collect();
    let bulk = o.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    assert_eq!(bulk.added, 3_000);
    let last = f.add_named("last").await;
    o.delete_queue(QUEUE).await.unwrap();
    o.sweep().await.unwrap();
    for id in [first.id, last.id] {
        assert!(o.get_queue_item(id).await.unwrap_err().is_not_found());
        let edited = o.edit_queue_item(id, ItemEdit::default().priority(Priority::High)).await;
        assert!(edited.unwrap_err().is_not_found());
        let deleted = o.delete_queue_items(vec![ItemVersion { id, row_version: 1 }]).await.unwrap();
        assert_eq!(deleted.0.len(), 1, "{deleted:?}");
        o.add_queue_item("Other", named("other")).await.expect("nothing else is disturbed");
    }
}

/// Sweeps remove the items of the deleted queue in chunks, and nothing else.
pub(crate) async fn a_deleted_queue_is_hidden_at_once_and_emptied_by_sweeps(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let other = f.orchestrator.add_queue_item("Other", named("other")).await.unwrap();
    let job = f.job().await;
    let mut items = Vec::new();
    for n in 0..30 {
        items.push(f.add_named(&n.to_string()).await.id);
    }
    let claimed = f.take_many(job, 3).await;
    f.report(claimed[0].claim, application("x")).await.unwrap(); // a retry copy waits
    f.orchestrator.delete_queue(QUEUE).await.unwrap();
    // A new queue of the same name has none of its items.
    f.orchestrator.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    assert_eq!(f.orchestrator.queue_statistics(QUEUE).await.unwrap().total(), 0);
    assert!(f.try_take(job).await.is_none());
    let anew = f.add_named("anew").await;
    for _ in 0..5 {
        let swept = f.orchestrator.sweep().await.unwrap();
        assert_eq!((swept.jobs.len(), swept.abandoned), (0, 0));
        assert!(f.report(claimed[1].claim, ok()).await.unwrap_err().is_claim_lost());
        assert!(f.report(claimed[0].claim, application("x")).await.unwrap_err().is_claim_lost());
        for id in &items {
            assert!(f.orchestrator.get_queue_item(*id).await.unwrap_err().is_not_found());
        }
    }
    assert_eq!(f.orchestrator.get_queue_item(other.id).await.unwrap().status, Status::New);
    assert_eq!(f.orchestrator.end_job(job, JobState::Stopped.into()).await.unwrap().abandoned, 0);
    let listed: Vec<_> = f.list(ItemFilter::default()).await.iter().map(|item| item.id).collect();
    assert_eq!(listed, [other.id, anew.id]);
    f.check_statistics().await;
}
