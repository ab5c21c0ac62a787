//! The transition table (`docs/reference/lifecycle.md`), exhaustively: every Status × ReviewStatus × event,
//! against a second, plain statement of what the table allows.

use std::time::Duration;

use jiff::Timestamp;
use performer::model::{
    ErrorCode, EventAction, Holder, ItemId, ItemKey, JobNumber, NewQueueItem, Outcome, QueueId, QueueItem,
    QueuePolicy, lifecycle, lifecycle::Change, lifecycle::Event, lifecycle::ItemState, lifecycle::Transition,
    lifecycle::transition,
};
use performer::{ExponentialDelay, Priority, RetryDelay, ReviewStatus, Status};

const ID: ItemId = ItemId(5);
const JOB: JobNumber = JobNumber(7);
const CLAIM: Holder = Holder { job: JOB, token: 2 };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn now() -> Timestamp {
    at(1_000)
}

/// An item as the rules could have left it in this state.
fn item(status: Status, review_status: ReviewStatus) -> ItemState {
    let policy = QueuePolicy::default().enforce_unique_reference(true);
    let new = lifecycle::added(&NewQueueItem::new(()).reference("R"), &policy, at(10));
    let ended = status.is_final();
    let by_hand = review_status == ReviewStatus::Retried && ended && status != Status::Successful;
    let superseded = status == Status::Retried || by_hand;
    ItemState {
        status,
        review_status,
        outcome: match status {
            Status::New | Status::InProgress | Status::Deleted => None,
            Status::Successful => Some(Outcome::Successful),
            Status::Failed | Status::Retried => Some(Outcome::ApplicationException),
            Status::Abandoned => Some(Outcome::Abandoned),
        },
        superseded,
        holds_reference: !superseded && status != Status::Deleted,
        start_processing: (status != Status::New).then(|| at(20)),
        end_processing: ended.then(|| at(30)),
        holder: (status != Status::New).then_some(CLAIM),
        token: if status == Status::New { 0 } else { CLAIM.token },
        row_version: if ended { 3 } else { 2 },
        ..new
    }
}

fn changed(item: &ItemState, event: Event, policy: &QueuePolicy) -> Change {
    match transition(ID, item, event, policy, now()) {
        Ok(Transition::Change(change)) => change,
        other => panic!("{event:?} on {item:?}: {other:?}"),
    }
}

fn refused(item: &ItemState, event: Event, policy: &QueuePolicy) -> performer::model::Refusal {
    transition(ID, item, event, policy, now()).expect_err("refused")
}

fn report(outcome: Outcome) -> Event {
    Event::Report { claim: CLAIM, outcome, defer_date: None }
}

/// What the table says, in words of its own: the Status and ReviewStatus afterwards, or nothing.
fn expected(item: &ItemState, event: Event) -> Option<(Status, ReviewStatus)> {
    let (status, review) = (item.status, item.review_status);
    let in_progress = status == Status::InProgress;
    let reviewable = matches!(status, Status::Failed | Status::Abandoned) && !item.superseded;
    match event {
        Event::Take { .. } if status == Status::New => Some((Status::InProgress, review)),
        Event::Report { outcome, .. } => {
            let repeats = item.outcome == Some(outcome) && item.holder == Some(CLAIM) && !in_progress;
            let ended = match outcome {
                Outcome::Successful => Status::Successful,
                Outcome::ApplicationException => Status::Retried, // a retry is left in these tests
                _ => Status::Failed,
            };
            if repeats { Some((status, review)) } else { in_progress.then_some((ended, review)) }
        }
        Event::Postpone { .. } | Event::GiveBack { .. } if in_progress => Some((Status::New, review)),
        Event::Progress { .. } if in_progress => Some((Status::InProgress, review)),
        Event::JobLost { .. } if in_progress => Some((Status::Abandoned, review)),
        Event::Edit { .. } if status == Status::New => Some((Status::New, review)),
        // Whatever the item is by then: the end of its task is no news to it unless it waits.
        Event::Answer { .. } => Some((status, review)),
        Event::Delete { row_version }
            if row_version.is_none_or(|version| version == item.row_version) && status != Status::Deleted =>
        {
            Some((Status::Deleted, review))
        }
        Event::Review { to, row_version } if reviewable && row_version == item.row_version => {
            let open = matches!(review, ReviewStatus::None | ReviewStatus::InReview);
            let allowed = open && to != review;
            allowed.then_some((status, to))
        }
        Event::SetReviewer { permitted: true, row_version, .. }
            if reviewable && row_version == item.row_version =>
        {
            Some((status, review))
        }
        Event::Purge if matches!(status, Status::Successful | Status::Retried | Status::Deleted) => {
            Some((status, review))
        }
        _ => None,
    }
}

