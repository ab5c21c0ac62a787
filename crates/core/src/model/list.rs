//! Lists of items: which items, in which order, and which page of them (orchestrator-api 4.1).

use jiff::Timestamp;

use super::code::ErrorCode;
use super::cursor::PageCursor;
use super::exception::ExceptionType;
use super::item::{Priority, QueueItem, ReferenceFilter};
use super::key::ItemKey;
use super::query::{Condition, Order};
use super::refusal::Refusal;
use super::status::{ReviewStatus, Status};

/// Which items to list. Every condition that is set must hold; by default all items are listed.
///
/// ```
/// use performer::{ItemFilter, Status};
///
/// let failed = ItemFilter::default().queue("Invoices").status([Status::Failed]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemFilter {
    /// Only items of this queue.
    pub queue: Option<String>,
    /// Only items in one of these states; empty for any.
    pub status: Vec<Status>,
    /// Only items in one of these review states; empty for any.
    pub review_status: Vec<ReviewStatus>,
    /// Only items of this priority.
    pub priority: Option<Priority>,
    /// Only items with such a reference.
    pub reference: Option<ReferenceFilter>,
    /// Only items that failed by this kind of exception.
    pub exception_type: Option<ExceptionType>,
    /// Only the attempts of this retry chain.
    pub key: Option<ItemKey>,
    /// Only items created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Only items created before this time.
    pub created_before: Option<Timestamp>,
    /// Only items that failed with this reason ([`Reason::id`](super::reason::Reason::id)). Unsupported by a UiPath Orchestrator, which
    /// does not group failures.
    pub reason: Option<i64>,
    /// Only items that this [operation](super::operation) refused, by its number. Unsupported by a UiPath Orchestrator, which has no
    /// operations.
    pub refused_by: Option<i64>,
    /// Any other condition.
    pub condition: Option<Condition>,
    /// What the list is sorted by; empty for the order of the ids.
    pub order: Vec<Order>,
}

impl ItemFilter {
    /// Only items of this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Only items in one of these states. Default: any.
    #[must_use]
    pub fn status(mut self, status: impl Into<Vec<Status>>) -> Self {
        self.status = status.into();
        self
    }

    /// Only items in one of these review states. Default: any.
    #[must_use]
    pub fn review_status(mut self, review_status: impl Into<Vec<ReviewStatus>>) -> Self {
        self.review_status = review_status.into();
        self
    }

    /// Only items of this priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Only items with such a reference.
    #[must_use]
    pub fn reference(mut self, reference: impl Into<Option<ReferenceFilter>>) -> Self {
        self.reference = reference.into();
        self
    }

    /// Only items that failed by this kind of exception.
    #[must_use]
    pub fn exception_type(mut self, exception_type: ExceptionType) -> Self {
        self.exception_type = Some(exception_type);
        self
    }

    /// Only the attempts of this retry chain.
    #[must_use]
    pub fn key(mut self, key: ItemKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Only items created at this time or later.
    #[must_use]
    pub fn created_from(mut self, created_from: Timestamp) -> Self {
        self.created_from = Some(created_from);
        self
    }

    /// Only items created before this time.
    #[must_use]
    pub fn created_before(mut self, created_before: Timestamp) -> Self {
        self.created_before = Some(created_before);
        self
    }

    /// Only items that failed with this reason. Default: any.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<Option<i64>>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Only items that the operation with this number refused. Default: any.
    #[must_use]
    pub fn refused_by(mut self, operation: impl Into<Option<i64>>) -> Self {
        self.refused_by = operation.into();
        self
    }

    /// Any other condition.
    #[must_use]
    pub fn condition(mut self, condition: impl Into<Option<Condition>>) -> Self {
        self.condition = condition.into();
        self
    }

    /// What the list is sorted by. Default: the order of the ids.
    #[must_use]
    pub fn order(mut self, order: impl Into<Vec<Order>>) -> Self {
        self.order = order.into();
        self
    }
}

/// The most items a page may have (orchestrator-api 4.1).
pub const PAGE_LIMIT: usize = 100;
/// The most items that a page may skip.
pub const MAX_SKIP: usize = i32::MAX as usize;

/// How many items a list counts at most, unless a page asks for another number.
pub const COUNT_LIMIT: u64 = 10_000;

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Only what comes behind this position. What is skipped is skipped from there.
    pub after: Option<PageCursor>,
    /// How many items to skip, up to [`MAX_SKIP`].
    pub skip: usize,
    /// How many items to return at most, up to [`PAGE_LIMIT`].
    pub top: usize,
    /// The newest first. Ignored if the filter has an order.
    pub descending: bool,
    /// How many items to count at most: see [`Page::count_limit`].
    pub count_limit: u64,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, skip: 0, top: PAGE_LIMIT, descending: false, count_limit: COUNT_LIMIT }
    }
}

