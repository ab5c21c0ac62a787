//! Groups of items: how many of one group are in progress, in which order, and whose turn it is (T3 and I22 of
//! `docs/reference/lifecycle.md`).

use std::collections::BTreeMap;
use std::time::Duration;

use performer::FieldEdit;
use performer::model::{
    ClaimedItem, ErrorCode, ItemEdit, ItemFilter, JobKey, LimitsEdit, NewQueueItem, Priority, QueueItem,
    QueuePolicy, ReferenceFilter, ReviewStatus, Status, TransactionResult,
};
use performer::orchestrator::{CommitType, ErrorKind, Report};

use super::look;
use crate::{Fixture, QUEUE, application, business, named, ok, retrying, take};

fn of(group: &str, reference: &str) -> NewQueueItem {
    named(reference).group(group)
}

/// A queue with a limit for each group.
async fn limited(f: Fixture, retries: u32, most: u32) -> Fixture {
    let f = f.with_queue(retrying(retries)).await;
    limit(&f, LimitsEdit::default().max_in_progress_per_group(most)).await;
    f
}

async fn limit(f: &Fixture, edit: LimitsEdit) {
    f.orchestrator.edit_queue_limits(QUEUE, edit).await.unwrap();
}

async fn add(f: &Fixture, group: &str, references: &[&str]) {
    for reference in references {
        f.add(of(group, reference)).await;
    }
}

/// Claims what there is, and returns the references.
async fn take_named(f: &Fixture, job: JobKey, count: usize) -> Vec<String> {
    f.take_many(job, count).await.iter().map(reference).collect()
}

fn reference(claimed: &ClaimedItem) -> String {
    claimed.item.reference.clone().unwrap_or_default()
}

async fn end(f: &Fixture, claimed: &ClaimedItem) {
    f.report(claimed.claim, ok()).await.unwrap();
}

pub(crate) async fn the_group_of_an_item_is_stored_and_copied(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let job = f.job().await;
    let added = f.add(of("customer-17850", "a")).await;
    assert_eq!(added.group.as_deref(), Some("customer-17850"));
    assert_eq!(f.item(added.id).await.group, added.group);
    let bulk = vec![of("Ärzte 漢字", "b"), named("c")];
    let _ = f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, bulk).await.unwrap();
    f.perform(job, application("no")).await;
    let claimed = f.take_many(job, 3).await;
    let groups: Vec<_> = claimed.iter().map(|claimed| claimed.item.group.as_deref()).collect();
    assert_eq!(
        groups,
        [Some("Ärzte 漢字"), None, Some("customer-17850")],
        "without rules it decides nothing"
    );
    for bad in ["", "a\nb", &"x".repeat(129)] {
        let refused = f.orchestrator.add_queue_item(QUEUE, of(bad, "d")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{bad:?}: {refused}");
    }
    let none = LimitsEdit::default().max_in_progress_per_group(0);
    let refused = f.orchestrator.edit_queue_limits(QUEUE, none).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let both = LimitsEdit::default().max_in_progress_per_group(3).fair(true);
    let limits = f.orchestrator.edit_queue_limits(QUEUE, both).await.unwrap().limits;
    assert_eq!((limits.max_in_progress_per_group, limits.fair), (Some(3), true));
    assert_eq!(f.orchestrator.get_queue(QUEUE).await.unwrap().limits, limits);
}

pub(crate) async fn items_of_a_group_are_in_progress_one_at_a_time_in_order(f: Fixture) {
    let f = limited(f, 0, 1).await;
    let job = f.job().await;
    add(&f, "a", &["a1", "a2", "a3"]).await;
    add(&f, "b", &["b1", "b2"]).await;
    f.add_named("free 1").await;
    f.add_named("free 2").await;
    let first = f.take_many(job, 9).await;
    let names: Vec<_> = first.iter().map(reference).collect();
    assert_eq!(names, ["a1", "b1", "free 1", "free 2"], "items without a group are not limited");
    let held_back = look(&f, take(job, 1)).await;
    assert!(
        held_back.items.is_empty() && held_back.withheld.is_some(),
        "there is something, and it is known"
    );
    // A result frees the group for a claim of the same call, and wakes waiting callers.
    let report = Report::new(first[0].claim, ok());
    let next = f.orchestrator.report_and_claim(vec![report], Some(take(job, 9))).await.claimed.unwrap();
    assert_eq!(next.items.iter().map(reference).collect::<Vec<_>>(), ["a2"]);
    let empty = look(&f, take(job, 1)).await;
    let (orchestrator, long) = (f.orchestrator.clone(), Duration::from_secs(3_600));
    let waiting = tokio::spawn(async move { orchestrator.wait_for_items(QUEUE, empty.seen, long).await });
    end(&f, &first[1]).await;
    waiting.await.unwrap();
    let b2 = f.take(job).await;
    assert_eq!(reference(&b2), "b2");
    end(&f, &b2).await;
    end(&f, &next.items[0]).await;
    assert_eq!(take_named(&f, job, 9).await, ["a3"]);
    assert!(look(&f, take(job, 1)).await.withheld.is_none(), "nothing waits behind it");
    f.check_statistics().await;
}

