//! Acts on many items at once, and what is due.

use performer::model::operation::{Act, ItemOperation, ItemResult, OperationState, Plan};
use performer::model::{ErrorCode, ItemId, ReviewStatus, Status};
use performer::orchestrator::ErrorKind;

use crate::{Fixture, QUEUE, business, named, retrying};

/// A queue with so many failed items.
async fn failed(f: &Fixture, count: usize) -> Vec<ItemId> {
    for number in 0..count {
        f.add_named(&format!("f{number}")).await;
    }
    let (job, mut ids) = (f.job().await, Vec::new());
    for _ in 0..count {
        ids.push(f.perform(job, business("the total is wrong")).await.id);
    }
    ids
}

/// Makes and starts an operation on items as they are now.
async fn prepare(f: &Fixture, plan: Plan, ids: &[ItemId]) -> ItemOperation {
    let mut items = Vec::new();
    for id in ids {
        items.push(f.version(*id).await);
    }
    f.orchestrator.prepare_operation(plan, items, Some("status=Failed".to_owned())).await.unwrap()
}

/// Does the steps of an operation, or waits for them, until enough is done or it ends.
async fn run_until(f: &Fixture, mut operation: ItemOperation, places: u64) -> ItemOperation {
    while operation.next_place() < places && !operation.state.has_ended() {
        operation = f.orchestrator.step_operation(operation.id, operation.version).await.unwrap();
        tokio::task::yield_now().await;
    }
    operation
}

pub(crate) async fn operations_act_on_what_was_frozen(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    assert!(f.orchestrator.keeps_operations());
    let ids = failed(&f, 3).await;
    let made = prepare(&f, Plan::new(Act::Verify).comment("looked at".to_owned()), &ids).await;
    assert_eq!((made.state, made.total, made.next_place()), (OperationState::Preview, 3, 0));
    // One of them changes between the preview and the start.
    let changed = vec![f.version(ids[1]).await];
    let refused = f.orchestrator.set_review_status(ReviewStatus::InReview, changed).await.unwrap();
    assert!(refused.is_empty());
    let started = f.orchestrator.start_operation(made.id).await.unwrap();
    assert_eq!(
        (started.id, started.state, started.started.is_some()),
        (made.id, OperationState::Running, true)
    );
    let again = f.orchestrator.start_operation(made.id).await.unwrap_err();
    assert_eq!((again.kind(), again.code()), (ErrorKind::Conflict, Some(ErrorCode::UNAVAILABLE_RESOURCES)));
    let ended = run_until(&f, started, 3).await;
    assert_eq!((ended.state, ended.done, ended.refused), (OperationState::Done, 2, 1));
    for (id, status) in
        [(0, ReviewStatus::Verified), (1, ReviewStatus::InReview), (2, ReviewStatus::Verified)]
    {
        assert_eq!(f.item(ids[id]).await.review_status, status, "item {id}");
    }
    assert_eq!(f.orchestrator.comments(ids[0]).await.unwrap()[0].text, "looked at");

    let listed = f.orchestrator.list_operations(None, 10).await.unwrap().operations;
    assert_eq!(listed.iter().map(|operation| operation.id).collect::<Vec<_>>(), [made.id]);
    assert_eq!(listed[0].filter.as_deref(), Some("status=Failed"));
    assert_eq!(f.orchestrator.get_operation(made.id).await.unwrap().done, 2);
    assert!(f.orchestrator.list_operations(Some(made.id), 10).await.unwrap().is_empty());
    let items = f.orchestrator.list_operation_items(made.id, false, 1, 10).await.unwrap();
    assert_eq!(items.iter().map(|item| item.place).collect::<Vec<_>>(), [1, 2]);
    let refused = f.orchestrator.list_operation_items(made.id, true, 0, 10).await.unwrap();
    assert_eq!(refused.iter().map(|item| item.item.id).collect::<Vec<_>>(), [ids[1]]);
    let ItemResult::Refused(refusal) = &refused[0].result else { panic!("{refused:?}") };
    assert_eq!(refusal.code(), ErrorCode::OPTIMISTIC_CONCURRENCY);

    let missing = performer::model::operation::OperationId(made.id.0 + 1_000);
    assert!(f.orchestrator.get_operation(missing).await.unwrap_err().is_not_found());
    assert!(f.orchestrator.start_operation(missing).await.unwrap_err().is_not_found());
    let none = f.orchestrator.prepare_operation(Plan::new(Act::Verify), Vec::new(), None).await;
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Invalid);
    let paces = Plan::new(Act::Retry).pace(0);
    let wrong =
        f.orchestrator.prepare_operation(paces, vec![f.version(ids[0]).await], None).await.unwrap_err();
    assert_eq!((wrong.kind(), wrong.code()), (ErrorKind::Invalid, Some(ErrorCode::PARAMETER_INVALID)));
}