#[test]
fn every_status_times_review_times_event() {
    let policy = QueuePolicy::default().max_number_of_retries(1);
    let mut events = vec![
        Event::Take { job: JOB },
        Event::Postpone { claim: CLAIM, defer_date: at(2_000), due_date: None },
        Event::GiveBack { claim: CLAIM },
        Event::Progress { claim: Some(CLAIM) },
        Event::Progress { claim: None },
        Event::JobLost { job: JOB },
        Event::Edit { priority: Priority::High, due_date: None, defer_date: None },
        Event::Delete { row_version: None },
        Event::Delete { row_version: Some(3) },
        Event::Purge,
        Event::Answer { deadline: at(2_000) },
    ];
    let reported = [
        Outcome::Successful,
        Outcome::BusinessException,
        Outcome::ApplicationException,
        Outcome::Unspecified,
    ];
    events.extend(reported.map(report));
    for row_version in [2, 3] {
        events.extend(ReviewStatus::ALL.iter().map(|to| Event::Review { to: *to, row_version }));
        events.push(Event::SetReviewer { reviewer: Some(1), permitted: true, row_version });
    }
    events.push(Event::SetReviewer { reviewer: Some(1), permitted: false, row_version: 3 });

    let mut cells = 0;
    for status in Status::ALL {
        for review in ReviewStatus::ALL {
            let item = item(*status, *review);
            for event in &events {
                cells += 1;
                let expected = expected(&item, *event);
                let answer = transition(ID, &item, *event, &policy, now());
                let found = match &answer {
                    Ok(Transition::Unchanged) => Some((item.status, item.review_status)),
                    Ok(Transition::Change(change)) => Some((change.after.status, change.after.review_status)),
                    Ok(Transition::Remove) => panic!("nothing here removes"),
                    Err(_) => None,
                };
                assert_eq!(found, expected, "{status} {review} {event:?}: {answer:?}");
            }
        }
    }
    assert_eq!(cells, 7 * 4 * (11 + 4 + 2 * 5 + 1));
}

#[test]
fn t25_an_answer_lets_an_item_go_on_that_still_waits_for_it() {
    let policy = QueuePolicy::default();
    let asked = Event::Postpone { claim: CLAIM, defer_date: at(2_000), due_date: None };
    let waiting = changed(&item(Status::InProgress, ReviewStatus::None), asked, &policy).after;
    let answered = changed(&waiting, Event::Answer { deadline: at(2_000) }, &policy);
    assert_eq!(answered.after.defer_date, None);
    assert_eq!(
        ItemState { defer_date: waiting.defer_date, row_version: waiting.row_version, ..answered.after },
        waiting,
        "nothing else changes: no retry is used, and the claim stays void"
    );
    assert_eq!((answered.copy, answered.alert), (None, None));
    assert_eq!(answered.recorded.iter().map(|event| event.action).collect::<Vec<_>>(), [EventAction::Edit]);
    // Somebody gave it another DeferDate, or it was handed out: it does not wait for this task.
    let edited = ItemState { defer_date: Some(at(3_000)), ..waiting };
    let ready = ItemState { defer_date: None, ..waiting };
    let taken = changed(&ready, Event::Take { job: JOB }, &policy).after;
    for other in [edited, ready, taken, ItemState { status: Status::Deleted, ..waiting }] {
        let answer = transition(ID, &other, Event::Answer { deadline: at(2_000) }, &policy, now());
        assert_eq!(answer, Ok(Transition::Unchanged), "{other:?}");
    }
}