pub(crate) async fn the_order_of_a_group_is_that_of_the_queue_whenever_items_come(f: Fixture) {
    let f = limited(f, 0, 2).await;
    let job = f.job().await;
    add(&f, "a", &["normal 1", "normal 2", "normal 3"]).await;
    f.add(of("a", "high").priority(Priority::High)).await;
    f.add(of("a", "due").due_date(f.after(60))).await;
    f.add(of("a", "due first").due_date(f.after(30))).await;
    f.add(of("a", "low").priority(Priority::Low)).await;
    let mut order = Vec::new();
    let mut held = f.take_many(job, 9).await;
    assert_eq!(held.len(), 2, "as many as the limit");
    while !held.is_empty() {
        let first = held.remove(0);
        order.push(reference(&first));
        end(&f, &first).await;
        held.extend(f.take_many(job, 9).await);
        assert!(held.len() <= 2);
    }
    assert_eq!(order, ["due first", "due", "high", "normal 1", "normal 2", "normal 3", "low"]);
    // An edit moves an item within its group, also one that is ready; a deleted one is passed over.
    add(&f, "b", &["b1", "b2", "b3", "b4"]).await;
    let ids: BTreeMap<_, _> = f
        .list(ItemFilter::default().queue(QUEUE).status([Status::New]))
        .await
        .into_iter()
        .map(|item| (item.reference.clone().unwrap_or_default(), item.id))
        .collect();
    let low = ItemEdit::default().priority(Priority::Low);
    f.orchestrator.edit_queue_item(ids["b1"], low).await.unwrap();
    let high = ItemEdit::default().priority(Priority::High);
    f.orchestrator.edit_queue_item(ids["b4"], high).await.unwrap();
    let later = ItemEdit::default().defer_date(f.after(60));
    f.orchestrator.edit_queue_item(ids["b3"], later).await.unwrap();
    let _ = f.orchestrator.delete_queue_items(vec![f.version(ids["b2"]).await]).await.unwrap();
    assert_eq!(take_named(&f, job, 9).await, ["b4", "b1"]);
    f.check_statistics().await;
}

pub(crate) async fn a_retry_stands_where_its_original_stood_in_the_group(f: Fixture) {
    let f = limited(f, 2, 1).await;
    let job = f.job().await;
    add(&f, "a", &["a1", "a2"]).await;
    f.perform(job, application("try again")).await;
    let again = f.take(job).await;
    assert_eq!(
        (reference(&again).as_str(), again.item.retry_number),
        ("a1", 1),
        "before the rest of its group"
    );
    // One that is to be retried later does not hold up its group, and is the first when its time has come.
    let later = TransactionResult::Failed {
        exception: match application("later") {
            TransactionResult::Failed { exception, .. } => exception,
            other => unreachable!("{other:?}"),
        },
        defer_date: Some(f.after(60)),
    };
    f.report(again.claim, later).await.unwrap();
    let a2 = f.take(job).await;
    assert_eq!(reference(&a2), "a2");
    add(&f, "a", &["a3"]).await;
    f.advance(61);
    assert!(f.try_take(job).await.is_none());
    end(&f, &a2).await;
    let last = f.take(job).await;
    assert_eq!((reference(&last).as_str(), last.item.retry_number), ("a1", 2));
    // So does one that people retry.
    let failed = f.report(last.claim, business("no")).await.unwrap();
    assert_eq!(failed, Status::Failed);
    let version = f.version(last.item.id).await;
    let _ = f.orchestrator.set_review_status(ReviewStatus::Retried, vec![version]).await.unwrap();
    assert_eq!(f.take_all(job).await, ["a1"]);
    f.check_statistics().await;
}

