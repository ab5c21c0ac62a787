//! Lists of items. Values are bound, never written into a statement.
//!
//! A page costs what it contains and not what the table contains, if an index says where to look. There is no index by
//! queue, nor one of successful items: each would cost every claim or result. Instead, the items of each state are
//! found where they are indexed anyway:
//!
//! | state | where |
//! |---|---|
//! | New | `item_ready`, `item_deferred` and `item_grouped`; if there are many, the items from the first of them on |
//! | InProgress | the claim rows |
//! | Successful | `item_state`, by id: nearly all of its rows are successful |
//! | the others | the index of items for review |
//!
//! A reference, and those with a prefix that few have, are found by the index of references, and items of a reason by that of
//! reasons. All other lists scan the items by
//! id. No count goes further than the page asks.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::rows::{ListRequest, outcome_of};
use super::super::sql::places::{Place, few_references};
use super::claim_rows::HELD;
use super::columns::{date, get, numbered, text, uuid};
use super::conditions::{self, FilterValue, bind};
use super::counters;
use super::session::Session;
use performer_core::model::item::{ItemFilter, ReferenceFilter};
use performer_core::model::key::{ItemId, ItemKey, QueueId};
use performer_core::model::prefix::end_of_prefix;
use performer_core::model::result::Outcome;
use performer_core::model::statistics::Ended;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// The most pairs of queue and state that are searched one by one.
const MAX_PARTS: usize = 24;

/// Up to so many waiting items are found in the tables of waiting items; more are found by a scan of all items.
const FEW_WAITING: i64 = 2_000;

/// Up to so many references with a prefix are found by their index, and then sorted.
const FEW_REFERENCES: i64 = 30_000;

/// The ids of a page, and how many items match in all if that was asked for.
pub(super) fn list(session: &mut Session, ask: &ListRequest<'_>) -> Result<(Vec<ItemId>, Option<u64>)> {
    let ListRequest { queues, filter, page, count } = *ask;
    let places = queues.len().saturating_mul(filter.status.len());
    // An index finds a reference, whatever the state of its items.
    let by_reference = is_found_by_reference(session, ask)?;
    // What is sorted by anything but the id is looked at as a whole: that is worth it where there are few.
    let may_sort = filter.order.is_empty()
        || !filter.status.iter().any(|status| matches!(status, Status::New | Status::Successful));
    let by_reason = filter.reason.is_some() && !by_reference;
    let by_state = may_sort && !by_reference && !by_reason && (1..=MAX_PARTS).contains(&places);
    let mut values = Vec::new();
    let rest = conditions(session, filter, by_reference, &mut values)?;
    let order = conditions::order(&filter.order, page.descending);
    let mut places: Vec<Place> = Vec::new();
    if by_state {
        for queue in queues {
            for status in &filter.status {
                places.push(place(session, ask, *queue, *status, (&rest, &order), &mut values)?);
            }
        }
    } else if by_reason {
        places.push(of_reason(ask, (&rest, &order), &mut values));
    } else {
        places.push(everywhere(queues, filter, by_reference, (&rest, &order), &mut values));
    }
    let values: Vec<_> = values.iter().map(|value| &**value).collect();
    let counted = if count {
        // UNION ALL stops with its LIMIT, in the middle of any part.
        let each: Vec<String> =
            places.iter().map(|place| format!("(SELECT 1 FROM {})", place.text)).collect();
        let sql = format!(
            "SELECT count(*) FROM ({} LIMIT {}) AS found",
            each.join(" UNION ALL "),
            ask.rows_counted()
        );
        let rows = session.query_once(&sql, &values)?;
        let counted: i64 = rows.first().map_or(Ok(0), |row| get(row, 0))?;
        Some(counted.unsigned_abs())
    } else {
        None
    };
    let (top, skip) = (page.top, page.skip.min(u32::MAX as usize));
    let ids = match &places[..] {
        [place] => place.first("", &order, top, skip),
        places => {
            // The page is among the first items of each part.
            let enough = top + skip;
            let (keys, order_of_all) = conditions::order_of_parts(&filter.order, page.descending);
            let each: Vec<String> =
                places.iter().map(|place| format!("({})", place.first(&keys, &order, enough, 0))).collect();
            format!(
                "SELECT id FROM ({}) AS found ORDER BY {order_of_all} LIMIT {top} OFFSET {skip}",
                each.join(" UNION ALL ")
            )
        }
    };
    let rows = session.query_once(&ids, &values)?;
    let ids: Result<Vec<ItemId>> = rows.iter().map(|row| get(row, 0).map(ItemId)).collect();
    Ok((ids?, counted))
}

