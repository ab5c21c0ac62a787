//! Lists of items. Values are bound, never written into a statement.
//!
//! A page costs what it contains and not what the table contains, if an index says where to look. There is no index by
//! queue, nor one of successful items: each would cost every claim or result. Instead, the items of each state are
//! found where they are indexed anyway:
//!
//! | state | where |
//! |---|---|
//! | New | `item_ready`, `item_deferred` and `item_grouped`; if there are many, the items from the first of them on |
//! | InProgress | the index of held items |
//! | Successful | `item_state`, by id: nearly all of its rows are successful |
//! | the others | the index of items for review |
//!
//! A reference, and those with a prefix that few have, are found by the index of references, and items of a reason by that of
//! reasons. All other lists scan the items by
//! id. No count goes further than the page asks.

use jiff::Timestamp;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, params_from_iter};

use super::super::rows::{ListRequest, outcome_of};
use super::super::sql::places::{Place, few_references};
use super::columns::{micros, numbered, time};
use super::{conditions, prepared, queues};
use performer_core::model::item::{ItemFilter, ReferenceFilter};
use performer_core::model::key::{ItemId, ItemKey, QueueId};
use performer_core::model::prefix::end_of_prefix;
use performer_core::model::result::Outcome;
use performer_core::model::statistics::Ended;
use performer_core::model::status::Status;

type SqlResult<T> = rusqlite::Result<T>;

/// The most pairs of queue and state that are searched one by one.
const MOST_PLACES: usize = 24;

/// Up to so many waiting items are found in the tables of waiting items; more are found by a scan of all items.
const FEW_WAITING: i64 = 2_000;

/// Up to so many references with a prefix are found by their index, and then sorted.
const FEW_REFERENCES: i64 = 100_000;

/// The ids of a page, and how many items match in all if that was asked for.
pub(super) fn list(connection: &Connection, ask: &ListRequest<'_>) -> SqlResult<(Vec<ItemId>, Option<u64>)> {
    let ListRequest { queues, filter, page, count } = *ask;
    let places = queues.len().saturating_mul(filter.status.len());
    // An index finds a reference, whatever the state of its items.
    let by_reference = is_found_by_reference(connection, ask)?;
    // What is sorted by anything but the id is looked at as a whole: that is worth it where there are few.
    let may_sort = filter.order.is_empty()
        || !filter.status.iter().any(|status| matches!(status, Status::New | Status::Successful));
    let by_reason = filter.reason.is_some() && !by_reference;
    let by_state = may_sort && !by_reference && !by_reason && (1..=MOST_PLACES).contains(&places);
    let mut values = Vec::new();
    let rest = conditions(connection, filter, by_reference, &mut values)?;
    let order = conditions::order(&filter.order, page.descending);
    let mut places: Vec<Place> = Vec::new();
    if by_state {
        for queue in queues {
            for status in &filter.status {
                places.push(place(connection, ask, *queue, *status, (&rest, &order), &mut values)?);
            }
        }
    } else if by_reason {
        places.push(of_reason(ask, (&rest, &order), &mut values));
    } else {
        places.push(everywhere(queues, filter, by_reference, (&rest, &order), &mut values));
    }
    let counted = if count {
        // UNION ALL stops with its LIMIT, in the middle of any part.
        let each: Vec<String> = places.iter().map(|place| format!("SELECT 1 FROM {}", place.text)).collect();
        let sql = format!("SELECT count(*) FROM ({} LIMIT {})", each.join(" UNION ALL "), ask.rows_counted());
        let counted: i64 =
            prepared(connection, &sql)?.query_row(params_from_iter(&values), |row| row.get(0))?;
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
            let each = places.iter().map(|place| place.first(&keys, &order, enough, 0));
            let each: Vec<String> = each.map(|part| format!("SELECT * FROM ({part})")).collect();
            format!(
                "SELECT id FROM ({}) ORDER BY {order_of_all} LIMIT {top} OFFSET {skip}",
                each.join(" UNION ALL ")
            )
        }
    };
    let ids: SqlResult<Vec<ItemId>> = connection
        .prepare(&ids)?
        .query_map(params_from_iter(&values), |row| row.get(0).map(ItemId))?
        .collect();
    Ok((ids?, counted))
}