pub(crate) async fn however_an_attempt_ends_its_group_goes_on(f: Fixture) {
    let f = f
        .with_queue(QueuePolicy::default().max_number_of_retries(0).abandon_after(Duration::from_secs(600)))
        .await;
    limit(&f, LimitsEdit::default().max_in_progress_per_group(1)).await;
    let names: Vec<String> = (1..9).map(|number| format!("a{number}")).collect();
    add(&f, "a", &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let job = f.job().await;
    let next = async |expected: &str| {
        let claimed = f.take_many(job, 9).await;
        assert_eq!(claimed.iter().map(reference).collect::<Vec<_>>(), [expected]);
        claimed.into_iter().next().unwrap()
    };
    let report = async |claimed: ClaimedItem, result| f.report(claimed.claim, result).await.unwrap();
    report(next("a1").await, business("no")).await;
    report(next("a2").await, application("no")).await;
    let defer_date = f.after(60);
    report(next("a3").await, TransactionResult::Postponed { defer_date, due_date: None }).await;
    report(next("a4").await, TransactionResult::GivenBack).await;
    let deleted = next("a4").await;
    let _ = f.orchestrator.delete_queue_items(vec![f.version(deleted.item.id).await]).await.unwrap();
    f.advance(61);
    report(next("a3").await, ok()).await;
    // Its job is lost, or ends.
    let other = f.job().await;
    assert_eq!(reference(&f.take(other).await), "a5");
    assert!(f.try_take(job).await.is_none());
    f.orchestrator
        .end_job(other, performer::model::JobEnd::new(performer::model::JobState::Successful))
        .await
        .unwrap();
    // It takes longer than the queue allows.
    next("a6").await;
    for _ in 0..61 {
        f.advance(10);
        f.orchestrator.beat(job).await.unwrap();
    }
    f.orchestrator.sweep().await.unwrap();
    report(next("a7").await, ok()).await;
    report(next("a8").await, ok()).await;
    assert!(f.try_take(job).await.is_none());
    f.check_statistics().await;
}

pub(crate) async fn groups_take_turns_in_a_fair_queue(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    limit(&f, LimitsEdit::default().fair(true)).await;
    let job = f.job().await;
    let many: Vec<_> = (0..1_000).map(|number| of("large", &format!("large {number}"))).collect();
    let _ = f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, many).await.unwrap();
    assert_eq!(take_named(&f, job, 1).await, ["large 0"]);
    f.add(of("tiny", "tiny 0")).await;
    add(&f, "small", &["small 0", "small 1"]).await;
    f.add_named("alone 0").await;
    f.add_named("alone 1").await;
    assert!(take_named(&f, job, 2).await.contains(&"tiny 0".to_owned()), "within two claims");
    let next = take_named(&f, job, 7).await;
    let of_others = next.iter().filter(|name| !name.starts_with("large")).count();
    assert_eq!(of_others, 4, "each in its turn, items without a group as one group: {next:?}");
    // Priority comes first, and those of one priority take turns.
    f.add(of("large", "urgent").priority(Priority::High)).await;
    assert_eq!(take_named(&f, job, 1).await, ["urgent"]);
    // A large claim takes what one by one would: nothing is held back.
    assert_eq!(f.take_many(job, 2_000).await.len(), 1_006 - 11);
    f.check_statistics().await;
}

pub(crate) async fn limited_groups_take_turns_too(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    limit(&f, LimitsEdit::default().fair(true).max_in_progress_per_group(1)).await;
    let job = f.job().await;
    for number in 0..20 {
        f.add(of("large", &format!("large {number}"))).await;
    }
    add(&f, "b", &["b0", "b1"]).await;
    add(&f, "c", &["c0", "c1"]).await;
    let mut order = Vec::new();
    for _ in 0..8 {
        let claimed = f.take(job).await;
        order.push(reference(&claimed));
        end(&f, &claimed).await;
    }
    assert_eq!(order, ["large 0", "b0", "c0", "large 1", "b1", "c1", "large 2", "large 3"]);
    // A group that comes back saves up nothing; its turn is the present one.
    add(&f, "b", &["b2", "b3"]).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let claimed = f.take(job).await;
        order.push(reference(&claimed));
        end(&f, &claimed).await;
    }
    assert_eq!(order, ["large 4", "b2", "large 5", "b3"]);
    f.check_statistics().await;
}

