//! Whether follow-ups are there if and only if their success is recorded, and once: I21 of `docs/reference/lifecycle.md`.

use std::collections::BTreeMap;

use performer::{Administration, ItemFilter, Page, QueueItem, Status};

/// Compares the follow-ups in the queue `next` with the successes in `queue`: of each Successful item there are as many as `given`
/// says, with its reference, and there are no others. `next` has no other items.
pub async fn violations(
    store: &dyn Administration,
    queue: &str,
    next: &str,
    given: impl Fn(&QueueItem) -> usize,
) -> Vec<String> {
    let reference = |item: QueueItem| item.reference.unwrap_or_default();
    let mut expected = BTreeMap::new();
    for item in all_items(store, queue).await {
        let given = given(&item);
        if given > 0 && item.status == Status::Successful {
            *expected.entry(reference(item)).or_insert(0) += given;
        }
    }
    let mut added = BTreeMap::new();
    for item in all_items(store, next).await {
        *added.entry(reference(item)).or_insert(0) += 1;
    }
    let all: std::collections::BTreeSet<&String> = expected.keys().chain(added.keys()).collect();
    all.into_iter()
        .filter(|reference| expected.get(*reference) != added.get(*reference))
        .map(|reference| {
            let [expected, added] =
                [&expected, &added].map(|counts| counts.get(reference).copied().unwrap_or(0));
            format!("lifecycle I21: {reference} has {added} follow-ups, and its success was reported with {expected}")
        })
        .collect()
}

/// All items of a queue; none if there is no such queue.
async fn all_items(store: &dyn Administration, queue: &str) -> Vec<QueueItem> {
    let mut items = Vec::new();
    loop {
        let page = Page::default().skip(items.len());
        let found = match store.list_queue_items(ItemFilter::default().queue(queue), page).await {
            Err(error) if error.is_not_found() => return items,
            found => found.unwrap().items,
        };
        if found.is_empty() {
            return items;
        }
        items.extend(found);
    }
}
