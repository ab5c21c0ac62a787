//! Lists of items by any filter, condition and order, compared with the model's evaluation of each item.

use performer::model::{
    ExceptionType, ItemFilter, ItemId, NewJob, NewQueueDefinition, NewQueueItem, Page, Priority, QueueId,
    QueueItem, ReferenceFilter, ReviewStatus, Status, query, query::Case, query::Comparison,
    query::Condition, query::Field, query::Order, query::TextMatch, query::Value,
};
use performer::orchestrator::ClaimRequest;
use serde_json::json;

use crate::{Fixture, QUEUE, application, business, ok, postponed, retrying};

/// For any condition and order, a store gives the same list as the condition evaluated item by item.
pub(crate) async fn lists_answer_any_condition_as_the_model_does(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    for number in 0..12_u8 {
        let mut item = NewQueueItem::new(json!({ "n": number }));
        if number % 3 > 0 {
            let name = ["INV", "Überw", "ØRSTED", "İßΣς"][usize::from(number % 4)];
            item = item.reference(format!("{name}-{}", number % 5));
        }
        if number % 4 == 0 {
            item = item.due_date(f.after(60 * u64::from(number)));
        }
        f.add(item.priority(Priority::ALL[usize::from(number % 3)])).await;
        f.advance(7);
    }
    let job = f.job().await;
    for (number, taken) in f.take_many(job, 8).await.into_iter().enumerate() {
        let result = [ok(), business("no"), application("down"), postponed(f.after(99))][number % 4].clone();
        if number < 7 {
            f.report(taken.claim, result).await.unwrap();
        } else {
            f.orchestrator.set_transaction_progress(taken.claim, "INV: half-1".to_owned()).await.unwrap();
        }
        f.advance(7);
    }
    let all = f.list(ItemFilter::default()).await;
    assert!(all.len() > 12, "there are retries among them");
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..400 {
        let condition = any_condition(&mut random, &all, 3);
        let order: Vec<Order> = (0..random.usize(..3))
            .map(|_| Order { field: *random.choice(Field::ALL).unwrap(), descending: random.bool() })
            .collect();
        let mut expected: Vec<_> = all.iter().filter(|item| condition.holds(item)).cloned().collect();
        expected.sort_by(|a, b| query::compare(&order, a, b));
        let filter = ItemFilter::default().condition(condition.clone()).order(order.clone());
        let page = f.orchestrator.list_queue_items(filter, Page::default()).await.unwrap();
        let ids = |items: &[QueueItem]| items.iter().map(|item| item.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&page.items), ids(&expected), "{condition:?} by {order:?}");
        assert_eq!(page.count, expected.len() as u64);
    }
}

/// For any filter, order and page size, a store gives the same list, page by page, as the filter evaluated item by item; whatever
/// became of the items meanwhile.
pub(crate) async fn lists_answer_any_filter_as_the_model_does(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other").policy(retrying(0))).await.unwrap();
    let jobs = [f.job().await, f.orchestrator.start_job(NewJob::new("Other")).await.unwrap()];
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..6_u64 {
        for number in 0..8_u64 {
            let mut item = NewQueueItem::new(json!({ "n": number }));
            if number % 4 > 0 {
                item =
                    item.reference(format!("{}-{}", ["INV", "inv", "Ü"][random.usize(..3)], random.u8(..4)));
            }
            if number % 3 == 0 {
                item = item.due_date(f.after(3_600 * (1 + random.u64(..4))));
            }
            let queue = [QUEUE, "Other"][random.usize(..2)];
            let priority = Priority::ALL[random.usize(..3)];
            f.orchestrator.add_queue_item(queue, item.priority(priority)).await.unwrap();
            f.advance(random.u64(..2));
        }
        for (queue, job) in [QUEUE, "Other"].into_iter().zip(jobs) {
            let ask = ClaimRequest::new(queue, job, 3);
            let claimed = f.orchestrator.report_and_claim(Vec::new(), Some(ask)).await.claimed.unwrap();
            for claimed in claimed.items {
                f.advance(random.u64(..3));
                let results = [ok(), business("no"), application("down"), application("away")];
                if random.u8(..6) > 0 {
                    f.report(claimed.claim, results[random.usize(..4)].clone()).await.unwrap();
                }
            }
        }
        let all = f.list(ItemFilter::default()).await;
        for item in &all {
            let version = vec![f.version(item.id).await];
            match random.u8(..12) {
                0 => drop(f.orchestrator.set_reviewer(Some(7), version).await.unwrap()),
                1 => drop(f.orchestrator.set_review_status(ReviewStatus::InReview, version).await.unwrap()),
                2 => drop(f.orchestrator.set_review_status(ReviewStatus::Verified, version).await.unwrap()),
                3 if round % 2 == 1 => drop(f.orchestrator.delete_queue_items(version).await.unwrap()),
                _ => {}
            }
        }
        let all = f.list(ItemFilter::default()).await;
        for _ in 0..60 {
            let filter = any_filter(&mut random, &all);
            let mut expected: Vec<_> = all.iter().filter(|item| passes(&filter, item)).cloned().collect();
            expected.sort_by(|a, b| query::compare(&filter.order, a, b));
            let descending = filter.order.is_empty() && random.bool();
            if descending {
                expected.reverse();
            }
            let (mut read, mut after) = (Vec::new(), None);
            loop {
                let page = Page::first(random.usize(1..40)).descending(descending).after(after);
                let found = f.orchestrator.list_queue_items(filter.clone(), page).await.unwrap();
                assert_eq!(found.count, expected.len() as u64, "{filter:?}");
                after = found.next(&filter);
                read.extend(found.items.iter().map(|item| item.id));
                if after.is_none() {
                    break;
                }
            }
            let expected: Vec<ItemId> = expected.iter().map(|item| item.id).collect();
            assert_eq!(read, expected, "{filter:?}");
        }
    }
}

