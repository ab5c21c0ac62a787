//! Reads why a claim on a queue gets no item.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{ItemAdministration, QueueAdministration, Result};
use crate::model::claim_blockers::{ClaimBlocker, ClaimFacts, GroupFacts, claim_blockers};
use crate::model::item::{ItemFilter, PAGE_LIMIT, Page, QueueItem};
use crate::model::job::Job;
use crate::model::query::{Field, Order};
use crate::model::queue::QueueDefinition;
use crate::model::selection::is_due_by;
use crate::model::statistics::QueueStatistics;
use crate::model::status::Status;

/// How many pages of items are read to look at their groups.
const GROUP_PAGES: usize = 20;

/// Reads why a claim on a queue gets no item now, as
/// [`claim_blockers`](crate::model::claim_blockers::claim_blockers) says it. `jobs`: those of all queues, or `None` if they are
/// not known. What is read depends on the limits of the queue; a queue without limits needs one or two items.
///
/// # Errors
///
/// Those of [`ItemAdministration::list_queue_items`] and [`QueueAdministration::start_limit_until`].
pub async fn read_claim_blockers(
    items: &(impl ItemAdministration + QueueAdministration + ?Sized),
    queue: &QueueDefinition,
    statistics: &QueueStatistics,
    jobs: Option<&[Job]>,
    now: Timestamp,
) -> Result<Vec<ClaimBlocker>> {
    let mut facts = ClaimFacts::new(&queue.name, &queue.limits, now);
    (facts.new, facts.in_progress, facts.jobs) = (statistics.new, statistics.in_progress, jobs);
    let of_queue = ItemFilter::default().queue(&*queue.name);
    let new = of_queue.clone().status([Status::New]);
    if facts.new > 0 {
        let due = new.clone().condition(is_due_by(now));
        if first(items, due.clone()).await?.is_none() {
            let earliest = new.order([Order { field: Field::DeferDate, descending: false }]);
            facts.all_postponed_until = first(items, earliest).await?.and_then(|item| item.defer_date);
        } else if let Some(limit) = queue.limits.max_in_progress_per_group {
            let busy = of_queue.clone().status([Status::InProgress]);
            facts.groups = group_facts(items, busy, due, limit).await?;
        }
    }
    if queue.limits.max_starts.is_some() {
        facts.start_limit_until = items.start_limit_until(&queue.name).await?;
    }
    Ok(claim_blockers(&facts))
}

async fn first(items: &(impl ItemAdministration + ?Sized), filter: ItemFilter) -> Result<Option<QueueItem>> {
    Ok(items.list_queue_items(filter, Page::first(1).count_limit(0)).await?.items.pop())
}

/// Whether every item of `due` is of a group with as many items in `busy` as the limit allows.
async fn group_facts(
    items: &(impl ItemAdministration + ?Sized),
    busy: ItemFilter,
    due: ItemFilter,
    limit: u32,
) -> Result<GroupFacts> {
    let mut in_progress: HashMap<String, u32> = HashMap::new();
    let all_seen = each(items, busy, |item| {
        if let Some(group) = item.group {
            *in_progress.entry(group).or_default() += 1;
        }
        true
    })
    .await?;
    if !all_seen {
        return Ok(GroupFacts::Unknown);
    }
    let mut is_free = false;
    let all_seen = each(items, due, |item| {
        let busy = item.group.map_or(0, |group| in_progress.get(&group).copied().unwrap_or(0));
        is_free |= busy < limit;
        !is_free
    })
    .await?;
    Ok(match (is_free, all_seen) {
        (true, _) => GroupFacts::Free,
        (false, true) => GroupFacts::Full,
        (false, false) => GroupFacts::Unknown,
    })
}

/// Calls `each` with the items of the first pages, as long as it wants more. Returns whether there are no others.
async fn each(
    items: &(impl ItemAdministration + ?Sized),
    filter: ItemFilter,
    mut each: impl FnMut(QueueItem) -> bool,
) -> Result<bool> {
    let mut after = None;
    for _ in 0..GROUP_PAGES {
        let page = Page::first(PAGE_LIMIT).after(after).count_limit(0);
        let page = items.list_queue_items(filter.clone(), page).await?;
        after = page.next(&filter);
        let is_last = page.items.len() < PAGE_LIMIT || after.is_none();
        for item in page.items {
            if !each(item) {
                return Ok(false);
            }
        }
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}