/// The text between FROM and ORDER BY for the items of one queue and state.
fn place(
    connection: &Connection,
    ask: &ListRequest<'_>,
    queue: QueueId,
    status: Status,
    (rest, order): (&str, &str),
    values: &mut Vec<Value>,
) -> SqlResult<Place> {
    values.push(queue.0.into());
    let queue_value = values.len();
    let number = status.number();
    let copies = conditions::COPIES;
    let state = " LEFT JOIN item_state ON item_state.item_id = item.id";
    let with_item = format!(" CROSS JOIN item ON item.id = item_state.item_id{copies}");
    Ok(match status {
        Status::New => {
            let waiting = queues::statistics(connection, queue)?.new;
            if waiting <= FEW_WAITING {
                Place::of_items(format!(
                    "(SELECT item_id FROM item_ready WHERE queue_id = ?{queue_value} \
                     UNION ALL SELECT item_id FROM item_deferred WHERE queue_id = ?{queue_value} \
                     UNION ALL SELECT item_id FROM item_grouped WHERE queue_id = ?{queue_value} AND place IS NULL) \
                     AS waiting \
                     CROSS JOIN item ON item.id = waiting.item_id{state}{copies} WHERE {rest}"
                ))
            } else {
                values.push(first_waiting(connection, queue, ask.page.descending)?.into());
                let from = values.len();
                let hint = hint(ask.filter, false);
                Place::of_items(format!(
                    "item{hint}{state}{copies} WHERE item.id >= ?{from} AND item.queue_id = ?{queue_value} \
                     AND coalesce(item_state.status, 0) = 0 AND {rest}"
                ))
            }
        }
        // In the words of the indexes, or SQLite does not use them.
        Status::InProgress => {
            let condition = format!("item_state.status = 1 AND item_state.queue_id = ?{queue_value}");
            let tables = ("item_state INDEXED BY item_held", &*with_item);
            Place::along("item_state.item_id", tables, &condition, rest, order)
        }
        Status::Successful => {
            let condition = format!("item_state.queue_id = ?{queue_value} AND item_state.status = {number}");
            Place::along("item_state.item_id", ("item_state", &with_item), &condition, rest, order)
        }
        Status::Failed | Status::Abandoned | Status::Retried | Status::Deleted => {
            let condition = format!(
                "(item_state.status = 2 OR item_state.status > 3) AND item_state.queue_id = ?{queue_value} \
                 AND item_state.status = {number}"
            );
            let tables = ("item_state INDEXED BY item_attention", &*with_item);
            Place::along("item_state.item_id", tables, &condition, rest, order)
        }
    })
}

/// An id from which on waiting items are found, if that is known quickly: the first of those without a DueDate, if none
/// has a DueDate, none is deferred, and no groups are kept.
fn first_waiting(connection: &Connection, queue: QueueId, descending: bool) -> SqlResult<i64> {
    if descending {
        return Ok(0); // the scan ends long before
    }
    const OTHERS: &str = "SELECT EXISTS (SELECT 1 FROM item_deferred WHERE queue_id = ?1) \
                          OR EXISTS (SELECT 1 FROM item_ready WHERE queue_id = ?1 AND rank < 3) \
                          OR EXISTS (SELECT 1 FROM item_grouped WHERE queue_id = ?1 AND place IS NULL) \
                          OR EXISTS (SELECT 1 FROM item_grouped WHERE queue_id = ?1 AND place IS NOT NULL)";
    const FIRST: &str =
        "SELECT min(item_id) FROM item_ready WHERE queue_id = ?1 AND rank = ?2 AND due_date = 0";
    if prepared(connection, OTHERS)?.query_row([queue.0], |row| row.get(0))? {
        return Ok(0);
    }
    let mut first = i64::MAX;
    for rank in 3..6 {
        let found: Option<i64> = prepared(connection, FIRST)?.query_row([queue.0, rank], |row| row.get(0))?;
        first = first.min(found.unwrap_or(i64::MAX));
    }
    Ok(first)
}

/// Whether the filter is for a reference that the index of references finds, or for a prefix of few of them.
///
/// The index has the references in the order of their bytes, which is that of their characters: what begins with a prefix is a
/// range of it. A list in the order of the ids then has to sort the range. That is quick for some thousands, and slower than a walk
/// along the ids for a prefix that every second item has. So the range is counted first, to no more than [`FEW_REFERENCES`].
fn is_found_by_reference(connection: &Connection, ask: &ListRequest<'_>) -> SqlResult<bool> {
    let few = few_references(ask.filter, FEW_REFERENCES);
    match &ask.filter.reference {
        None => Ok(false),
        Some(ReferenceFilter::Equals(_)) => Ok(true),
        Some(ReferenceFilter::StartsWith(prefix)) => {
            let mut values = Vec::new();
            let queues = in_queues("item.queue_id", ask.queues, &mut values);
            let range = starting_with("item.reference", prefix, &mut values);
            let sql = format!(
                "SELECT count(*) FROM (SELECT 1 FROM item INDEXED BY item_reference \
                 WHERE {queues} AND {range} LIMIT {})",
                few + 1
            );
            let found: i64 =
                prepared(connection, &sql)?.query_row(params_from_iter(&values), |row| row.get(0))?;
            Ok(found <= few)
        }
    }
}