#[test]
fn t3_each_claim_has_a_new_token() {
    let policy = QueuePolicy::default();
    let new = item(Status::New, ReviewStatus::None);
    let first = changed(&new, Event::Take { job: JOB }, &policy);
    assert_eq!(first.after.holder, Some(Holder { job: JOB, token: first.after.token }));
    assert_eq!((first.after.start_processing, first.after.row_version), (Some(now()), new.row_version + 1));
    let claim = first.after.holder.unwrap();
    let back = changed(&first.after, Event::GiveBack { claim }, &policy);
    assert!(back.after.token > first.after.token);
    let second = changed(&back.after, Event::Take { job: JOB }, &policy);
    assert!(second.after.token > back.after.token);
    let late = refused(&second.after, Event::GiveBack { claim }, &policy);
    assert!(late.is_claim_lost());
}

#[test]
fn t3_a_deferred_item_is_not_claimed_before_its_time() {
    let policy = QueuePolicy::default();
    let deferred =
        |second| ItemState { defer_date: Some(at(second)), ..item(Status::New, ReviewStatus::None) };
    refused(&deferred(1_001), Event::Take { job: JOB }, &policy);
    changed(&deferred(1_000), Event::Take { job: JOB }, &policy);
}

#[test]
fn t4_to_t7_ends() {
    let running = item(Status::InProgress, ReviewStatus::None);
    let policy = QueuePolicy::default().max_number_of_retries(1);
    for (outcome, retry_number, status, copied, alert) in [
        (Outcome::Successful, 0, Status::Successful, false, false),
        (Outcome::BusinessException, 0, Status::Failed, false, false),
        (Outcome::ApplicationException, 0, Status::Retried, true, false),
        (Outcome::ApplicationException, 1, Status::Failed, false, true),
        (Outcome::Unspecified, 0, Status::Failed, false, false),
    ] {
        let running = ItemState { retry_number, ..running };
        let change = changed(&running, report(outcome), &policy);
        assert_eq!((change.after.status, change.after.outcome), (status, Some(outcome)));
        assert_eq!((change.copy.is_some(), change.after.superseded), (copied, copied));
        assert_eq!(change.alert, alert.then_some(ErrorCode::new(1856)));
        assert_eq!(change.after.end_processing, Some(now()));
        assert_eq!(change.after.holds_reference, !copied);
    }
    let off = policy.accept_automatically_retry(false);
    assert_eq!(changed(&running, report(Outcome::ApplicationException), &off).after.status, Status::Failed);
}

#[test]
fn t6_the_copy_is_new_and_keeps_the_documented_values() {
    let running = ItemState {
        due_date: Some(at(9_000)),
        priority: Priority::High,
        manual_retry_number: 3,
        reviewer_user_id: Some(5),
        ..item(Status::InProgress, ReviewStatus::None)
    };
    let defer_date = Some(at(1_500));
    let event = Event::Report { claim: CLAIM, outcome: Outcome::ApplicationException, defer_date };
    let copy = changed(&running, event, &QueuePolicy::default()).copy.unwrap();
    assert_eq!((copy.status, copy.retry_number, copy.manual_retry_number), (Status::New, 1, 3));
    assert_eq!(
        (copy.priority, copy.due_date, copy.defer_date),
        (Priority::High, Some(at(9_000)), defer_date)
    );
    assert_eq!((copy.creation_time, copy.seconds_in_previous_attempts), (now(), 980));
    assert_eq!(
        (copy.holder, copy.start_processing, copy.end_processing, copy.outcome),
        (None, None, None, None)
    );
    assert_eq!((copy.reviewer_user_id, copy.row_version, copy.token), (None, 1, 0));
    assert!(copy.holds_reference && !copy.superseded);
}