/// The text between FROM and ORDER BY for the items of one queue and state.
fn place(
    session: &mut Session,
    ask: &ListRequest<'_>,
    queue: QueueId,
    status: Status,
    (rest, order): (&str, &str),
    values: &mut Vec<FilterValue>,
) -> Result<Place> {
    let queue_value = bind(queue.0, "bigint", values);
    let (number, copies) = (status.number(), conditions::COPIES);
    let state = " LEFT JOIN item_state ON item_state.item_id = item.id";
    let with_item = format!(" JOIN item ON item.id = item_state.item_id{copies}");
    Ok(match status {
        Status::New => {
            let waiting = counters::statistics(session, queue)?.new;
            if waiting <= FEW_WAITING {
                Place::of_items(format!(
                    "(SELECT item_id FROM item_ready WHERE queue_id = {queue_value} \
                     UNION ALL SELECT item_id FROM item_deferred WHERE queue_id = {queue_value} \
                     UNION ALL SELECT item_id FROM item_grouped WHERE queue_id = {queue_value} AND place IS NULL) AS waiting \
                     JOIN item ON item.id = waiting.item_id{state}{copies} WHERE {rest}"
                ))
            } else {
                // NOT EXISTS, because PostgreSQL takes "no row or a row with 0" for rare, and would sort all waiting
                // items.
                let from = bind(first_waiting(session, queue, ask.page.descending)?, "bigint", values);
                Place::of_items(format!(
                    "item{state}{copies} WHERE item.id >= {from} AND item.queue_id = {queue_value} \
                     AND NOT EXISTS (SELECT 1 FROM item_state AS begun WHERE begun.item_id = item.id \
                     AND begun.item_id >= {from} AND begun.status <> 0) AND {rest}"
                ))
            }
        }
        Status::InProgress => {
            let held = format!("{HELD} AS held JOIN item_state ON item_state.item_id = held.item_id");
            let condition = format!("item_state.queue_id = {queue_value}");
            Place::along("held.item_id", (&held, &with_item), &condition, rest, order)
        }
        Status::Successful => {
            let condition = format!("item_state.queue_id = {queue_value} AND item_state.status = {number}");
            Place::along("item_state.item_id", ("item_state", &with_item), &condition, rest, order)
        }
        Status::Failed | Status::Abandoned | Status::Retried | Status::Deleted => {
            let condition =
                format!("item_state.queue_id = {queue_value} AND item_state.attention = {number}");
            Place::along("item_state.item_id", ("item_state", &with_item), &condition, rest, order)
        }
    })
}

/// An id from which on waiting items are found, if that is known quickly: the first of those without a DueDate, if none
/// has a DueDate, none is deferred, and no groups are kept.
fn first_waiting(session: &mut Session, queue: QueueId, descending: bool) -> Result<i64> {
    if descending {
        return Ok(0); // the scan ends long before
    }
    // least() ignores the ranks without waiting items.
    const FIRST: &str = "SELECT CASE WHEN EXISTS (SELECT 1 FROM item_deferred WHERE queue_id = $1) \
         OR EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank < 3) \
         OR EXISTS (SELECT 1 FROM item_grouped WHERE queue_id = $1 AND place IS NULL) \
         OR EXISTS (SELECT 1 FROM item_grouped WHERE queue_id = $1 AND place IS NOT NULL) THEN 0::bigint ELSE least(\
         (SELECT min(item_id) FROM item_ready WHERE queue_id = $1 AND rank = 3 AND due_date = 0), \
         (SELECT min(item_id) FROM item_ready WHERE queue_id = $1 AND rank = 4 AND due_date = 0), \
         (SELECT min(item_id) FROM item_ready WHERE queue_id = $1 AND rank = 5 AND due_date = 0)) END";
    let row = session.query_opt(FIRST, &[&queue.0])?;
    let first: Option<i64> = row.as_ref().map_or(Ok(None), |row| get(row, 0))?;
    Ok(first.unwrap_or(i64::MAX))
}

