//! Lists of items. Values are bound, never written into a statement.
//!
//! A page costs what it contains and not what the table contains, if an index says where to look. There is no index by queue, nor one
//! of successful items: each would cost every claim or result. Instead, the items of each state are found where they are listed anyway:
//!
//! | state | where |
//! |---|---|
//! | New | `item_ready`, `item_deferred` and `item_grouped`; if there are many, the items from the first of them on |
//! | InProgress | what jobs hold |
//! | Successful | `item_state`, by id: nearly all of its rows are successful |
//! | the others | `item_review`, which has whatever people filter and sort them by |
//!
//! A reference, and those with a prefix that few have, are found by the index of references, and items of a reason by that of
//! reasons. All other lists scan the items by id. No count goes further than the page asks.

use super::super::rows::{ListRequest, outcome_of};
use super::dialect::{Bound, Dialect, Engine, Values, in_queues, one_of};
use super::places::{ITEM, Joined, Names, Place, REVIEW, STATE, WAITING};
use super::{conditions, operations};
use performer_core::model::item::{ItemFilter, ReferenceFilter};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::prefix::end_of_prefix;
use performer_core::model::query::{Comparison, Condition, Field, Value};
use performer_core::model::status::{ReviewStatus, Status};
use performer_core::orchestrator::Result;

/// The most pairs of queue and state that are searched one by one.
const MOST_PLACES: usize = 24;

/// Up to so many waiting items are found in the tables of waiting items, and as many as a page has; more are found by a scan of all items.
const FEW_WAITING: i64 = 2_000;

/// Up to so many references with a prefix are looked up although only items for review are asked for, which are read as quickly.
const FEW_BESIDE_REVIEW: i64 = 200;

/// The states of the items in `item_review`.
pub(crate) const FOR_REVIEW: [Status; 4] =
    [Status::Failed, Status::Abandoned, Status::Retried, Status::Deleted];

/// Whether an item in this state is in `item_review`.
pub(crate) fn is_for_review(status: Status) -> bool {
    FOR_REVIEW.contains(&status)
}

/// How an engine finds items.
pub(crate) trait Places: Dialect {
    /// Behind a table: the index to use, where the planner chooses another.
    const BY_REFERENCE: &'static str;
    const BY_REASON: &'static str;
    const BY_ID: &'static str;
    /// Up to so many references with a prefix are found by their index, and then sorted.
    const FEW_REFERENCES: i64;
    /// The items in progress: a table and a condition. It has the columns of `item_state`.
    const IN_PROGRESS: (&'static str, &'static str);

    /// The condition that a reference begins with a text, said so that no index of references is used.
    fn begins(prefix: &str, values: &mut Values) -> String;

    /// The items of queues in a range of the index of references, and the join of their states.
    fn in_range(queues: &str, range: &str) -> (String, &'static str);
}

/// The ids of a page, and how many items match in all if that was asked for.
pub(crate) fn list<E: Engine + Places>(
    engine: &mut E,
    ask: &ListRequest<'_>,
) -> Result<(Vec<ItemId>, Option<u64>)> {
    let ListRequest { filter, page, count, .. } = *ask;
    let Some(statuses) = statuses(filter) else { return Ok((Vec::new(), count.then_some(0))) };
    let search = Search::of(engine, ask, statuses)?;
    let mut values = Values::default();
    let found_in = places(engine, ask, &search, &mut values)?;
    // The range of a prefix has fewer items than a walk passes, and a count needs no order.
    let counts_range = filter.reference.is_some() && search.is_everywhere() && !search.by_reference;
    let counted = if counts_range && count {
        let mut values = Values::default();
        let range = places(engine, ask, &Search { by_reference: true, ..search }, &mut values)?;
        Some(count_up_to(engine, &range, &values, ask.rows_counted())?)
    } else if count {
        Some(count_up_to(engine, &found_in, &values, ask.rows_counted())?)
    } else {
        None
    };
    let order = conditions::order::<E>(&filter.order, page.descending);
    let (top, skip) = (page.top, page.skip.min(u32::MAX as usize));
    let ids = match &found_in[..] {
        [place] => place.first("", &order, top, skip),
        places => {
            // The page is among the first items of each part.
            let enough = top + skip;
            let (keys, order_of_all) = conditions::order_of_parts::<E>(&filter.order, page.descending);
            let first = places.iter().map(|place| place.first(&keys, &order, enough, 0));
            let each: Vec<String> =
                first.enumerate().map(|(at, part)| format!("SELECT * FROM ({part}) AS part{at}")).collect();
            let each = each.join(" UNION ALL ");
            format!("SELECT id FROM ({each}) AS found ORDER BY {order_of_all} LIMIT {top} OFFSET {skip}")
        }
    };
    let ids = engine.read(&ids, &values, |row| row.number(0).map(ItemId))?;
    Ok((ids, counted))
}

/// How the items of a list are found.
#[derive(Clone)]
struct Search {
    /// Empty: all.
    statuses: Vec<Status>,
    by_reference: bool,
    by_reason: bool,
    /// In a place for each queue and state.
    by_state: bool,
}

impl Search {
    fn of<E: Engine + Places>(engine: &mut E, ask: &ListRequest<'_>, statuses: Vec<Status>) -> Result<Self> {
        let filter = ask.filter;
        let places = ask.queues.len().saturating_mul(statuses.len());
        // An index finds a reference, whatever the state of its items.
        let by_reference = is_found_by_reference(engine, ask, &statuses)?;
        // What is sorted by anything but the id is looked at as a whole: that is worth it where there are few.
        let may_sort = filter.order.is_empty()
            || !statuses.iter().any(|status| matches!(status, Status::New | Status::Successful));
        let by_reason = filter.reason.is_some() && !by_reference;
        let by_state = may_sort && !by_reference && !by_reason && (1..=MOST_PLACES).contains(&places);
        Ok(Self { statuses, by_reference, by_reason, by_state })
    }