/// The copies of T6 and T15 wait as long as the queue says, from the end of the attempt.
#[test]
fn t6_and_t15_the_copy_waits_for_the_retry_delay() {
    let running = item(Status::InProgress, ReviewStatus::None);
    let growing = ExponentialDelay::new(Duration::from_secs(10), Duration::from_secs(60)).jitter_percent(0);
    for (delay, waits) in [
        (RetryDelay::None, [None, None, None, None]),
        (Duration::from_secs(30).into(), [Some(1_030); 4]),
        (growing.into(), [Some(1_010), Some(1_020), Some(1_040), Some(1_060)]),
    ] {
        let policy =
            QueuePolicy::default().max_number_of_retries(9).retry_abandoned_items(true).retry_delay(delay);
        for (retry_number, until) in (0..).zip(waits) {
            let running = ItemState { retry_number, ..running };
            for event in [report(Outcome::ApplicationException), Event::JobLost { job: JOB }] {
                let copy = changed(&running, event, &policy).copy.unwrap();
                assert_eq!((copy.retry_number, copy.defer_date), (retry_number + 1, until.map(at)));
            }
        }
    }
}

/// T6: an exception knows better than the queue when to try again, also if that is at once.
#[test]
fn t6_a_delay_that_the_exception_asks_for_wins() {
    let running = item(Status::InProgress, ReviewStatus::None);
    let policy = QueuePolicy::default().retry_delay(Duration::from_secs(30));
    for second in [1_000, 1_005, 5_000] {
        let outcome = Outcome::ApplicationException;
        let event = Event::Report { claim: CLAIM, outcome, defer_date: Some(at(second)) };
        assert_eq!(changed(&running, event, &policy).copy.unwrap().defer_date, Some(at(second)));
    }
}

/// T21: a person retries the item now. The automatic retries that follow wait as from the first on.
#[test]
fn t21_a_retry_by_hand_does_not_wait() {
    let growing = ExponentialDelay::new(Duration::from_secs(10), Duration::from_secs(60)).jitter_percent(0);
    let policy = QueuePolicy::default().max_number_of_retries(3).retry_delay(growing);
    let failed = ItemState { retry_number: 3, ..item(Status::Failed, ReviewStatus::None) };
    let event = Event::Review { to: ReviewStatus::Retried, row_version: failed.row_version };
    let copy = changed(&failed, event, &policy).copy.unwrap();
    assert_eq!((copy.retry_number, copy.defer_date), (0, None));
    let running = ItemState { holder: Some(CLAIM), start_processing: Some(at(20)), ..copy };
    let running = ItemState { status: Status::InProgress, token: 2, row_version: 2, ..running };
    let next = changed(&running, report(Outcome::ApplicationException), &policy).copy.unwrap();
    assert_eq!(next.defer_date, Some(at(1_010)));
}

/// Items that fail together come back one after the other; the same item always at the same time, also near the end of time.
#[test]
fn a_retry_delay_is_the_same_for_the_same_item_and_never_leaves_the_calendar() {
    let running = item(Status::InProgress, ReviewStatus::None);
    let (first, cap) = (Duration::from_secs(100), Duration::from_secs(100));
    let policy = QueuePolicy::default().retry_delay(ExponentialDelay::new(first, cap).jitter_percent(50));
    let event = report(Outcome::ApplicationException);
    let copied = |id: i64, now: Timestamp| match transition(ItemId(id), &running, event, &policy, now) {
        Ok(Transition::Change(change)) => change.copy.unwrap().defer_date.unwrap(),
        other => panic!("{other:?}"),
    };
    let times: Vec<Timestamp> = (1..=1_000).map(|id| copied(id, now())).collect();
    assert_eq!(times, (1..=1_000).map(|id| copied(id, now())).collect::<Vec<_>>());
    assert!(times.iter().all(|time| (at(1_050)..=at(1_100)).contains(time)));
    let mut seconds: Vec<i64> = times.iter().map(|time| time.as_second()).collect();
    seconds.sort_unstable();
    seconds.dedup();
    assert_eq!(seconds.len(), 50, "in every second some");
    let last = performer::model::StoredTime::LAST.timestamp();
    assert_eq!(copied(1, last), last);
    let stored = performer::model::StoredTime::from(times[0]);
    assert_eq!(stored.timestamp(), times[0], "a time that every store can keep");
}