pub(crate) async fn operations_are_stopped_resumed_and_taken_back(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let ids = failed(&f, 3).await;
    let orchestrator = &f.orchestrator;
    // One a minute: behind the first it waits.
    let made = prepare(&f, Plan::new(Act::Retry).pace(1), &ids).await;
    let running = run_until(&f, orchestrator.start_operation(made.id).await.unwrap(), 1).await;
    assert_eq!((running.state, running.done), (OperationState::Running, 1));
    let early = orchestrator.take_operation_back(made.id).await.unwrap_err();
    assert_eq!(early.code(), Some(ErrorCode::UNAVAILABLE_RESOURCES), "it is running");
    assert_eq!(orchestrator.stop_operation(made.id).await.unwrap().state, OperationState::Stopped);
    let twice = orchestrator.stop_operation(made.id).await.unwrap_err();
    assert_eq!(twice.code(), Some(ErrorCode::UNAVAILABLE_RESOURCES));
    let resumed = orchestrator.resume_operation(made.id).await.unwrap();
    assert_eq!(resumed.state, OperationState::Running);
    let resumed = run_until(&f, resumed, 2).await;
    assert_eq!(resumed.done, 2);
    assert_eq!(orchestrator.stop_operation(made.id).await.unwrap().state, OperationState::Stopped);

    let items = orchestrator.list_operation_items(made.id, false, 0, 10).await.unwrap();
    let copies: Vec<ItemId> = items
        .iter()
        .filter_map(|item| match &item.result {
            ItemResult::Done { copy } => *copy,
            _ => None,
        })
        .collect();
    assert_eq!((copies.len(), &items[2].result), (2, &ItemResult::Pending));
    assert_eq!(f.item(copies[0]).await.status, Status::New);
    let back = orchestrator.take_operation_back(made.id).await.unwrap();
    let back = run_until(&f, back, 2).await;
    assert_eq!((back.state, back.done), (OperationState::Done, 2));
    for copy in copies {
        assert_eq!(f.item(copy).await.status, Status::Deleted);
    }
    assert_eq!(f.item(ids[0]).await.review_status, ReviewStatus::Retried, "the original stays");
    assert_eq!(orchestrator.get_operation(made.id).await.unwrap().taken_back_by, Some(back.id));
    assert!(orchestrator.resume_operation(made.id).await.is_err(), "its copies are gone");
}

pub(crate) async fn what_is_due_is_read_in_its_order(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let (soon, later) = (f.after(60), f.after(3_600));
    for (name, due) in [("a", later), ("b", soon), ("c", soon)] {
        f.add(named(name).due_date(due)).await;
    }
    f.add_named("d").await; // which is not due
    f.add(named("e").due_date(soon).defer_date(later)).await; // which is not ready
    let work = f.orchestrator.due_work(QUEUE).await.unwrap();
    assert_eq!(work.queue, f.orchestrator.get_queue(QUEUE).await.unwrap().id);
    let found: Vec<_> = work.items.iter().map(|items| (items.due, items.count)).collect();
    assert_eq!((found, work.robots), (vec![(soon, 2), (later, 1)], 0));
    f.job().await;
    assert!(f.orchestrator.due_work(QUEUE).await.unwrap().robots > 0);
    assert!(f.orchestrator.due_work("Nothing").await.unwrap_err().is_not_found());
}