/// Whether the filter is for a reference that the index of references finds, or for a prefix of few of them.
///
/// The index has the references in the order of their bytes, which is that of their characters: what begins with a prefix is a
/// range of it. A list in the order of the ids then has to sort the range. That is quick for some thousands, and slower than a walk
/// along the ids for a prefix that every second item has. So the range is counted first, to no more than [`FEW_REFERENCES`]: the
/// planner knows how many texts there are between two others only roughly, and would choose either way for both.
fn is_found_by_reference(session: &mut Session, ask: &ListRequest<'_>) -> Result<bool> {
    let few = few_references(ask.filter, FEW_REFERENCES);
    match &ask.filter.reference {
        None => Ok(false),
        Some(ReferenceFilter::Equals(_)) => Ok(true),
        Some(ReferenceFilter::StartsWith(prefix)) => {
            let mut values = Vec::new();
            let queues = in_queues("item.queue_id", ask.queues, &mut values);
            let range = starting_with(prefix, &mut values);
            let sql = format!(
                "SELECT count(*) FROM (SELECT 1 FROM item WHERE {queues} AND {range} LIMIT {}) AS found",
                few + 1
            );
            let values: Vec<_> = values.iter().map(|value| &**value).collect();
            let rows = session.query_once(&sql, &values)?;
            let found: i64 = rows.first().map_or(Ok(0), |row| get(row, 0))?;
            Ok(found <= few)
        }
    }
}

/// The condition that a reference begins with a prefix, as a range in the order of bytes, which the operators `~>=~` and `~<~` have
/// in every database. Those without tildes have the order of the database's language, in which a prefix is no range.
fn starting_with(prefix: &str, values: &mut Vec<FilterValue>) -> String {
    let prefix = text(prefix);
    let from = bind(prefix.clone().into_owned(), "text", values);
    match end_of_prefix(&prefix) {
        None => format!("item.reference ~>=~ {from}"),
        Some(end) => {
            let end = bind(end, "text", values);
            format!("item.reference ~>=~ {from} AND item.reference ~<~ {end}")
        }
    }
}

pub(super) fn in_queues(column: &str, queues: &[QueueId], values: &mut Vec<FilterValue>) -> String {
    match queues {
        [one] => format!("{column} = {}", bind(one.0, "bigint", values)),
        many => {
            let many: Vec<i64> = many.iter().map(|id| id.0).collect();
            format!("{column} = ANY ({})", bind(many, "bigint[]", values))
        }
    }
}

/// As [`place`], for the items of any queue and state that failed with a reason. The index of reasons has them in the order of
/// their ids.
fn of_reason(ask: &ListRequest<'_>, (rest, order): (&str, &str), values: &mut Vec<FilterValue>) -> Place {
    let queues = in_queues("item.queue_id", ask.queues, values);
    let statuses =
        one_of("coalesce(item_state.status, 0)", ask.filter.status.iter().map(|status| status.number()));
    let tables = format!(
        "item_exception JOIN item ON item.id = item_exception.item_id \
         LEFT JOIN item_state ON item_state.item_id = item.id{}",
        conditions::COPIES
    );
    let condition = format!("{queues} AND {statuses}");
    Place::along("item_exception.item_id", (&tables, ""), &condition, rest, order)
}

/// As [`place`], for the items of any queue and state.
fn everywhere(
    queues: &[QueueId],
    filter: &ItemFilter,
    by_reference: bool,
    (rest, order): (&str, &str),
    values: &mut Vec<FilterValue>,
) -> Place {
    let queues = in_queues("item.queue_id", queues, values);
    let statuses =
        one_of("coalesce(item_state.status, 0)", filter.status.iter().map(|status| status.number()));
    let (state, copies) = ("LEFT JOIN item_state ON item_state.item_id = item.id", conditions::COPIES);
    match &filter.reference {
        // OFFSET 0: planned by itself, so that no order and no LIMIT make the planner walk along the ids after all, and so that it
        // looks at the state of each of these items instead of reading all states there are.
        Some(ReferenceFilter::StartsWith(prefix)) if by_reference => {
            let range = starting_with(prefix, values);
            let is_about_state = |text: &str| text.contains("item_state.") || text.contains("item_copy.");
            let joins = if [&*statuses, rest, order].into_iter().any(is_about_state) {
                format!(
                    " LEFT JOIN LATERAL (SELECT * FROM item_state WHERE item_state.item_id = item.id OFFSET 0) \
                     AS item_state ON true{copies}"
                )
            } else {
                String::new()
            };
            Place::of_items(format!(
                "(SELECT * FROM item WHERE {queues} AND {range} OFFSET 0) AS item{joins} WHERE {statuses} AND {rest}"
            ))
        }
        _ => Place::of_items(format!("item {state}{copies} WHERE {queues} AND {statuses} AND {rest}")),
    }
}