    fn is_everywhere(&self) -> bool {
        !self.by_reason && !self.by_state
    }
}

fn places<E: Engine + Places>(
    engine: &mut E,
    ask: &ListRequest<'_>,
    search: &Search,
    values: &mut Values,
) -> Result<Vec<Place>> {
    let ListRequest { queues, filter, page, .. } = *ask;
    let rest = rest(engine, filter, search, values)?;
    let order = conditions::order::<E>(&filter.order, page.descending);
    let rest_and_order = (&*rest, &*order);
    if search.by_state {
        let (in_progress, others): (Vec<Status>, Vec<Status>) =
            search.statuses.iter().partition(|status| **status == Status::InProgress);
        let pairs = queues.iter().flat_map(|queue| others.iter().map(|status| (*queue, *status)));
        let mut places: Vec<Place> =
            pairs.map(|pair| place(engine, ask, pair, rest_and_order, values)).collect::<Result<_>>()?;
        if !in_progress.is_empty() {
            places.push(held::<E>(queues, rest_and_order, values));
        }
        return Ok(places);
    }
    Ok(vec![if search.by_reason {
        of_reason::<E>(queues, filter.reason.unwrap_or_default(), &search.statuses, rest_and_order, values)
    } else {
        everywhere::<E>(queues, filter, search, rest_and_order, values)
    }])
}

/// The states to look for. `None`: no item matches. Empty: all.
///
/// Only items for review have a review, a reviewer or an exception, so who asks for one asks for them.
fn statuses(filter: &ItemFilter) -> Option<Vec<Status>> {
    let of_review = filter.exception_type.is_some()
        || !filter.review_status.is_empty() && !filter.review_status.contains(&ReviewStatus::None)
        || filter.condition.as_ref().is_some_and(is_about_review);
    if !of_review {
        return Some(filter.status.clone());
    }
    let is_asked = |status: &Status| filter.status.is_empty() || filter.status.contains(status);
    let statuses: Vec<Status> = FOR_REVIEW.into_iter().filter(is_asked).collect();
    (!statuses.is_empty()).then_some(statuses)
}

/// Whether a condition holds only for items that have a review, a reviewer or an exception.
fn is_about_review(condition: &Condition) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().any(is_about_review),
        Condition::Any(parts) => !parts.is_empty() && parts.iter().all(is_about_review),
        Condition::Compare(Field::ReviewStatus, Comparison::Equal, Value::Number(number)) => *number != 0,
        Condition::Compare(Field::ReviewerUserId | Field::ExceptionType, comparison, value) => {
            // Null is only equal to null.
            (*comparison == Comparison::NotEqual) == (*value == Value::Null)
        }
        _ => false,
    }
}

/// How many items there are, up to a limit. UNION ALL stops with its LIMIT, in the middle of any part.
fn count_up_to<E: Engine>(engine: &mut E, places: &[Place], values: &Values, limit: i64) -> Result<u64> {
    let each: Vec<String> = places.iter().map(|place| format!("SELECT 1 FROM {}", place.text)).collect();
    let sql = format!("SELECT count(*) FROM ({} LIMIT {limit}) AS found", each.join(" UNION ALL "));
    Ok(engine.read_number(&sql, values)?.unwrap_or(0).unsigned_abs())
}

