//! Lists of items in memory, and statistics on how attempts ended.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::rows::ListRequest;
use super::item::{StoredItem, passes, to_queue_item};
use super::operations::StoredOperations;
use performer_core::model::item::QueueItem;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::query;
use performer_core::model::statistics::Ended;

/// A page, and how many items match in all if that was asked for.
pub(super) fn list(
    items: &BTreeMap<ItemId, StoredItem>,
    operations: &StoredOperations,
    ask: &ListRequest<'_>,
) -> (Vec<QueueItem>, Option<u64>) {
    let ListRequest { queues, filter, page, count } = ask;
    let of_queues = items.iter().filter(|(_, item)| queues.contains(&item.queue));
    let refused = filter.refused_by.map(|operation| operations.refused_by(operation));
    let is_asked = |id: &ItemId| refused.as_ref().is_none_or(|refused| refused.contains(id));
    let matching: Vec<_> =
        of_queues.filter(|(id, item)| is_asked(id) && passes(**id, item, filter)).collect();
    let count = count.then_some(matching.len() as u64);
    let show = |(id, item): &(&ItemId, &StoredItem)| to_queue_item(**id, item);
    let items = if !filter.order.is_empty() {
        let mut items: Vec<_> = matching.iter().map(show).collect();
        items.sort_by(|a, b| query::compare(&filter.order, a, b));
        items.into_iter().skip(page.skip).take(page.top).collect()
    } else if page.descending {
        matching.iter().rev().skip(page.skip).take(page.top).map(show).collect()
    } else {
        matching.iter().skip(page.skip).take(page.top).map(show).collect()
    };
    (items, count)
}

/// How attempts ended since a time, by queue, minute and outcome.
pub(super) fn ended_since(
    items: &BTreeMap<ItemId, StoredItem>,
    queue: Option<QueueId>,
    since: Timestamp,
) -> Vec<Ended> {
    let mut minutes: BTreeMap<(QueueId, i64, u8), Ended> = BTreeMap::new();
    for item in items.values().filter(|item| queue.is_none_or(|queue| queue == item.queue)) {
        let ItemState { outcome, start_processing, end_processing, .. } = item.state;
        let (Some(outcome), Some(ended)) = (outcome, end_processing) else { continue };
        if ended < since {
            continue;
        }
        let took = start_processing.map_or(0, |at| ended.as_microsecond() - at.as_microsecond());
        let minute = ended.as_second().div_euclid(60);
        let new = Ended { queue: item.queue, minute, outcome, count: 0, took: 0, last: ended };
        let entry = minutes.entry((item.queue, minute, outcome.number())).or_insert(new);
        entry.count += 1;
        entry.took += took;
        entry.last = entry.last.max(ended);
    }
    minutes.into_values().collect()
}
