use super::super::item::Priority;
use super::super::key::QueueId;
use super::super::lifecycle::{Event, ItemState};
use super::super::status::{ReviewStatus, Status};
use super::*;

const FOLDER: FolderId = FolderId(3);

fn time(seconds: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn person() -> Person {
    Person { user_id: Some(7), user_name: Some("Ann".to_owned()) }
}

fn selected(count: i64) -> Selected {
    let mut selected = Selected::default();
    for id in 1..=count {
        let place = Some((QueueId(1), FOLDER));
        selected.push(ItemVersion { id: ItemId(id), row_version: 3 }, place, Some(id % 2), None);
    }
    selected.finish();
    selected
}

/// An operation that was started at time 0.
fn started(plan: Plan, count: i64) -> ItemOperation {
    let mut operation = ItemOperation::new(plan, &person(), None, &selected(count), time(0));
    operation.keep(0, count.unsigned_abs()).unwrap();
    operation.start(time(0)).unwrap();
    operation
}

fn code(refused: Result<(), Refusal>) -> u16 {
    refused.unwrap_err().code().number()
}

#[test]
fn a_preview_is_kept_in_parts_and_started_once() {
    let plan = Plan::new(Act::Retry);
    let mut operation =
        ItemOperation::new(plan, &person(), Some("status=Failed".to_owned()), &selected(5), time(0));
    assert_eq!((operation.state, operation.total, operation.kept), (OperationState::Preparing, 5, 0));
    assert_eq!(code(operation.start(time(1))), 1302);
    operation.keep(0, 3).unwrap();
    assert_eq!(code(operation.keep(0, 3)), 1302, "the same part again");
    assert_eq!(code(operation.keep(3, 3)), 1302, "more than there are");
    operation.keep(3, 2).unwrap();
    assert_eq!(operation.state, OperationState::Preview);
    assert_eq!(operation.next_step(time(1)), NextStep::Nothing);
    assert_eq!(operation.kept_until(), Some(time(600)));
    for refused in [operation.clone().stop(&person(), time(1)), operation.clone().resume(time(1))] {
        assert_eq!(code(refused), 1302);
    }
    assert_eq!(code(operation.clone().start(time(601))), 1302, "too old");
    operation.start(time(600)).unwrap();
    assert_eq!((operation.state, operation.started), (OperationState::Running, Some(time(600))));
    assert_eq!(operation.kept_until(), None);
    assert_eq!(code(operation.start(time(600))), 1302);
}

#[test]
fn a_preview_without_items_is_not_started() {
    let mut empty = ItemOperation::new(Plan::new(Act::Retry), &person(), None, &selected(0), time(0));
    empty.keep(0, 0).unwrap();
    assert_eq!(empty.state, OperationState::Preview);
    assert_eq!(code(empty.start(time(0))), 1302);
}

#[test]
fn chunks_follow_each_other_until_no_item_is_left() {
    let mut operation = started(Plan::new(Act::Delete), 450);
    for (done, refused, left) in [(200, 0, 250), (150, 50, 50)] {
        assert_eq!(operation.next_step(time(1)), NextStep::Chunk { acts: CHUNK });
        let before = operation.version;
        operation.record_chunk(done, refused, time(1));
        assert_eq!((operation.left(), operation.version), (left, before + 1));
    }
    assert_eq!(operation.next_place(), 400);
    operation.record_chunk(50, 0, time(2));
    assert_eq!((operation.state, operation.ended), (OperationState::Done, Some(time(2))));
    assert_eq!(operation.kept_until(), Some(time(2 + 30 * 86_400)));
    assert_eq!(operation.next_step(time(9)), NextStep::Nothing);
    assert_eq!(code(operation.stop(&person(), time(9))), 1302);
    assert_eq!(code(operation.resume(time(9))), 1302);
}

/// Its items may be half removed then: whatever it did with the rest would be wrong.
#[test]
fn an_operation_that_ended_long_ago_does_not_go_on() {
    let mut operation = started(Plan::new(Act::Retry), 450);
    operation.stop(&person(), time(1)).unwrap();
    let end = 1 + 30 * 86_400;
    operation.clone().resume(time(end - 1)).unwrap();
    assert_eq!(code(operation.resume(time(end))), 1302);
    assert_eq!(code(operation.check_kept(time(end))), 1302);
}

#[test]
fn an_operation_without_its_items_stops() {
    let mut operation = started(Plan::new(Act::Retry), 450);
    operation.record_chunk(0, 0, time(1));
    assert_eq!(operation.state, OperationState::Stopped);
    assert_eq!(operation.next_step(time(9)), NextStep::Nothing);
}

#[test]
fn a_pace_says_how_many_and_when() {
    for (pace, acts, pause) in
        [(1, 1, 60_000), (30, 1, 2_000), (60, 1, 1_000), (90, 1, 666), (600, 10, 1_000), (60_000, 200, 200)]
    {
        let mut operation = started(Plan::new(Act::Retry).pace(pace), 1_000);
        assert_eq!(operation.next_step(time(0)), NextStep::Chunk { acts }, "{pace}");
        operation.record_chunk(acts as u64, 3, time(0));
        let due = operation.due.unwrap();
        assert_eq!(due.duration_since(time(0)).as_millis(), pause, "{pace}");
        assert_eq!(operation.next_step(due - Duration::from_micros(1)), NextStep::Nothing, "{pace}");
        assert_eq!(operation.next_step(due), NextStep::Chunk { acts }, "{pace}");
    }
    // What was refused costs the systems behind nothing.
    let mut operation = started(Plan::new(Act::Retry).pace(60), 1_000);
    operation.record_chunk(0, 200, time(0));
    assert_eq!(operation.due, Some(time(0)));
}

#[test]
fn a_canary_goes_first_and_decides_about_the_rest() {
    let plan = Plan::new(Act::Retry).canary(Canary::FIVE).pace(600);
    let mut operation = started(plan, 100);
    assert_eq!(operation.next_step(time(0)), NextStep::Chunk { acts: 5 });
    // Refused ones are replaced.
    operation.record_chunk(3, 197 - 150, time(0));
    assert_eq!(operation.next_step(time(0)), NextStep::Chunk { acts: 2 });
    operation.record_chunk(2, 0, time(1));
    assert_eq!((operation.state, operation.canary_until), (OperationState::Waiting, Some(time(601))));
    assert_eq!(operation.next_step(time(1)), NextStep::Nothing, "it is looked at once a second");
    assert_eq!(operation.next_step(time(2)), NextStep::Canary);

    let (open, good, bad) = (CopyEnd::Open, CopyEnd::Successful, CopyEnd::Other);
    for (ends, at, state) in [
        ([good, good, good, open, open], 2, OperationState::Waiting),
        ([good, good, good, bad, open], 600, OperationState::Waiting),
        ([good, good, good, good, open], 2, OperationState::Running),
        ([good, good, good, good, bad], 900, OperationState::Running),
        ([open, open, open, bad, bad], 2, OperationState::Holding),
        ([good, good, good, open, open], 601, OperationState::Holding),
    ] {
        let mut decided = operation.clone();
        let changed = decided.decide_canary(&ends, time(at));
        assert_eq!((decided.state, changed), (state, state != OperationState::Waiting), "{ends:?} at {at}");
        if state == OperationState::Running {
            assert_eq!(decided.next_step(time(at)), NextStep::Chunk { acts: 10 }, "now at its pace");
            assert!(decided.why.is_some());
        }
        if state == OperationState::Holding {
            assert_eq!(decided.next_step(time(10_000)), NextStep::Nothing);
            decided.resume(time(700)).unwrap();
            assert_eq!(decided.next_step(time(700)), NextStep::Chunk { acts: 10 }, "a person decided");
        }
    }
}

#[test]
fn a_canary_of_all_items_decides_nothing() {
    let mut operation = started(Plan::new(Act::Retry).canary(Canary::FIVE), 4);
    operation.record_chunk(4, 0, time(1));
    assert_eq!(operation.state, OperationState::Done);
    let mut operation = started(Plan::new(Act::Retry).canary(Canary::FIVE), 6);
    operation.record_chunk(1, 5, time(1));
    assert_eq!(operation.state, OperationState::Done, "all but one were refused");
}

#[test]
fn what_is_stopped_goes_on_where_it_was() {
    let mut operation = started(Plan::new(Act::Verify), 400);
    operation.record_chunk(200, 0, time(1));
    operation.stop(&person(), time(2)).unwrap();
    assert_eq!((operation.state, operation.ended), (OperationState::Stopped, Some(time(2))));
    assert_eq!(operation.why.as_deref(), Some("it was stopped by Ann"));
    assert_eq!(operation.next_step(time(3)), NextStep::Nothing);
    operation.resume(time(4)).unwrap();
    assert_eq!((operation.ended, operation.why.as_deref(), operation.next_place()), (None, None, 200));
    assert_eq!(operation.next_step(time(4)), NextStep::Chunk { acts: CHUNK });

    let mut waiting = started(Plan::new(Act::Retry).canary(Canary::FIVE), 100);
    waiting.record_chunk(5, 0, time(0));
    waiting.stop(&person(), time(1)).unwrap();
    waiting.resume(time(5_000)).unwrap();
    assert_eq!((waiting.state, waiting.canary_until), (OperationState::Waiting, Some(time(5_600))));
}

#[test]
fn copies_are_taken_back_once_and_of_a_retry_that_does_not_run() {
    assert_eq!(code(started(Plan::new(Act::Delete), 3).may_be_taken_back()), 1302);
    let mut operation = started(Plan::new(Act::Retry), 400);
    operation.record_chunk(200, 0, time(1));
    assert_eq!(code(operation.may_be_taken_back()), 1302, "it runs");
    operation.stop(&person(), time(2)).unwrap();
    operation.take_back(OperationId(9)).unwrap();
    assert_eq!(code(operation.take_back(OperationId(10))), 1302);
    assert_eq!(code(operation.resume(time(3))), 1302);
    assert_eq!(operation.taken_back_by, Some(OperationId(9)));
}

#[test]
fn an_operation_is_seen_by_those_who_see_all_its_folders() {
    let operation = started(Plan::new(Act::Retry), 1);
    assert_eq!(operation.folders, [FOLDER]);
    assert!(operation.is_within(None) && operation.is_within(Some(&[FolderId(1), FOLDER])));
    assert!(!operation.is_within(Some(&[FolderId(1)])) && !operation.is_within(Some(&[])));
}

#[test]
fn a_preview_groups_and_counts() {
    let mut selected = Selected::default();
    let changed = |version: u64| {
        Refusal::new(
            ErrorCode::OPTIMISTIC_CONCURRENCY,
            format!("the item changed: it is at version {version}"),
        )
    };
    let superseded = Refusal::new(ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY, "superseded");
    for id in 1..=40 {
        let item = ItemVersion { id: ItemId(id), row_version: 1 };
        let place = (id != 40).then_some((QueueId(id % 2), FolderId(2 - id % 2)));
        let refusal = match id {
            1..=5 => Some(changed(id.unsigned_abs())),
            6..=8 => Some(superseded.clone()),
            _ => None,
        };
        let reason = if id > 16 { Some(id) } else { Some(1) };
        selected.push(item, place, reason, refusal.as_ref());
    }
    selected.finish();
    let Selected { items, folders, preview } = &selected;
    assert_eq!((items.len(), &**folders), (40, &[FolderId(1), FolderId(2)][..]));
    assert_eq!((preview.groups.len(), preview.groups[0].count, preview.others), (20, 8, 6));
    let queues: Vec<_> =
        preview.queues.iter().map(|queue| (queue.queue_definition_id, queue.count)).collect();
    assert_eq!(queues, [(1, 16), (0, 15)], "without those that are refused, and the one that was not found");
    let refused: Vec<_> = preview.refused.iter().map(|refused| (refused.code, refused.count)).collect();
    assert_eq!((refused, preview.refused_count), (vec![(1020, 5), (1867, 3)], 8));
    assert_eq!(preview.samples, (1..=10).map(ItemId).collect::<Vec<_>>());
}

#[test]
fn a_plan_has_ranges() {
    let retry = || Plan::new(Act::Retry);
    for (plan, is_valid) in [
        (retry(), true),
        (retry().pace(1).canary(Canary::FIVE).comment("known".to_owned()), true),
        (retry().pace(MAX_PACE), true),
        (retry().pace(0), false),
        (retry().pace(MAX_PACE + 1), false),
        (retry().canary(Canary::new(0, Duration::from_secs(60))), false),
        (retry().canary(Canary::new(201, Duration::from_secs(60))), false),
        (retry().canary(Canary::new(5, Duration::from_millis(999))), false),
        (retry().comment(String::new()), false),
        (retry().comment("x".repeat(513)), false),
        (Plan::new(Act::Verify).canary(Canary::FIVE), false),
        (Plan::new(Act::Comment), false),
        (Plan::new(Act::Comment).comment("seen".to_owned()), true),
    ] {
        assert_eq!(plan.validate().is_ok(), is_valid, "{plan:?}");
    }
}

#[test]
fn an_act_asks_the_rules_and_checks_the_version() {
    let state = ItemState { row_version: 4, ..ItemState::untouched(Priority::Normal, time(0)) };
    let assign = Act::Assign { reviewer: Some(7), not_in: vec![FolderId(9)] };
    let permitted = |folder| match assign.event(4, folder) {
        Some(Event::SetReviewer { permitted, .. }) => permitted,
        other => panic!("{other:?}"),
    };
    assert!(permitted(FOLDER) && !permitted(FolderId(9)));
    assert_eq!(
        Act::Retry.event(4, FOLDER),
        Some(Event::Review { to: ReviewStatus::Retried, row_version: 4 })
    );
    assert_eq!(Act::Comment.event(4, FOLDER), None);
    for act in [Act::Comment, Act::Purge, Act::Delete] {
        assert!(act.check(&state, 4).is_ok(), "{act}");
        assert_eq!(code(act.check(&state, 3)), 1020, "{act}");
    }
    let take_back = Act::TakeBack { of: OperationId(5) };
    assert!(take_back.check(&state, 4).is_ok());
    assert_eq!(code(take_back.check(&ItemState { status: Status::InProgress, ..state }, 4)), 1867);
}

#[test]
fn an_operation_is_read_as_it_was_written() {
    let acts = [
        Act::Retry,
        Act::Assign { reviewer: None, not_in: vec![FOLDER] },
        Act::TakeBack { of: OperationId(5) },
    ];
    for act in acts {
        let mut operation = started(Plan::new(act), 3);
        operation.plan.canary = Some(Canary::FIVE);
        operation.why = Some("a \u{0} text".to_owned());
        let text = serde_json::to_string(&operation).unwrap();
        assert!(!text.contains('\0'), "{text}");
        assert_eq!(serde_json::from_str::<ItemOperation>(&text).unwrap(), operation);
    }
}