/// Joins the state of an item, which one that was never touched does not have.
pub(crate) const WITH_STATE: &str = " LEFT JOIN item_state ON item_state.item_id = item.id";

/// Joins items by their id to what is walked along, if anything is said of them.
fn join_of_items<D: Dialect>(id: &str) -> String {
    format!(" {} item ON item.id = {id}{}", D::THEN_JOIN, D::COPIES)
}

/// What a place has to join for `item`.
const OF_ITEMS: &[&str] = &["item.", "item_copy."];

/// The items in progress. Those of all queues are found together, because the claims of all jobs are read for them.
fn held<E: Places>(queues: &[QueueId], rest_and_order: (&str, &str), values: &mut Values) -> Place {
    let (table, condition) = E::IN_PROGRESS;
    let condition = format!("{condition} AND {}", in_queues::<E>("item_state.queue_id", queues, values));
    let items = Joined { tables: OF_ITEMS, join: &join_of_items::<E>("item_state.item_id") };
    Place::new(table, STATE, &[items], &condition, rest_and_order)
}

/// The items of one queue and state.
fn place<E: Engine + Places>(
    engine: &mut E,
    ask: &ListRequest<'_>,
    (queue, status): (QueueId, Status),
    rest_and_order: (&str, &str),
    values: &mut Values,
) -> Result<Place> {
    Ok(match status {
        Status::New if engine.statistics(queue)?.new <= FEW_WAITING.max(end_of_page(ask)) => {
            few_waiting::<E>(&values.bind::<E>(queue.0), rest_and_order)
        }
        Status::New => {
            let from = first_waiting(engine, queue, ask.page.descending)?;
            let [queue, from] = [queue.0, from].map(|number| values.bind::<E>(number));
            many_waiting::<E>(&queue, &from, ask.filter, rest_and_order)
        }
        Status::InProgress => held::<E>(&[queue], rest_and_order, values),
        Status::Successful => {
            let of = values.bind::<E>(queue.0);
            let condition = format!("item_state.queue_id = {of} AND item_state.status = {}", status.number());
            let items = Joined { tables: OF_ITEMS, join: &join_of_items::<E>("item_state.item_id") };
            Place::new("item_state", STATE, &[items], &condition, rest_and_order)
        }
        Status::Failed | Status::Abandoned | Status::Retried | Status::Deleted => {
            let of = values.bind::<E>(queue.0);
            let condition =
                format!("item_review.queue_id = {of} AND item_review.status = {}", status.number());
            let with_state =
                format!(" {} item_state ON item_state.item_id = item_review.item_id", E::THEN_JOIN);
            let joined = [
                Joined { tables: OF_ITEMS, join: &join_of_items::<E>("item_review.item_id") },
                Joined { tables: &["item_state."], join: &with_state },
            ];
            Place::new("item_review", REVIEW, &joined, &condition, rest_and_order)
        }
    })
}

/// How many items a page has, with those that it skips.
fn end_of_page(ask: &ListRequest<'_>) -> i64 {
    i64::try_from(ask.page.top.saturating_add(ask.page.skip)).unwrap_or(i64::MAX)
}

fn few_waiting<E: Engine>(queue: &str, rest_and_order: (&str, &str)) -> Place {
    let table = format!(
        "(SELECT item_id FROM item_ready WHERE queue_id = {queue} \
         UNION ALL SELECT item_id FROM item_deferred WHERE queue_id = {queue} \
         UNION ALL SELECT item_id FROM item_grouped WHERE queue_id = {queue} AND place IS NULL) AS waiting"
    );
    let with_state = " LEFT JOIN item_state ON item_state.item_id = waiting.item_id";
    let joined = [
        Joined { tables: OF_ITEMS, join: &join_of_items::<E>("waiting.item_id") },
        Joined { tables: &["item_state."], join: with_state },
    ];
    Place::new(&table, WAITING, &joined, "true", rest_and_order)
}

/// NOT EXISTS, because PostgreSQL takes "no row or a row with 0" for rare, and would sort all waiting items.
fn many_waiting<E: Engine + Places>(
    queue: &str,
    from: &str,
    filter: &ItemFilter,
    rest_and_order: (&str, &str),
) -> Place {
    let condition = format!(
        "item.id >= {from} AND item.queue_id = {queue} AND NOT EXISTS (SELECT 1 FROM item_state AS begun \
         WHERE begun.item_id = item.id AND begun.item_id >= {from} AND begun.status <> 0)"
    );
    Place::new(
        &format!("item{}", hint::<E>(filter, false)),
        ITEM,
        &states_of_items::<E>(),
        &condition,
        rest_and_order,
    )
}