#[test]
fn t8_a_postponement_into_the_past_is_refused_and_changes_nothing() {
    let running = item(Status::InProgress, ReviewStatus::None);
    for second in [999, 1_000] {
        let event = Event::Postpone { claim: CLAIM, defer_date: at(second), due_date: None };
        let refusal = refused(&running, event, &QueuePolicy::default());
        assert_eq!(refusal.code(), ErrorCode::PARAMETER_INVALID);
        assert!(!refusal.is_claim_lost(), "the claim holds: the robot may still report");
    }
}

#[test]
fn t8_and_t9_use_no_retry_and_record_the_claim_that_the_row_overwrites() {
    let running = ItemState { due_date: Some(at(5_000)), ..item(Status::InProgress, ReviewStatus::None) };
    let postpone = Event::Postpone { claim: CLAIM, defer_date: at(2_000), due_date: Some(at(6_000)) };
    for (event, defer_date, due_date) in [
        (postpone, Some(at(2_000)), Some(at(6_000))),
        (Event::GiveBack { claim: CLAIM }, None, Some(at(5_000))),
    ] {
        let change = changed(&running, event, &QueuePolicy::default());
        assert_eq!((change.after.defer_date, change.after.due_date), (defer_date, due_date));
        assert_eq!((change.after.retry_number, change.after.start_processing), (0, None));
        assert_eq!((change.after.holder, change.copy.is_some()), (None, false));
        let recorded: Vec<_> = change.recorded.iter().map(|event| (event.action, event.status)).collect();
        assert_eq!(recorded, [(EventAction::Status, Status::InProgress), (EventAction::Status, Status::New)]);
    }
}

#[test]
fn t10_progress_needs_the_claim_that_holds() {
    let running = item(Status::InProgress, ReviewStatus::None);
    let other = Holder { token: 1, ..CLAIM };
    let refusal = refused(&running, Event::Progress { claim: Some(other) }, &QueuePolicy::default());
    assert!(refusal.is_claim_lost());
    let done = item(Status::Successful, ReviewStatus::None);
    let refusal = refused(&done, Event::Progress { claim: None }, &QueuePolicy::default());
    assert_eq!(refusal.code(), ErrorCode::INVALID_TRANSACTION_PROGRESS_STATUS);
    assert!(!refusal.is_claim_lost());
}

#[test]
fn t11_and_t12_a_repeat_is_accepted_and_any_other_report_is_a_lost_claim() {
    let policy = QueuePolicy::default();
    let done = item(Status::Successful, ReviewStatus::None);
    assert_eq!(transition(ID, &done, report(Outcome::Successful), &policy, now()), Ok(Transition::Unchanged));
    let code = ErrorCode::QUEUE_ITEM_INVALID_TRANSITION_FROM_FINAL_STATUS;
    for (outcome, claim) in [
        (Outcome::BusinessException, CLAIM),
        (Outcome::Successful, Holder { token: 9, ..CLAIM }),
        (Outcome::Successful, Holder { job: JobNumber(8), ..CLAIM }),
    ] {
        let refusal = refused(&done, Event::Report { claim, outcome, defer_date: None }, &policy);
        assert!(refusal.is_claim_lost() && refusal.code() == code);
    }
    let new = item(Status::New, ReviewStatus::None);
    let refusal = refused(&new, report(Outcome::Successful), &policy);
    assert!(refusal.is_claim_lost() && refusal.code() == ErrorCode::TRANSACTION_NOT_STARTED);
    // Decided by this claim, then deleted: the repeat is still the same report.
    let deleted = changed(&done, Event::Delete { row_version: None }, &policy).after;
    assert_eq!(
        transition(ID, &deleted, report(Outcome::Successful), &policy, now()),
        Ok(Transition::Unchanged)
    );
    // Taken by a claim, deleted while it ran: nothing was decided, and the claim is void.
    let deleted =
        changed(&item(Status::InProgress, ReviewStatus::None), Event::Delete { row_version: None }, &policy)
            .after;
    assert!(refused(&deleted, report(Outcome::Successful), &policy).is_claim_lost());
    assert!(deleted.token > CLAIM.token && deleted.holder.is_none());
}