impl Page {
    /// The first `top` items, the oldest first.
    pub fn first(top: usize) -> Self {
        Self { top, ..Self::default() }
    }

    /// Begins behind a position, such as [`ItemPage::next`] of the page before. Unlike a page that is named by how many items to
    /// skip, it does not move when items are added or removed, and costs the same wherever it is. Default: from the beginning.
    ///
    /// The order has to be that of the list the cursor is of.
    #[must_use]
    pub fn after(mut self, after: impl Into<Option<PageCursor>>) -> Self {
        self.after = after.into();
        self
    }

    /// Skips this many items, up to [`MAX_SKIP`]. Default: 0.
    #[must_use]
    pub fn skip(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// Whether the newest items come first. Default: false.
    #[must_use]
    pub fn descending(mut self, descending: bool) -> Self {
        self.descending = descending;
        self
    }

    /// How many items to count at most, because counting costs what is counted; [`ItemPage::is_count_exact`] says whether there
    /// are more. 0: the page says nothing about how many match. `u64::MAX`: the exact number. A back end that knows the exact number
    /// anyway says it, whatever the limit: a store for lists by queue and status, and an Orchestrator. Default: [`COUNT_LIMIT`].
    #[must_use]
    pub fn count_limit(mut self, count_limit: u64) -> Self {
        self.count_limit = count_limit;
        self
    }

    /// Checks the size of the page, and where it begins.
    ///
    /// # Errors
    ///
    /// Code 1000 if it is larger than [`PAGE_LIMIT`], or skips more than [`MAX_SKIP`] items.
    pub fn validate(&self) -> Result<(), Refusal> {
        if self.top > PAGE_LIMIT {
            let message = format!("a page of {} items was asked for, the limit is {PAGE_LIMIT}", self.top);
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        }
        if self.skip > MAX_SKIP {
            let message = format!("{} items are to be left out, the limit is {MAX_SKIP}", self.skip);
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        }
        Ok(())
    }
}

/// One page of a list, and how long the whole list is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemPage {
    /// The items of the page.
    pub items: Vec<QueueItem>,
    /// How many items match the filter in all, wherever the page begins; at least so many if the number is not exact.
    pub count: u64,
    /// Whether no more items match than were counted.
    pub is_count_exact: bool,
}

impl ItemPage {
    /// A page of a list that has `count` items in all.
    pub fn new(items: Vec<QueueItem>, count: u64) -> Self {
        Self { items, count, is_count_exact: true }
    }

    /// A page of a list of which only so many items were counted: it has at least `count`.
    pub fn counted_to(items: Vec<QueueItem>, count: u64) -> Self {
        Self { items, count, is_count_exact: false }
    }

    /// The count as people read it: `10000+` if it is not exact.
    pub fn count_text(&self) -> String {
        format!("{}{}", self.count, if self.is_count_exact { "" } else { "+" })
    }

    /// Where the next page begins, for [`Page::after`]. `None` if this one is empty: the list has ended.
    pub fn next(&self, filter: &ItemFilter) -> Option<PageCursor> {
        self.items.last().map(|item| PageCursor::behind(item, &filter.order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_at_most_a_hundred_items() {
        assert_eq!(Page::default().validate(), Ok(()));
        assert!(Page { top: 101, ..Page::default() }.validate().is_err());
        assert!(Page { skip: MAX_SKIP, ..Page::default() }.validate().is_ok());
        assert!(Page { skip: usize::MAX, ..Page::default() }.validate().is_err());
    }
}
