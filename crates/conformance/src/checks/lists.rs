//! Lists of items: filters, conditions, orders and pages.

use performer::model::{
    ErrorCode, ExceptionType, ItemFilter, ItemId, ItemVersion, NewQueueDefinition, NewQueueItem, PAGE_LIMIT,
    Page, PageCursor, Priority, QueueItem, ReferenceFilter, ReviewStatus, Status, query, query::Condition,
    query::Field, query::Order, query::TextMatch,
};
use performer::orchestrator::{CommitType, ErrorKind};
use serde_json::json;

use crate::{Fixture, QUEUE, application, business, named, ok, retrying};

pub(crate) async fn lists_are_filtered(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    f.orchestrator.add_queue_item("Other", named("other")).await.unwrap();
    let job = f.job().await;
    for reference in ["ok", "business", "application", "last"] {
        f.add_named(reference).await;
    }
    f.perform(job, ok()).await;
    f.perform(job, business("wrong")).await;
    let application = f.perform(job, application("down")).await;
    f.advance(60);
    let late = f.add(named("late").priority(Priority::High)).await;
    let review = vec![ItemVersion { id: ItemId(3), row_version: f.item(ItemId(3)).await.row_version }];
    assert!(f.orchestrator.set_review_status(ReviewStatus::InReview, review).await.unwrap().is_empty());

    let found = async |filter: ItemFilter| {
        let items = f.list(filter).await;
        items.iter().map(|item| item.reference.clone().unwrap()).collect::<Vec<_>>()
    };
    let all = ItemFilter::default;
    let of_queue = all().queue("invoices");
    assert_eq!(found(all()).await.len(), 7);
    assert_eq!(found(of_queue.clone()).await.len(), 6);
    assert_eq!(found(all().status([Status::Successful, Status::Failed])).await, ["ok", "business"]);
    assert_eq!(found(of_queue.clone().status([Status::New])).await, ["last", "application", "late"]);
    assert_eq!(found(all().review_status([ReviewStatus::InReview])).await, ["business"]);
    assert_eq!(found(all().priority(Priority::High)).await, ["late"]);
    assert_eq!(found(all().key(application.key)).await, ["application", "application"]);
    let by_type = |kind| all().exception_type(kind);
    assert_eq!(found(by_type(ExceptionType::BusinessException)).await, ["business"]);
    assert_eq!(found(by_type(ExceptionType::ApplicationException)).await, ["application"]);
    let named = |filter| all().reference(filter);
    assert_eq!(found(named(ReferenceFilter::StartsWith("la".to_owned()))).await, ["last", "late"]);
    assert_eq!(found(named(ReferenceFilter::Equals("la".to_owned()))).await, [""; 0]);
    assert_eq!(found(all().created_from(late.creation_time)).await, ["late"]);
    assert_eq!(found(of_queue.created_before(late.creation_time)).await.len(), 5);
    let unknown = all().queue("Nowhere");
    assert!(f.orchestrator.list_queue_items(unknown, Page::default()).await.unwrap_err().is_not_found());
}

pub(crate) async fn lists_come_in_pages(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let items = (0..250).map(|n| named(&n.to_string())).collect();
    assert_eq!(
        f.orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap().failed,
        []
    );
    let page = async |page: Page| f.orchestrator.list_queue_items(ItemFilter::default(), page).await.unwrap();
    let mut read = Vec::new();
    loop {
        let found = page(Page::default().skip(read.len())).await;
        assert_eq!(found.count, 250);
        if found.items.is_empty() {
            break;
        }
        assert!(found.items.len() <= PAGE_LIMIT);
        read.extend(found.items.into_iter().map(|item| item.id));
    }
    assert_eq!(read.len(), 250);
    assert!(read.is_sorted());
    let newest = page(Page::first(2).descending(true)).await;
    assert_eq!(newest.items.iter().map(|item| item.id).collect::<Vec<_>>(), [read[249], read[248]]);
    assert_eq!(page(Page::first(0)).await.items.len(), 0);
    let large = Page::first(PAGE_LIMIT + 1);
    let error = f.orchestrator.list_queue_items(ItemFilter::default(), large).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(ErrorCode::INVALID_REQUEST)));
}

