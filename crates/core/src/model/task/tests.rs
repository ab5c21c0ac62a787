//! What may happen to a task.

use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key() -> TaskKey {
    TaskKey::from_bytes([1; 16])
}

fn task(new: &NewTask) -> Task {
    let mut task = Task::new(key(), new, FolderId::SHARED, at(100));
    task.id = TaskId(5);
    task
}

fn asked() -> Task {
    let mut task = task(&NewTask::new("Approve").actions(["Approve", "Reject"]));
    task.await_by(AskingItem { item: ItemId(7), key: ItemKey::from_bytes([2; 16]) }, at(200));
    task
}

/// An act on a task at a time.
type ActOnTask = fn(&mut Task, Timestamp) -> Result<(), Refusal>;

#[test]
fn a_task_is_assigned_once_and_then_reassigned() {
    let mut task = task(&NewTask::new("a"));
    assert_eq!(task.unassign(at(101)).unwrap_err().to_string(), "task 5 is not assigned");
    assert_eq!(
        task.assign(1, true, at(101)).unwrap_err().to_string(),
        "task 5 is not assigned yet: assign it"
    );
    task.assign(1, false, at(101)).unwrap();
    assert_eq!(
        (task.status, task.assigned_to, task.last_assigned),
        (TaskStatus::Pending, Some(1), Some(at(101)))
    );
    let refusal = task.assign(2, false, at(102)).unwrap_err();
    assert_eq!(refusal.to_string(), "task 5 is assigned already: reassign it");
    assert_eq!(task.assigned_to, Some(1), "a refusal changes nothing");
    task.assign(2, true, at(102)).unwrap();
    task.unassign(at(103)).unwrap();
    assert_eq!((task.status, task.assigned_to), (TaskStatus::Unassigned, None));
}

#[test]
fn nothing_happens_to_a_task_that_has_ended() {
    let mut completed = task(&NewTask::new("a"));
    completed.complete(Some("done"), Some(3), at(101)).unwrap();
    assert_eq!((completed.action.as_deref(), completed.completed_by), (Some("done"), Some(3)));
    let mut deleted = task(&NewTask::new("a"));
    deleted.delete(None, at(101)).unwrap();
    let late = asked();
    for (task, code, message) in [
        (completed, ErrorCode::INVALID_ARGUMENT, "task 5 is completed already"),
        (deleted, ErrorCode::ITEM_NOT_FOUND, "task 5 does not exist"),
        (
            late,
            ErrorCode::INVALID_ARGUMENT,
            "task 5 had to be completed before 1970-01-01T00:03:20Z: its item went on without it",
        ),
    ] {
        let now = at(200);
        let acts: [ActOnTask; 4] = [
            |task, now| task.assign(1, false, now),
            |task, now| task.unassign(now),
            |task, now| task.complete(Some("approve"), None, now),
            |task, now| task.edit(&TaskEdit::default(), now),
        ];
        for act in acts {
            let mut tried = task.clone();
            let refusal = act(&mut tried, now).unwrap_err();
            assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, message));
            assert_eq!(tried, task, "a refusal changes nothing");
        }
    }
}

#[test]
fn a_task_that_names_actions_is_completed_by_one_of_them() {
    let mut task = asked();
    let refusal = task.complete(Some("perhaps"), None, at(150)).unwrap_err();
    assert_eq!(refusal.to_string(), "task 5 is completed by one of these actions: Approve, Reject");
    assert!(task.complete(None, None, at(150)).is_err());
    task.complete(Some("REJECT"), Some(9), at(150)).unwrap();
    assert_eq!(task.action.as_deref(), Some("Reject"));
    let answer = task.answer(Map::new(), at(999)).unwrap();
    assert!(answer.is_completed() && answer.is("reject") && !answer.is("approve"));
    assert_eq!((answer.user, answer.time), (Some(9), at(150)));
}