#[test]
fn t15_only_the_job_that_holds_the_item_abandons_it_by_its_end() {
    let running = item(Status::InProgress, ReviewStatus::None);
    refused(&running, Event::JobLost { job: JobNumber(8) }, &QueuePolicy::default());
    let change = changed(&running, Event::JobLost { job: JOB }, &QueuePolicy::default());
    assert_eq!((change.after.status, change.after.outcome), (Status::Abandoned, Some(Outcome::Abandoned)));
    assert!(change.copy.is_none() && change.after.holds_reference);

    let retrying = QueuePolicy::default().retry_abandoned_items(true).max_number_of_retries(1);
    let change = changed(&running, Event::JobLost { job: JOB }, &retrying);
    assert_eq!((change.after.status, change.after.outcome), (Status::Retried, Some(Outcome::Abandoned)));
    assert_eq!(change.copy.unwrap().retry_number, 1);
    let used_up = ItemState { retry_number: 1, ..running };
    assert_eq!(changed(&used_up, Event::JobLost { job: JOB }, &retrying).after.status, Status::Abandoned);
}

#[test]
fn t15_an_item_is_overdue_after_its_queue_s_limit_and_not_before() {
    let running = item(Status::InProgress, ReviewStatus::None); // since second 20
    let limit = |seconds| QueuePolicy::default().abandon_after(Duration::from_secs(seconds));
    refused(&running, Event::Overdue, &limit(980));
    changed(&running, Event::Overdue, &limit(979));
    refused(&item(Status::Successful, ReviewStatus::None), Event::Overdue, &limit(1));
}

#[test]
fn t21_a_manual_retry_copies_once_and_resets_the_retries() {
    let policy = QueuePolicy::default();
    for status in [Status::Failed, Status::Abandoned] {
        let failed = ItemState { retry_number: 1, ..item(status, ReviewStatus::InReview) };
        let event = Event::Review { to: ReviewStatus::Retried, row_version: failed.row_version };
        let change = changed(&failed, event, &policy);
        assert_eq!((change.after.status, change.after.review_status), (status, ReviewStatus::Retried));
        assert!(change.after.superseded && !change.after.holds_reference);
        let copy = change.copy.unwrap();
        assert_eq!((copy.retry_number, copy.manual_retry_number, copy.holds_reference), (0, 1, true));
        let again = Event::Review { to: ReviewStatus::Retried, row_version: change.after.row_version };
        let refusal = refused(&change.after, again, &policy);
        assert_eq!(refusal.code(), ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY);
        let stale = refused(&change.after, event, &policy);
        assert_eq!(stale.code(), ErrorCode::OPTIMISTIC_CONCURRENCY);
    }
}

#[test]
fn t22_a_reviewer_must_be_permitted_and_may_always_be_cleared() {
    let failed = item(Status::Failed, ReviewStatus::None);
    let set =
        |reviewer, permitted| Event::SetReviewer { reviewer, permitted, row_version: failed.row_version };
    let refusal = refused(&failed, set(Some(1), false), &QueuePolicy::default());
    assert_eq!(refusal.code(), ErrorCode::REVIEWER_NOT_AVAILABLE);
    assert_eq!(changed(&failed, set(Some(1), true), &QueuePolicy::default()).after.reviewer_user_id, Some(1));
    assert_eq!(changed(&failed, set(None, false), &QueuePolicy::default()).after.reviewer_user_id, None);
}