/// A prefix is compared letter by letter, whatever the letters are, and however many items begin with it.
pub(crate) async fn references_are_found_by_their_prefix(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    f.orchestrator.create_queue(NewQueueDefinition::new("Other")).await.unwrap();
    let references = [
        "INV-1",
        "INV-10",
        "INV-2",
        "inv-1",
        "INV",
        "INW",
        "İ-1",
        "ı",
        "a\u{d7ff}x",
        "a\u{e000}",
        "a\u{10ffff}",
        "a\u{10ffff}\u{10ffff}z",
        "b",
        "Ü",
        "Ü2",
        "U\u{308}",
        "ß",
        "ss",
        "%",
        "_",
        "\u{10ffff}",
        "\u{10ffff}b",
        "a",
        "æ",
        "~",
        " a",
    ];
    for reference in references {
        f.add_named(reference).await;
    }
    f.add(NewQueueItem::new(json!({ "without": "a reference" }))).await;
    f.orchestrator.add_queue_item("Other", named("INV-3")).await.unwrap();
    let job = f.job().await;
    f.perform(job, business("no")).await; // INV-1
    let found = async |filter: ItemFilter| {
        let items = f.list(filter).await;
        items.iter().map(|item| item.reference.clone().unwrap()).collect::<Vec<_>>()
    };
    let starts =
        |prefix: &str| ItemFilter::default().reference(ReferenceFilter::StartsWith(prefix.to_owned()));
    let prefixes =
        ["", "I", "INV-", "INV-1", "i", "a", "a\u{d7ff}", "a\u{10ffff}", "\u{10ffff}", "Ü", "U", "s", "x"];
    for prefix in prefixes {
        let expected: Vec<_> = references.iter().copied().filter(|name| name.starts_with(prefix)).collect();
        assert_eq!(found(starts(prefix).queue(QUEUE)).await, expected, "{prefix:?}");
        let condition = Condition::Text(Field::Reference, TextMatch::StartsWith, prefix.to_owned());
        let condition = ItemFilter::default().queue(QUEUE).condition(condition);
        assert_eq!(found(condition).await, expected, "{prefix:?}");
    }
    assert_eq!(found(starts("INV-")).await, ["INV-1", "INV-10", "INV-2", "INV-3"]);
    assert_eq!(found(starts("INV-").status([Status::Failed])).await, ["INV-1"]);
    let by_reference = vec![Order { field: Field::Reference, descending: true }];
    assert_eq!(found(starts("INV-").order(by_reference)).await, ["INV-3", "INV-2", "INV-10", "INV-1"]);
    let newest = Page::first(2).descending(true);
    let newest = f.orchestrator.list_queue_items(starts("INV"), newest).await.unwrap();
    let newest: Vec<_> = newest.items.iter().map(|item| item.reference.clone().unwrap()).collect();
    assert_eq!(newest, ["INV-3", "INV"]);
}

/// A count stops where the page says, unless the exact number costs nothing.
pub(crate) async fn counts_stop_at_their_limit(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    for number in 0..7 {
        f.add_named(&format!("{number}")).await;
    }
    let page = async |filter: &ItemFilter, limit: u64| {
        let page = Page::first(2).count_limit(limit);
        f.orchestrator.list_queue_items(filter.clone(), page).await.unwrap()
    };
    let new = ItemFilter::default().queue(QUEUE).status([Status::New]);
    let normal = new.clone().priority(Priority::Normal);
    let any_state = ItemFilter::default().priority(Priority::Normal);
    for filter in [&normal, &any_state] {
        for limit in [0, 1, 6, 7, 8, u64::MAX] {
            let found = page(filter, limit).await;
            assert_eq!(found.items.len(), 2);
            let is_exact = found.is_count_exact;
            // An Orchestrator counts all of them, and says so.
            let is_right = match limit {
                _ if is_exact => found.count == 7,
                0 => found.count == 0,
                _ => found.count == limit && limit < 7 && found.count_text() == format!("{limit}+"),
            };
            assert!(is_right, "{} of at most {limit}", found.count_text());
            let next = Page::first(2).after(found.next(filter)).count_limit(limit);
            let next = f.orchestrator.list_queue_items(filter.clone(), next).await.unwrap();
            assert_eq!((next.count, next.is_count_exact), (found.count, is_exact), "behind a cursor");
            assert_eq!(next.items.len(), 2);
        }
    }
    let counted = page(&new, 3).await;
    assert!(counted.is_count_exact && counted.count == 7, "the counters of the queue know it");
}