pub(crate) async fn rules_about_groups_change_on_a_queue_with_items(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    let job = f.job().await;
    for number in 0..4 {
        f.add(of("a", &format!("a{number}"))).await;
        f.add(of("b", &format!("b{number}"))).await;
    }
    let running = f.take_many(job, 2).await; // a0 and b0, before there are rules
    let most = |most| LimitsEdit::default().max_in_progress_per_group(FieldEdit::to(most));
    limit(&f, most(Some(1))).await;
    assert!(f.try_take(job).await.is_none(), "what is in progress counts");
    limit(&f, most(Some(2))).await;
    assert_eq!(take_named(&f, job, 9).await, ["a1", "b1"]);
    // A lowered limit ends no attempt.
    limit(&f, most(Some(1))).await;
    end(&f, &running[0]).await;
    assert!(f.try_take(job).await.is_none(), "a1 is in progress");
    limit(&f, LimitsEdit::default().fair(true)).await;
    end(&f, &running[1]).await;
    assert!(f.try_take(job).await.is_none());
    // Without a limit, and without rules, everything can be claimed, in the order of the queue.
    limit(&f, most(None)).await;
    assert_eq!(take_named(&f, job, 2).await, ["a2", "b2"]);
    limit(&f, LimitsEdit::default().fair(false)).await;
    f.add(of("a", "a9")).await;
    assert_eq!(f.take_all(job).await, ["a3", "b3", "a9"]);
    f.check_statistics().await;
}

pub(crate) async fn claims_of_chosen_references_keep_to_the_rules_of_groups(f: Fixture) {
    let f = limited(f, 0, 1).await;
    let job = f.job().await;
    add(&f, "a", &["x1", "x2"]).await;
    add(&f, "b", &["x3"]).await;
    let only = |filter| take(job, 9).reference(filter);
    let claim = async |filter: ReferenceFilter| {
        let answer = f.orchestrator.report_and_claim(Vec::new(), Some(only(filter))).await;
        answer.claimed.unwrap().items
    };
    assert!(claim(ReferenceFilter::Equals("x2".to_owned())).await.is_empty(), "it waits behind x1");
    let found = claim(ReferenceFilter::StartsWith("x".to_owned())).await;
    assert_eq!(found.iter().map(reference).collect::<Vec<_>>(), ["x1", "x3"]);
    // An item that is added and claimed at once is refused if its group has no room, and takes the room that there is.
    let refused = f.orchestrator.add_and_start_transaction(take(job, 1), of("a", "x4")).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.code()),
        (ErrorKind::Conflict, Some(ErrorCode::UNAVAILABLE_RESOURCES))
    );
    end(&f, &found[0]).await;
    let started = f.orchestrator.add_and_start_transaction(take(job, 1), of("a", "x5")).await.unwrap();
    assert!(claim(ReferenceFilter::Equals("x2".to_owned())).await.is_empty(), "x5 has its place");
    end(&f, &started).await;
    assert_eq!(claim(ReferenceFilter::Equals("x2".to_owned())).await.len(), 1);
    let listed = f.list(ItemFilter::default().queue(QUEUE)).await;
    assert_eq!(listed.len(), 4, "nothing was added by the refused call");
    f.check_statistics().await;
}

/// Items wait in several places; a list finds them in all.
pub(crate) async fn items_that_wait_behind_others_are_listed_as_new(f: Fixture) {
    let f = limited(f, 0, 1).await;
    add(&f, "a", &["a1", "a2", "a3"]).await;
    f.add(of("a", "a4").defer_date(f.after(60))).await;
    f.add_named("free").await;
    let new = f.list(ItemFilter::default().queue(QUEUE).status([Status::New])).await;
    let mut names: Vec<_> = new.iter().filter_map(|item| item.reference.clone()).collect();
    names.sort();
    assert_eq!(names, ["a1", "a2", "a3", "a4", "free"]);
    f.check_statistics().await;
}