/// What is joined to items of any state.
fn states_of_items<E: Dialect>() -> [Joined<'static>; 2] {
    [
        Joined { tables: &["item_state."], join: WITH_STATE },
        Joined { tables: &["item_copy."], join: E::COPIES },
    ]
}

/// An id from which on all waiting items are found: the first of the ready ones, if no item has a DueDate, is deferred or has a row in
/// `item_grouped`. 0 otherwise, and if the list is descending.
fn first_waiting<E: Engine>(engine: &mut E, queue: QueueId, descending: bool) -> Result<i64> {
    if descending {
        return Ok(0); // the scan ends long before
    }
    let mut values = Values::default();
    let queue = values.bind::<E>(queue.0);
    let others = [
        "item_deferred WHERE",
        "item_ready WHERE rank < 3 AND",
        "item_grouped WHERE place IS NULL AND",
        "item_grouped WHERE place IS NOT NULL AND",
    ];
    let others = others.iter().map(|others| format!("EXISTS (SELECT 1 FROM {others} queue_id = {queue})"));
    let first_of = |rank: u8| {
        format!(
            "SELECT min(item_id) AS id FROM item_ready WHERE queue_id = {queue} AND rank = {rank} AND due_date = 0"
        )
    };
    let sql = format!(
        "SELECT CASE WHEN {} THEN 0 ELSE coalesce((SELECT min(id) FROM ({}) AS first), {}) END",
        others.collect::<Vec<_>>().join(" OR "),
        [3, 4, 5].map(first_of).join(" UNION ALL "),
        i64::MAX
    );
    Ok(engine.read_number(&sql, &values)?.unwrap_or(0))
}

/// Whether the filter is for a reference that the index of references finds, or for a prefix of few of them.
///
/// The index has the references in the order of their bytes, which is that of their characters: what begins with a prefix is a
/// range of it. A list in the order of the ids then has to sort the range. That is quick for some thousands, and slower than a walk
/// along the ids for a prefix that every second item has. So the range is counted first, to a limit: the planners know how many texts
/// there are between two others only roughly, and would choose either way for both.
fn is_found_by_reference<E: Engine + Places>(
    engine: &mut E,
    ask: &ListRequest<'_>,
    statuses: &[Status],
) -> Result<bool> {
    let prefix = match &ask.filter.reference {
        None => return Ok(false),
        Some(ReferenceFilter::Equals(_)) => return Ok(true),
        Some(ReferenceFilter::StartsWith(prefix)) => prefix,
    };
    let few = match statuses {
        [] if ask.filter.review_status.is_empty() => E::FEW_REFERENCES,
        [_, ..] if statuses.iter().all(|status| is_for_review(*status)) => FEW_BESIDE_REVIEW,
        _ => E::FEW_REFERENCES / 4, // the state of each is looked at
    };
    let mut values = Values::default();
    let queues = in_queues::<E>("item.queue_id", ask.queues, &mut values);
    let range = starting_with::<E>(prefix, &mut values);
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM item{} WHERE {queues} AND {range} LIMIT {}) AS found",
        E::BY_REFERENCE,
        few + 1
    );
    Ok(engine.read_number(&sql, &values)?.unwrap_or(0) <= few)
}

/// How the items are found. A prefix that many references have is no reason to use the index of references: SQLite would, for the
/// queue alone, and sort all items of the queue.
fn hint<E: Places>(filter: &ItemFilter, by_reference: bool) -> &'static str {
    match &filter.reference {
        Some(_) if by_reference => E::BY_REFERENCE,
        Some(ReferenceFilter::StartsWith(_)) => E::BY_ID,
        _ => "",
    }
}

/// The condition that a reference begins with a prefix, as a range of the index of references.
pub(crate) fn starting_with<D: Dialect>(prefix: &str, values: &mut Values) -> String {
    let prefix = D::storable(prefix);
    let from = values.bind_text::<D>(&prefix);
    let from = format!("item.reference {} {from}", D::AT_LEAST);
    match end_of_prefix(&prefix) {
        None => from,
        Some(end) => {
            let end = values.bind_text::<D>(&end);
            format!("{from} AND item.reference {} {end}", D::LESS)
        }
    }
}

fn in_statuses(column: &str, statuses: &[Status]) -> String {
    one_of(column, statuses.iter().map(|status| status.number()))
}