/// How the items are found. A prefix that many references have is no reason to use the index of references: SQLite would, for the
/// queue alone, and sort all items of the queue.
fn hint(filter: &ItemFilter, by_reference: bool) -> &'static str {
    match &filter.reference {
        Some(_) if by_reference => " INDEXED BY item_reference",
        Some(ReferenceFilter::StartsWith(_)) => " NOT INDEXED",
        _ => "",
    }
}

/// The condition that a reference begins with a prefix, as a range.
fn starting_with(column: &str, prefix: &str, values: &mut Vec<Value>) -> String {
    values.push(prefix.to_owned().into());
    let from = format!("{column} >= ?{}", values.len());
    match end_of_prefix(prefix) {
        None => from,
        Some(end) => {
            values.push(end.into());
            format!("{from} AND {column} < ?{}", values.len())
        }
    }
}

pub(super) fn in_queues(column: &str, queues: &[QueueId], values: &mut Vec<Value>) -> String {
    let mut bound = |id: &QueueId| {
        values.push(id.0.into());
        format!("?{}", values.len())
    };
    match queues {
        [one] => format!("{column} = {}", bound(one)),
        many => format!("{column} IN ({})", many.iter().map(&mut bound).collect::<Vec<_>>().join(", ")),
    }
}

/// As [`place`], for the items of any queue and state that failed with a reason. The index of reasons has them in the order of
/// their ids.
fn of_reason(ask: &ListRequest<'_>, (rest, order): (&str, &str), values: &mut Vec<Value>) -> Place {
    let queues = in_queues("item.queue_id", ask.queues, values);
    let statuses =
        one_of("coalesce(item_state.status, 0)", ask.filter.status.iter().map(|status| status.number()));
    let tables = format!(
        "item_exception INDEXED BY item_reason CROSS JOIN item ON item.id = item_exception.item_id \
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
    values: &mut Vec<Value>,
) -> Place {
    let queues = in_queues("item.queue_id", queues, values);
    let hint = hint(filter, by_reference);
    let statuses =
        one_of("coalesce(item_state.status, 0)", filter.status.iter().map(|status| status.number()));
    // Without a join the index of references has all that is needed.
    let is_about_state = |text: &str| text.contains("item_state.") || text.contains("item_copy.");
    let joins = if [&*statuses, rest, order].into_iter().any(is_about_state) {
        format!(" LEFT JOIN item_state ON item_state.item_id = item.id{}", conditions::COPIES)
    } else {
        String::new()
    };
    Place::of_items(format!("item{hint}{joins} WHERE {queues} AND {statuses} AND {rest}"))
}

/// All other conditions of a filter.
fn conditions(
    connection: &Connection,
    filter: &ItemFilter,
    by_reference: bool,
    values: &mut Vec<Value>,
) -> SqlResult<String> {
    let mut conditions = Vec::new();
    let mut condition = |text: &str, value: Value| {
        values.push(value);
        conditions.push(text.replace('?', &format!("?{}", values.len())));
    };
    if let Some(priority) = filter.priority {
        condition("item.priority = ?", i64::from(priority.number()).into());
    }
    if let Some(exception_type) = filter.exception_type {
        condition("item_state.outcome = ?", i64::from(outcome_of(exception_type).number()).into());
    }
    if let Some(key) = filter.key {
        // The key of a chain is the unique key of its first attempt.
        let first = with_key(connection, key)?.map_or(0, |id| id.0);
        condition("(item.id = ? AND item.root_id IS NULL OR item.root_id = ?)", first.into());
    }
    if let Some(from) = filter.created_from {
        condition("item.creation_time >= ?", micros(from).into());
    }
    if let Some(before) = filter.created_before {
        condition("item.creation_time < ?", micros(before).into());
    }
    if let Some(reason) = filter.reason {
        condition(
            if by_reference {
                "item.id IN (SELECT item_id FROM item_exception WHERE reason_id = ?)"
            } else {
                "item_exception.reason_id = ?"
            },
            reason.into(),
        );
    }
    match &filter.reference {
        Some(ReferenceFilter::Equals(text)) => condition("item.reference = ?", text.clone().into()),
        Some(ReferenceFilter::StartsWith(prefix)) => {
            conditions.push(starting_with("item.reference", prefix, values));
        }
        None => {}
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
    if numbers.is_empty() { "1".to_owned() } else { format!("{column} IN ({})", numbers.join(", ")) }
}

/// How attempts ended since a time, by queue, minute and outcome.
pub(super) fn ended_since(
    connection: &Connection,
    queue: Option<QueueId>,
    since: Timestamp,
) -> SqlResult<Vec<Ended>> {
    const SQL: &str = "SELECT queue_id, end_processing / 60000000, outcome, count(*), \
         sum(end_processing - coalesce(start_processing, end_processing)), max(end_processing) FROM item_state \
         WHERE outcome IS NOT NULL AND end_processing >= ?1 AND (?2 IS NULL OR queue_id = ?2) GROUP BY 1, 2, 3";
    let read = |row: &SqlRow<'_>| {
        Ok(Ended {
            queue: QueueId(row.get(0)?),
            minute: row.get(1)?,
            outcome: numbered!(row, 2, Outcome)?,
            count: row.get(3)?,
            took: row.get(4)?,
            last: time(row, 5)?,
        })
    };
    prepared(connection, SQL)?.query_map(params![micros(since), queue.map(|queue| queue.0)], read)?.collect()
}

/// The item with a unique key. Keys rise with ids, so no index is needed.
pub(super) fn with_key(connection: &Connection, key: ItemKey) -> SqlResult<Option<ItemId>> {
    let id = first_id(connection, "unique_key", 0, |row| {
        row.get(1).map(|bytes| ItemKey::from_bytes(bytes) >= key)
    })?;
    // The first item from there on: the one with this very id may have been removed.
    let sql = "SELECT id, unique_key FROM item WHERE id >= ?1 ORDER BY id LIMIT 1";
    let read = |row: &SqlRow<'_>| Ok((ItemId(row.get(0)?), ItemKey::from_bytes(row.get(1)?)));
    let found = prepared(connection, sql)?.query_row([id], read).optional()?;
    Ok(found.filter(|(_, found)| *found == key).map(|(id, _)| id))
}

/// First attempts that were created before a time, by id, for retention.
///
/// Ids and creation times rise together, so the scan ends at the first id that is too young, however many items came
/// later.
pub(super) fn roots_created_before(
    connection: &Connection,
    queue: QueueId,
    before: Timestamp,
    after: ItemId,
    limit: i64,
) -> SqlResult<Vec<ItemId>> {
    const ROOTS: &str = "SELECT id FROM item WHERE id > ?1 AND id < ?2 AND queue_id = ?3 AND root_id IS NULL \
                         AND creation_time < ?4 ORDER BY id LIMIT ?5";
    let is_young = |row: &SqlRow<'_>| row.get(1).map(|created: i64| created >= micros(before));
    let young = first_id(connection, "creation_time", after.0, is_young)?;
    let values = params![after.0, young, queue.0, micros(before), limit];
    prepared(connection, ROOTS)?.query_map(values, |row| row.get(0).map(ItemId))?.collect()
}

/// The first id after `after` whose row is late enough in a column that rises with the id, found by bisection. One more
/// than the last id if there is none.
fn first_id(
    connection: &Connection,
    column: &'static str,
    after: i64,
    is_late: impl Fn(&SqlRow<'_>) -> SqlResult<bool>,
) -> SqlResult<i64> {
    let last: Option<i64> =
        prepared(connection, "SELECT max(id) FROM item")?.query_row([], |row| row.get(0))?;
    let next = format!("SELECT id, {column} FROM item WHERE id >= ?1 ORDER BY id LIMIT 1");
    let mut next = prepared(connection, &next)?;
    let (mut early, mut late) = (after, last.unwrap_or(0).max(after) + 1); // none up to `early` is, each from `late` on is
    while late - early > 1 {
        let middle = early + (late - early) / 2;
        match next.query_row([middle], |row| Ok((row.get::<_, i64>(0)?, is_late(row)?))).optional()? {
            Some((id, false)) => early = id,
            _ => late = middle,
        }
    }
    Ok(late)
}