#[test]
fn t23_an_item_is_removed_after_its_period_with_its_whole_chain() {
    const DAY: i64 = 86_400;
    let policy = QueuePolicy::default().retention_days(2).stale_retention_days(5);
    let expire = |item: &ItemState, second, whole_chain_expired| {
        transition(ID, item, Event::Expire { whole_chain_expired }, &policy, at(second))
            == Ok(Transition::Remove)
    };
    let done = item(Status::Successful, ReviewStatus::None); // ended at second 30
    assert!(!expire(&done, 30 + 2 * DAY, true) && expire(&done, 31 + 2 * DAY, true));
    assert!(!expire(&done, 31 + 2 * DAY, false));
    let new = item(Status::New, ReviewStatus::None); // created at second 10
    assert!(!expire(&new, 10 + 5 * DAY, true) && expire(&new, 11 + 5 * DAY, true));
    assert!(!expire(&item(Status::InProgress, ReviewStatus::None), 1_000 * DAY, true));
}

#[test]
fn the_condition_of_expired_items_is_the_rule() {
    let policy = QueuePolicy::default().retention_days(2).stale_retention_days(5);
    let mut seen = [0, 0];
    for status in Status::ALL.iter().copied() {
        for second in [0, 40, 2 * 86_400, 2 * 86_400 + 31, 5 * 86_400 + 10, 5 * 86_400 + 11, 9 * 86_400] {
            for state in [
                item(status, ReviewStatus::None),
                ItemState { end_processing: None, ..item(status, ReviewStatus::None) },
            ] {
                let row = QueueItem::of_state(ID, ItemKey::from_bytes([1; 16]), QueueId(1), &state);
                let expected = lifecycle::is_expired(&state, &policy, at(second));
                let holds = lifecycle::is_expired_by(&policy, at(second)).holds(&row);
                assert_eq!(holds, expected, "{status} at {second}");
                seen[usize::from(expected)] += 1;
            }
        }
    }
    assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
}

/// T1: an item counts by its reference only where references are unique, and only if it has one.
#[test]
fn a_new_item_holds_its_reference_in_a_queue_with_unique_references() {
    for (enforce_unique_reference, reference, holds) in
        [(true, Some("a"), true), (true, None, false), (false, Some("a"), false), (false, None, false)]
    {
        let policy = QueuePolicy::default().enforce_unique_reference(enforce_unique_reference);
        let item = NewQueueItem::new(());
        let item = if let Some(reference) = reference { item.reference(reference) } else { item };
        let state = lifecycle::added(&item, &policy, now());
        assert_eq!(state.holds_reference, holds, "{enforce_unique_reference} {reference:?}");
        assert_eq!((state.row_version, state.token, state.creation_time), (1, 0, now()));
    }
}

/// T6 and T21: a copy begins anew, whatever its original has been through, and takes the reference over.
#[test]
fn a_copy_resets_the_state() {
    let policy = QueuePolicy::default().max_number_of_retries(3);
    let failed = item(Status::Failed, ReviewStatus::InReview);
    let by_hand = Event::Review { to: ReviewStatus::Retried, row_version: failed.row_version };
    let running = item(Status::InProgress, ReviewStatus::None);
    let automatic = Event::Report { claim: CLAIM, outcome: Outcome::ApplicationException, defer_date: None };
    for (original, event) in [(failed, by_hand), (running, automatic)] {
        let change = changed(&original, event, &policy);
        let copy = change.copy.expect("a copy");
        assert_eq!((copy.status, copy.review_status, copy.outcome), (Status::New, ReviewStatus::None, None));
        assert_eq!((copy.start_processing, copy.end_processing, copy.holder), (None, None, None));
        assert_eq!((copy.token, copy.row_version, copy.reviewer_user_id), (0, 1, None));
        assert!(!copy.superseded && change.after.superseded);
        assert!(original.holds_reference && copy.holds_reference && !change.after.holds_reference);
        assert_eq!((copy.creation_time, copy.defer_date), (now(), None));
        assert_eq!((copy.priority, copy.due_date), (original.priority, original.due_date));
    }
}