/// The items of any state that failed with a reason. The index of reasons has them in the order of their ids. They are in the queue of
/// their reason, so that no item is looked at for it.
fn of_reason<E: Places>(
    queues: &[QueueId],
    reason: i64,
    statuses: &[Status],
    rest_and_order: (&str, &str),
    values: &mut Values,
) -> Place {
    const OF_REASON: Names = &[("item.id", "item_exception.item_id")];
    let reason = values.bind::<E>(reason);
    let queue = format!("(SELECT reason.queue_id FROM reason WHERE reason.id = {reason})");
    let condition = format!(
        "item_exception.reason_id = {reason} AND {} AND {}",
        in_queues::<E>(&queue, queues, values),
        in_statuses("coalesce(item_state.status, 0)", statuses)
    );
    let joined = [
        Joined { tables: OF_ITEMS, join: &join_of_items::<E>("item_exception.item_id") },
        Joined {
            tables: &["item_state."],
            join: " LEFT JOIN item_state ON item_state.item_id = item_exception.item_id",
        },
    ];
    Place::new(&format!("item_exception{}", E::BY_REASON), OF_REASON, &joined, &condition, rest_and_order)
}

/// The items of any queue and state.
fn everywhere<E: Places>(
    queues: &[QueueId],
    filter: &ItemFilter,
    search: &Search,
    rest_and_order: (&str, &str),
    values: &mut Values,
) -> Place {
    let queues = in_queues::<E>("item.queue_id", queues, values);
    let statuses = in_statuses("coalesce(item_state.status, 0)", &search.statuses);
    match &filter.reference {
        Some(ReferenceFilter::StartsWith(prefix)) if search.by_reference => {
            let range = starting_with::<E>(prefix, values);
            let (table, join) = E::in_range(&queues, &range);
            let [_, copies] = states_of_items::<E>();
            let joined = [Joined { tables: &["item_state."], join }, copies];
            Place::new(&table, ITEM, &joined, &format!("{queues} AND {range} AND {statuses}"), rest_and_order)
        }
        _ => {
            let table = format!("item{}", hint::<E>(filter, search.by_reference));
            Place::new(
                &table,
                ITEM,
                &states_of_items::<E>(),
                &format!("{queues} AND {statuses}"),
                rest_and_order,
            )
        }
    }
}

/// All other conditions of a filter.
fn rest<E: Engine + Places>(
    engine: &mut E,
    filter: &ItemFilter,
    search: &Search,
    values: &mut Values,
) -> Result<String> {
    let mut conditions = Vec::new();
    if let Some(priority) = filter.priority {
        let value = values.bind::<E>(i64::from(priority.number()));
        conditions.push(format!("item.priority = {value}"));
    }
    if let Some(exception_type) = filter.exception_type {
        let value = values.bind::<E>(i64::from(outcome_of(exception_type).number()));
        conditions.push(format!("item_state.outcome = {value}"));
    }
    if let Some(key) = filter.key {
        // The key of a chain is the unique key of its first attempt.
        let first = engine.item_keyed(key)?.map_or(0, |id| id.0);
        let value = values.bind::<E>(first);
        conditions.push(format!("(item.id = {value} AND item.root_id IS NULL OR item.root_id = {value})"));
    }
    if let Some(from) = filter.created_from {
        conditions.push(format!("item.creation_time >= {}", values.bind::<E>(Bound::Time(from))));
    }
    if let Some(before) = filter.created_before {
        conditions.push(format!("item.creation_time < {}", values.bind::<E>(Bound::Time(before))));
    }
    match &filter.reference {
        Some(ReferenceFilter::Equals(wanted)) => {
            conditions.push(format!("item.reference = {}", values.bind_text::<E>(wanted)));
        }
        Some(ReferenceFilter::StartsWith(prefix)) if !search.by_reference => {
            conditions.push(E::begins(prefix, values));
        }
        Some(ReferenceFilter::StartsWith(_)) | None => {} // said with the place
    }
    if let Some(reason) = filter.reason.filter(|_| !search.by_reason) {
        let reason = values.bind::<E>(reason);
        conditions
            .push(format!("item.id IN (SELECT item_id FROM item_exception WHERE reason_id = {reason})"));
    }
    if let Some(operation) = filter.refused_by {
        conditions.push(operations::refused_by::<E>(operation, values));
    }
    if let Some(condition) = &filter.condition {
        conditions.push(conditions::condition::<E>(condition, values));
    }
    let review_status = filter.review_status.iter().map(|status| status.number());
    conditions.push(one_of("coalesce(item_state.review_status, 0)", review_status));
    Ok(conditions.join(" AND "))
}