/// A filter about values that the items have.
fn any_filter(random: &mut fastrand::Rng, items: &[QueueItem]) -> ItemFilter {
    let some = random.choice(items).unwrap();
    let mut filter = ItemFilter::default();
    let mut dice = fastrand::Rng::with_seed(random.u64(..));
    let mut rarely = |one_in: u8| dice.u8(..one_in) == 0;
    if rarely(3) {
        filter = filter.queue(QUEUE);
    }
    let (one_status, several) = (rarely(3), rarely(4));
    if one_status {
        filter = filter.status([some.status]);
    } else if several {
        filter = filter.status([Status::Failed, some.status, Status::Retried]);
    }
    if rarely(6) {
        filter = filter.review_status([some.review_status, ReviewStatus::InReview]);
    }
    if rarely(6) {
        filter = filter.priority(some.priority);
    }
    if rarely(8) {
        filter = filter.exception_type(some.exception_type().unwrap_or(ExceptionType::BusinessException));
    }
    if rarely(8) {
        filter = filter.key(some.key);
    }
    if rarely(6) {
        filter = filter.created_from(some.creation_time);
    }
    if rarely(8) {
        filter = filter.created_before(some.creation_time);
    }
    match (rarely(4), rarely(8), &some.reference) {
        (true, _, Some(name)) => {
            filter = filter.reference(ReferenceFilter::StartsWith(name.chars().take(2).collect()));
        }
        (_, true, Some(name)) => filter = filter.reference(ReferenceFilter::Equals(name.clone())),
        _ => {}
    }
    if rarely(3) {
        filter = filter.condition(any_condition(random, items, 1));
    }
    let fields = [
        Field::Id,
        Field::EndProcessing,
        Field::DueDate,
        Field::CreationTime,
        Field::Priority,
        Field::Reference,
        Field::RetryNumber,
    ];
    let orders = random.usize(..3);
    let order = |_| Order { field: fields[random.usize(..fields.len())], descending: random.bool() };
    filter.order((0..orders).map(order).collect::<Vec<Order>>())
}

/// Whether an item passes a filter, as the documentation of the filter says it.
fn passes(filter: &ItemFilter, item: &QueueItem) -> bool {
    let reference = || item.reference.as_deref();
    filter.queue.as_deref().is_none_or(|_| item.queue_id == QueueId(1))
        && (filter.status.is_empty() || filter.status.contains(&item.status))
        && (filter.review_status.is_empty() || filter.review_status.contains(&item.review_status))
        && filter.priority.is_none_or(|priority| item.priority == priority)
        && filter.exception_type.is_none_or(|kind| item.exception_type() == Some(kind))
        && filter.key.is_none_or(|key| item.key == key)
        && filter.created_from.is_none_or(|from| item.creation_time >= from)
        && filter.created_before.is_none_or(|before| item.creation_time < before)
        && filter.reference.as_ref().is_none_or(|wanted| match wanted {
            ReferenceFilter::Equals(name) => reference() == Some(name),
            ReferenceFilter::StartsWith(start) => reference().is_some_and(|name| name.starts_with(start)),
        })
        && filter.condition.as_ref().is_none_or(|condition| condition.holds(item))
}

/// A condition on values that the items have, or nearly have.
fn any_condition(random: &mut fastrand::Rng, items: &[QueueItem], depth: u32) -> Condition {
    let inner = |random: &mut fastrand::Rng| -> Vec<Condition> {
        (0..random.usize(..4)).map(|_| any_condition(random, items, depth - 1)).collect()
    };
    match random.u32(..if depth == 0 { 6 } else { 10 }) {
        6 => Condition::Not(Box::new(any_condition(random, items, depth - 1))),
        7 | 8 => Condition::All(inner(random)),
        9 => Condition::Any(inner(random)),
        5 => {
            let texts = [
                "",
                "INV",
                "-1",
                "Überw-",
                "Ü",
                "x'; DROP TABLE item; --",
                "%",
                "inv",
                "ørsted-",
                "ßσ",
                "İ",
                "i",
                "Σ",
                "SS",
            ];
            let matching = [TextMatch::Contains, TextMatch::StartsWith, TextMatch::EndsWith];
            let field = if random.bool() { Field::Reference } else { Field::Progress };
            let text = (*random.choice(&texts).unwrap()).to_owned();
            let matching = *random.choice(&matching).unwrap();
            match random.u32(..4) {
                0 => {
                    let case = *random.choice(&[Case::Lower, Case::Upper]).unwrap();
                    Condition::CaseText(field, case, matching, case.of(&text))
                }
                1 => {
                    let case = *random.choice(&[Case::Lower, Case::Upper]).unwrap();
                    let comparison =
                        *random.choice(&[Comparison::Equal, Comparison::GreaterOrEqual]).unwrap();
                    let text = if random.bool() { case.of(&text) } else { text };
                    Condition::CaseCompare(field, case, comparison, text)
                }
                _ => Condition::Text(field, matching, text),
            }
        }
        _ => {
            let field = *random.choice(Field::ALL).unwrap();
            let of_some = field.of(random.choice(items).unwrap());
            let value = if random.u32(..5) == 0 { Value::Null } else { of_some };
            let comparisons = [
                Comparison::Equal,
                Comparison::NotEqual,
                Comparison::Less,
                Comparison::LessOrEqual,
                Comparison::Greater,
                Comparison::GreaterOrEqual,
            ];
            Condition::Compare(field, *random.choice(&comparisons).unwrap(), value)
        }
    }
}