#[test]
fn an_answer_is_there_when_the_task_has_an_end() {
    let mut task = asked();
    assert_eq!(task.answer(Map::new(), at(199)), None);
    let late = task.answer(Map::new(), at(200)).unwrap();
    assert_eq!((late.outcome, late.time), (AnswerOutcome::Expired, at(200)));
    task.delete(Some(4), at(150)).unwrap();
    let deleted = task.answer(Map::new(), at(150)).unwrap();
    assert_eq!((deleted.outcome, deleted.user), (AnswerOutcome::Deleted, Some(4)));
    assert_eq!(task.delete(None, at(151)).unwrap_err().code(), ErrorCode::ITEM_NOT_FOUND);
    // A task that was answered in time and deleted later keeps its answer.
    let mut answered = asked();
    answered.complete(Some("approve"), None, at(150)).unwrap();
    answered.delete(None, at(160)).unwrap();
    assert!(answered.answer(Map::new(), at(300)).unwrap().is("approve"));
}

#[test]
fn a_task_of_a_transaction_names_its_item_and_ends() {
    let task = asked();
    assert_eq!(task.parent_operation.as_deref(), Some("02020202-0202-0202-0202-020202020202"));
    assert!(!task.is_late(at(199)) && task.is_late(at(200)));
    let new = NewTask::new("a").answer_within(Duration::from_secs(60));
    assert_eq!(new.deadline(at(100)), at(160));
    assert_eq!(NewTask::new("a").deadline(at(0)), at(7 * 86_400));
    assert_eq!(task_without_wait().deadline, None);
}

fn task_without_wait() -> Task {
    task(&NewTask::new("a"))
}

#[test]
fn limits_are_checked() {
    let long = |units: usize| "x".repeat(units);
    let label = |name: String| TaskLabel { name, display_name: None, value: None, display_value: None };
    let with = |change: fn(&mut NewTask)| {
        let mut new = NewTask::new("a");
        change(&mut new);
        new
    };
    assert_eq!(NewTask::new(long(TITLE_LIMIT)).validate(), Ok(()));
    let mut labels = NewTask::new("a");
    labels.labels = vec![label(long(LABEL_LIMIT + 1))];
    for new in [
        NewTask::new(""),
        NewTask::new("  "),
        NewTask::new(long(TITLE_LIMIT + 1)),
        NewTask::new("a").external_tag(long(EXTERNAL_TAG_LIMIT + 1)),
        NewTask::new("a").catalog(long(CATALOG_NAME_LIMIT + 1)),
        NewTask::new("a").actions([""]),
        NewTask::new("a").actions(vec!["a"; MAX_ACTIONS + 1]),
        NewTask::new("a").data(json!({ "text": long(DATA_LIMIT) })),
        with(|new| new.parent_operation = Some("x".repeat(PARENT_OPERATION_LIMIT + 1))),
        with(|new| {
            let label = TaskLabel { name: "a".into(), display_name: None, value: None, display_value: None };
            new.labels = vec![label; MAX_LABELS + 1];
        }),
        labels,
    ] {
        assert_eq!(new.validate().unwrap_err().code(), ErrorCode::INVALID_ARGUMENT, "{new:?}");
    }
    assert_eq!(NewTask::new("a").data(json!(5)).data, Map::from_iter([("value".to_owned(), json!(5))]));
}

#[test]
fn a_catalog_is_in_some_folder_always() {
    let settings = CatalogSettings { name: "Approvals".into(), description: None, labels: Vec::new() };
    let catalog_key = super::super::key::CatalogKey::from_bytes([3; 16]);
    let mut catalog = TaskCatalog::new(catalog_key, settings, FolderId(1), at(1));
    catalog.share(&[FolderId(2), FolderId(2)], &[]).unwrap();
    assert_eq!(catalog.folders, [FolderId(1), FolderId(2)]);
    assert!(catalog.share(&[], &[FolderId(1), FolderId(2)]).is_err());
    assert!(catalog.is_named("APPROVALS", &[FolderId(2)]) && !catalog.is_named("Approvals", &[FolderId(3)]));
    let refusal = catalog.may_be_changed_by(Some(&[FolderId(1)])).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::FORBIDDEN_OPERATION);
    assert_eq!(catalog.may_be_changed_by(None), Ok(()));
}