/// Page by page behind the last item seen, a list is the same as in one piece, by whatever it is sorted.
pub(crate) async fn pages_begin_behind_an_item(f: Fixture) {
    let f = f.with_queue(retrying(0)).await;
    for number in 0..20_u8 {
        let mut item = NewQueueItem::new(json!({ "n": number }));
        if number % 3 > 0 {
            item = item.reference(format!(
                "{}, ~{}",
                ["İ", "ü", "a%", "z"][usize::from(number % 4)],
                number % 5
            ));
        }
        if number % 4 == 0 {
            item = item.due_date(f.after(3_600 + u64::from(number % 8)));
        }
        f.add(item.priority(Priority::ALL[usize::from(number % 3)])).await;
        f.advance(u64::from(number % 2));
    }
    let job = f.job().await;
    for number in 0..9 {
        let result = [ok(), business("no"), application("down")][number % 3].clone();
        f.perform(job, result).await;
        f.advance(1);
    }
    let all = f.list(ItemFilter::default()).await;
    let ids = |items: &[QueueItem]| items.iter().map(|item| item.id.0).collect::<Vec<_>>();
    let page = async |filter: &ItemFilter, page: Page| {
        f.orchestrator.list_queue_items(filter.clone(), page).await.unwrap()
    };
    let mut orders = Vec::new();
    for (field, descending) in Field::ALL.iter().flat_map(|field| [(*field, false), (*field, true)]) {
        orders.push(vec![Order { field, descending }]);
        let then = Order { field: Field::DueDate, descending: !descending };
        orders.push(vec![then, Order { field, descending }]);
    }
    for order in orders {
        let filter = ItemFilter::default().order(order.clone());
        let mut expected = all.clone();
        expected.sort_by(|a, b| query::compare(&order, a, b));
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let found = page(&filter, Page::first(8).after(after)).await;
            assert_eq!(found.count, 20, "of the whole list");
            after = found.next(&filter);
            read.extend(found.items);
            let Some(cursor) = &after else { break };
            assert_eq!(&cursor.to_string().parse::<PageCursor>().unwrap(), cursor);
        }
        assert_eq!(ids(&read), ids(&expected), "{order:?}");
    }
    // Places of their own find the items of a state; behind a cursor too.
    for (statuses, descending) in [
        (vec![Status::New], false),
        (vec![Status::Failed], true),
        (vec![Status::Successful], true),
        (vec![Status::Failed, Status::Successful], false),
        (vec![Status::Failed, Status::Abandoned], true),
        (vec![], true),
    ] {
        let mut expected = all.clone();
        expected.retain(|item| statuses.is_empty() || statuses.contains(&item.status));
        if descending {
            expected.reverse();
        }
        let filter = ItemFilter::default().queue(QUEUE).status(statuses);
        for (at, item) in expected.iter().enumerate() {
            let behind = Page::first(3).descending(descending).after(PageCursor::from(item.id));
            let found = page(&filter, behind.clone()).await;
            assert_eq!(ids(&found.items), ids(&expected)[at + 1..expected.len().min(at + 4)]);
            assert_eq!(found.count, expected.len() as u64);
            let further = page(&filter, behind.skip(1)).await.items;
            assert_eq!(ids(&further), ids(&expected)[expected.len().min(at + 2)..expected.len().min(at + 5)]);
        }
    }
    let by_date = vec![Order { field: Field::DueDate, descending: false }];
    let failed = ItemFilter::default().status([Status::Failed, Status::Abandoned]).order(by_date.clone());
    let mut expected = all.clone();
    expected.retain(|item| item.status == Status::Failed);
    expected.sort_by(|a, b| query::compare(&by_date, a, b));
    let first = page(&failed, Page::first(2)).await;
    let second = page(&failed, Page::first(100).after(first.next(&failed))).await;
    assert_eq!(ids(&first.items), ids(&expected)[..2]);
    assert_eq!(ids(&second.items), ids(&expected)[2..]);
    // A list that grows in between: nothing is shown twice, and nothing that was there is left out.
    let newest_first = ItemFilter::default();
    let first = page(&newest_first, Page::first(5).descending(true)).await;
    f.add_named("new").await;
    let second = Page::first(100).descending(true).after(first.next(&newest_first));
    let second = page(&newest_first, second).await;
    let shown: Vec<i64> = [ids(&first.items), ids(&second.items)].concat();
    assert_eq!(shown, ids(&all.iter().rev().cloned().collect::<Vec<_>>()));
    // A cursor belongs to an order.
    let other = Page::default().after(first.next(&newest_first));
    let error =
        f.orchestrator.list_queue_items(ItemFilter::default().order(by_date), other).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(ErrorCode::INVALID_REQUEST)));
}