/// Whatever happens, in any order: no group has more in progress than its limit, a claim returns the item that the rules say, and
/// in the end everything was claimed.
pub(crate) async fn i22_no_group_exceeds_its_limit_and_none_is_stuck(f: Fixture) {
    const GROUPS: [&str; 4] = ["", "a", "b", "c"];
    let mut random = fastrand::Rng::with_seed(21);
    let f = f.with_queue(retrying(2).retry_abandoned_items(true)).await;
    let job = f.job().await;
    let (mut most, mut fair) = (2, false);
    limit(&f, LimitsEdit::default().max_in_progress_per_group(most)).await;
    let mut held: Vec<ClaimedItem> = Vec::new();
    for step in 0..400 {
        match random.u8(0..12) {
            0..=3 => {
                let group = GROUPS[random.usize(..GROUPS.len())];
                let priority = [Priority::High, Priority::Normal, Priority::Low][random.usize(..3)];
                let mut item = named(&step.to_string()).priority(priority);
                if !group.is_empty() {
                    item = item.group(group);
                }
                if random.u8(..4) == 0 {
                    item = item.due_date(f.after(random.u64(1..100)));
                }
                if random.u8(..6) == 0 {
                    item = item.defer_date(f.after(random.u64(1..20)));
                }
                f.add(item).await;
            }
            4 | 5 => {
                let expected = first_claimable(&f, most, fair).await;
                let claimed = f.try_take(job).await;
                let (id, all) = (claimed.as_ref().map(|claimed| claimed.item.id), &expected);
                assert!(
                    if fair {
                        id.is_some() != all.is_empty() && id.is_none_or(|id| all.contains(&id))
                    } else {
                        id == all.first().copied()
                    },
                    "step {step}: {id:?} was claimed, of {all:?}"
                );
                held.extend(claimed);
            }
            6..=8 if !held.is_empty() => {
                let claimed = held.swap_remove(random.usize(..held.len()));
                let result = match random.u8(..6) {
                    0 => application("no"),
                    1 => business("no"),
                    2 => TransactionResult::GivenBack,
                    3 => TransactionResult::Postponed {
                        defer_date: f.after(random.u64(1..20)),
                        due_date: None,
                    },
                    _ => ok(),
                };
                f.report(claimed.claim, result).await.unwrap();
            }
            9 => {
                let new = f.list(ItemFilter::default().queue(QUEUE).status([Status::New])).await;
                if let Some(item) = new.get(random.usize(..new.len().max(1))) {
                    match random.u8(..3) {
                        0 => {
                            let edit = ItemEdit::default().priority(Priority::High);
                            f.orchestrator.edit_queue_item(item.id, edit).await.unwrap();
                        }
                        1 => {
                            let edit = ItemEdit::default().defer_date(f.after(random.u64(1..20)));
                            f.orchestrator.edit_queue_item(item.id, edit).await.unwrap();
                        }
                        _ => drop(f.orchestrator.delete_queue_items(vec![item.version()]).await.unwrap()),
                    }
                }
            }
            10 => f.advance(random.u64(1..5)),
            _ if random.u8(..4) == 0 => {
                (most, fair) = (random.u32(1..4), random.bool());
                limit(&f, LimitsEdit::default().max_in_progress_per_group(most).fair(fair)).await;
            }
            _ => {}
        }
    }
    f.check_statistics().await;
    for claimed in held {
        f.report(claimed.claim, ok()).await.unwrap();
    }
    f.advance(100);
    while let Some(claimed) = f.try_take(job).await {
        f.report(claimed.claim, ok()).await.unwrap();
    }
    let left = f.list(ItemFilter::default().queue(QUEUE).status([Status::New, Status::InProgress])).await;
    assert!(left.is_empty(), "{} items are stuck", left.len());
    f.check_statistics().await;
}

/// The items that the rules allow to be claimed, in the order of the queue, from what a list shows. Checks the limit, unless it was
/// lowered.
async fn first_claimable(f: &Fixture, most: u32, fair: bool) -> Vec<performer::model::ItemId> {
    let live = f.list(ItemFilter::default().queue(QUEUE).status([Status::New, Status::InProgress])).await;
    let all = f.list(ItemFilter::default().queue(QUEUE)).await;
    let first_of = |item: &QueueItem| {
        all.iter().filter(|other| other.key == item.key).map(|other| other.id).min().unwrap_or(item.id)
    };
    let mut groups: BTreeMap<Option<&str>, (u32, Vec<&QueueItem>)> = BTreeMap::new();
    for item in &live {
        let (running, waiting) = groups.entry(item.group.as_deref()).or_default();
        match item.status {
            Status::InProgress => *running += 1,
            _ if item.defer_date.is_none_or(|defer_date| defer_date <= f.now()) => waiting.push(item),
            _ => {}
        }
    }
    let key = |item: &QueueItem| (item.due_date.is_none(), item.priority.number(), item.due_date);
    let mut claimable = Vec::new();
    for (group, (running, mut waiting)) in groups {
        let free = if group.is_some() { most.saturating_sub(running) } else { u32::MAX };
        waiting
            .sort_by_key(|item| (key(item), if group.is_some() { first_of(item) } else { item.id }, item.id));
        claimable.extend(waiting.into_iter().take(usize::try_from(free).unwrap_or(usize::MAX)));
    }
    claimable.sort_by_key(|item| (key(item), item.id));
    if fair {
        // Whose turn it is decides among the first by due date or none, and priority.
        let first = claimable.first().map(|item| (item.due_date.is_none(), item.priority));
        claimable.retain(|item| Some((item.due_date.is_none(), item.priority)) == first);
    }
    claimable.into_iter().map(|item| item.id).collect()
}