/// All other conditions of a filter.
fn conditions(
    session: &mut Session,
    filter: &ItemFilter,
    by_reference: bool,
    values: &mut Vec<FilterValue>,
) -> Result<String> {
    let mut conditions = Vec::new();
    if let Some(priority) = filter.priority {
        let value = bind(i16::from(priority.number()), "smallint", values);
        conditions.push(format!("item.priority = {value}"));
    }
    if let Some(exception_type) = filter.exception_type {
        let value = bind(i16::from(outcome_of(exception_type).number()), "smallint", values);
        conditions.push(format!("item_state.outcome = {value}"));
    }
    if let Some(key) = filter.key {
        // The key of a chain is the unique key of its first attempt.
        let first = with_key(session, key)?.map_or(0, |id| id.0);
        let value = bind(first, "bigint", values);
        conditions.push(format!("(item.id = {value} AND item.root_id IS NULL OR item.root_id = {value})"));
    }
    if let Some(from) = filter.created_from {
        conditions.push(format!("item.creation_time >= {}", bind(date(from), "timestamptz", values)));
    }
    if let Some(before) = filter.created_before {
        conditions.push(format!("item.creation_time < {}", bind(date(before), "timestamptz", values)));
    }
    match &filter.reference {
        Some(ReferenceFilter::Equals(wanted)) => {
            let value = bind(text(wanted).into_owned(), "text", values);
            conditions.push(format!("item.reference = {value}"));
        }
        // An expression, so that no index is used.
        Some(ReferenceFilter::StartsWith(wanted)) if !by_reference => {
            let value = bind(text(wanted).into_owned(), "text", values);
            conditions.push(format!("starts_with(item.reference || '', {value})"));
        }
        Some(ReferenceFilter::StartsWith(_)) | None => {}
    }
    if let Some(reason) = filter.reason {
        let reason = bind(reason, "bigint", values);
        conditions.push(if by_reference {
            format!("item.id IN (SELECT item_id FROM item_exception WHERE reason_id = {reason})")
        } else {
            format!("item_exception.reason_id = {reason}")
        });
    }
    if let Some(condition) = &filter.condition {
        conditions.push(conditions::condition(condition, values));
    }
    let review_status = filter.review_status.iter().map(|status| status.number());
    conditions.push(one_of("coalesce(item_state.review_status, 0)", review_status));
    Ok(conditions.join(" AND "))
}

/// A condition on an enumeration, if there is one; its numbers are ours, not the caller's.
fn one_of(column: &str, numbers: impl Iterator<Item = u8>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    if numbers.is_empty() { "true".to_owned() } else { format!("{column} IN ({})", numbers.join(", ")) }
}

/// How attempts ended since a time, by queue, minute and outcome.
pub(super) fn ended_since(
    session: &mut Session,
    queue: Option<QueueId>,
    since: Timestamp,
) -> Result<Vec<Ended>> {
    const SQL: &str = "SELECT queue_id, floor(extract(epoch FROM end_processing) / 60)::bigint, outcome, count(*), \
         (sum(extract(epoch FROM end_processing - coalesce(start_processing, end_processing))) * 1000000)::bigint, \
         max(end_processing) FROM item_state WHERE outcome IS NOT NULL AND end_processing >= $1 \
         AND ($2::bigint IS NULL OR queue_id = $2) GROUP BY 1, 2, 3";
    let rows = session.query(SQL, &[&date(since), &queue.map(|queue| queue.0)])?;
    let read = |row: &Row| -> Result<Ended> {
        Ok(Ended {
            queue: QueueId(get(row, 0)?),
            minute: get(row, 1)?,
            outcome: numbered!(row, 2, Outcome)?,
            count: get(row, 3)?,
            took: get(row, 4)?,
            last: get(row, 5)?,
        })
    };
    rows.iter().map(read).collect()
}

/// The item with a unique key.
pub(super) fn with_key(session: &mut Session, key: ItemKey) -> Result<Option<ItemId>> {
    let row = session.query_opt("SELECT id FROM item WHERE unique_key = $1", &[&uuid(key.to_bytes())])?;
    row.map(|row| get(&row, 0).map(ItemId)).transpose()
}

/// First attempts that were created before a time, by id, for retention.
pub(super) fn roots_created_before(
    session: &mut Session,
    queue: QueueId,
    before: Timestamp,
    after: ItemId,
    limit: i64,
) -> Result<Vec<ItemId>> {
    const ROOTS: &str = "SELECT id FROM item WHERE id > $1 AND queue_id = $2 AND root_id IS NULL \
                         AND creation_time < $3 ORDER BY id LIMIT $4";
    // Planned each time: only with the actual time the planner knows that hardly any row is so old, and that a scan of
    // all ids would be wrong.
    let rows = session.query_once(ROOTS, &[&after.0, &queue.0, &date(before), &limit])?;
    rows.iter().map(|row| get(row, 0).map(ItemId)).collect()
}
