//! What has to hold between the tables of a store, as statements that find the rows for which it does not.

use super::dialect::{Dialect, Engine, Values};
use super::review;
use crate::inspection::Violation;
use performer_core::model::reason::OPEN_REVIEWS;
use performer_core::orchestrator::Result;

/// A statement about the tables. `rows`: a query of the ids (one column, `id`) for which it does not hold.
pub(crate) struct Invariant {
    pub(crate) name: &'static str,
    /// What is wrong with the rows that are found.
    pub(crate) problem: &'static str,
    pub(crate) rows: String,
}

/// The places in which an item waits, with one row each. An item of a group that holds a slot is in `item_ready` too.
const WAITING: &str = "(SELECT item_id, queue_id, rank, touched FROM item_ready \
     UNION ALL SELECT item_id, queue_id, rank, touched FROM item_deferred \
     UNION ALL SELECT item_id, queue_id, rank, touched FROM item_grouped WHERE place IS NULL) AS waiting";

/// Tables with rows of items. What is left of a deleted queue is removed in chunks, an item with all its rows.
const OF_ITEMS: [&str; 6] =
    ["item_state", "item_copy", "item_exception", "item_event", "item_comment", "item_review"];

/// The invariants of both databases.
pub(crate) fn all<D: Dialect>() -> Vec<Invariant> {
    let invariant = |name, problem, rows: String| Invariant { name, problem, rows };
    let orphans: Vec<String> = OF_ITEMS
        .iter()
        .map(|table| {
            format!("SELECT item_id AS id FROM {table} WHERE NOT EXISTS (SELECT 1 FROM item WHERE item.id = item_id)")
        })
        .collect();
    let reviews: Vec<String> = OPEN_REVIEWS.iter().map(|review| review.number().to_string()).collect();
    let counted = D::counted_reasons("true");
    vec![
        invariant(
            "new-items-wait-once",
            "items that are New are not among those that wait, or more than once: they are not handed out in order",
            format!(
                "SELECT item.id FROM item JOIN queue ON queue.id = item.queue_id \
                 LEFT JOIN item_state ON item_state.item_id = item.id \
                 LEFT JOIN (SELECT item_id, count(*) AS places FROM {WAITING} GROUP BY item_id) AS placed \
                 ON placed.item_id = item.id \
                 WHERE NOT queue.deleted AND coalesce(item_state.status, 0) = 0 AND coalesce(placed.places, 0) <> 1"
            ),
        ),
        invariant(
            "only-new-items-wait",
            "items wait to be handed out that are not New, or are not there",
            format!(
                "SELECT waiting.item_id AS id FROM {WAITING} JOIN queue ON queue.id = waiting.queue_id \
                 LEFT JOIN item ON item.id = waiting.item_id \
                 LEFT JOIN item_state ON item_state.item_id = waiting.item_id \
                 WHERE NOT queue.deleted AND (item.id IS NULL OR coalesce(item_state.status, 0) <> 0)"
            ),
        ),
        invariant(
            "waiting-items-have-their-place",
            "items wait with the rank of another priority, or with a wrong note of their state",
            format!(
                "SELECT waiting.item_id AS id FROM {WAITING} JOIN queue ON queue.id = waiting.queue_id \
                 JOIN item ON item.id = waiting.item_id \
                 LEFT JOIN item_state ON item_state.item_id = waiting.item_id \
                 WHERE NOT queue.deleted \
                 AND (waiting.rank <> item.priority + CASE WHEN item.due_date IS NULL THEN 3 ELSE 0 END \
                 OR waiting.touched <> (item_state.item_id IS NOT NULL))"
            ),
        ),
        invariant(
            "items-to-review-are-listed",
            "items that failed, were abandoned, retried or deleted are missing in lists of them, or are listed as they are not",
            format!(
                "SELECT item_id AS id FROM ({}(item_state.status = 2 OR item_state.status > 3) \
                 AND item_state.queue_id NOT IN (SELECT id FROM queue WHERE deleted) \
                 EXCEPT SELECT {} FROM item_review) AS missing",
                review::rows::<D>(),
                review::COLUMNS
            ),
        ),
        invariant(
            "only-items-to-review-are-listed",
            "items are listed as failed, abandoned, retried or deleted that are not, or as they are not",
            format!(
                "SELECT item_id AS id FROM (SELECT {} FROM item_review \
                 WHERE queue_id NOT IN (SELECT id FROM queue WHERE deleted) \
                 EXCEPT {}(item_state.status = 2 OR item_state.status > 3)) AS listed",
                review::COLUMNS,
                review::rows::<D>()
            ),
        ),
        invariant(
            "statistics-count-the-items",
            "queues (by their ids) have other numbers of items than their statistics say",
            statistics(),
        ),
        invariant(
            "reasons-count-their-open-items",
            "groups of failures (by their numbers) have other numbers of open items than they say",
            format!(
                "SELECT reason.id FROM {counted} AS reason \
                 LEFT JOIN (SELECT reason_id, count(*) AS items FROM item_exception \
                 JOIN item_state ON item_state.item_id = item_exception.item_id \
                 WHERE reason_id IS NOT NULL AND status = 2 AND review_status IN ({}) GROUP BY reason_id) AS found \
                 ON found.reason_id = reason.id JOIN queue ON queue.id = reason.queue_id \
                 WHERE NOT queue.deleted AND reason.open <> coalesce(found.items, 0)",
                reviews.join(", ")
            ),
        ),
        invariant(
            "ended-jobs-hold-nothing",
            "items are InProgress that jobs hold which have ended: they are not abandoned",
            "SELECT item_state.item_id AS id FROM item_state JOIN job ON job.number = item_state.holder \
             JOIN queue ON queue.id = item_state.queue_id \
             WHERE NOT queue.deleted AND item_state.status = 1 AND job.end_time IS NOT NULL"
                .to_owned(),
        ),
        invariant(
            "references-are-unique",
            "items share a reference with another item, in a queue that accepts each reference once",
            "SELECT min(item.id) AS id FROM item JOIN queue ON queue.id = item.queue_id \
             WHERE NOT queue.deleted AND queue.enforce_unique_reference AND item.holds_reference \
             AND item.reference IS NOT NULL GROUP BY item.queue_id, item.reference HAVING count(*) > 1"
                .to_owned(),
        ),
        invariant(
            "groups-keep-their-limit",
            "groups (by the first of their items) have ready items beyond their limit",
            groups::<D>("count(place) > slots.most AND count(place) > sum(CASE WHEN status = 1 THEN 1 ELSE 0 END)"),
        ),
        invariant(
            "groups-use-their-slots",
            "groups (by the first of their items) have items that wait for each other, and fewer ready ones than they may have",
            groups::<D>("count(place) < count(*) AND count(place) < coalesce(slots.most, count(*))"),
        ),
        invariant(
            "slots-are-held-by-ready-items",
            "items hold a slot of their group that are neither ready nor InProgress: others of the group wait for nothing",
            "SELECT item_grouped.item_id AS id FROM item_grouped JOIN queue ON queue.id = item_grouped.queue_id \
             LEFT JOIN item_state ON item_state.item_id = item_grouped.item_id \
             LEFT JOIN item_ready ON item_ready.queue_id = item_grouped.queue_id AND item_ready.rank = item_grouped.rank \
             AND item_ready.due_date = item_grouped.place AND item_ready.item_id = item_grouped.item_id \
             WHERE NOT queue.deleted AND place IS NOT NULL AND item_ready.item_id IS NULL \
             AND coalesce(item_state.status, 0) <> 1"
                .to_owned(),
        ),
        invariant("rows-belong-to-items", "rows are there of items that are not", orphans.join(" UNION ALL ")),
        invariant(
            "assets-are-in-folders",
            "assets are in no folder, where nobody finds them, or folders and secrets are there of assets that are not",
            "SELECT id FROM asset WHERE NOT EXISTS (SELECT 1 FROM asset_folder WHERE asset_id = asset.id) \
             UNION ALL SELECT asset_id AS id FROM asset_folder WHERE NOT EXISTS (SELECT 1 FROM asset WHERE asset.id = asset_id) \
             UNION ALL SELECT asset_id AS id FROM asset_secret WHERE NOT EXISTS (SELECT 1 FROM asset WHERE asset.id = asset_id)"
                .to_owned(),
        ),
        invariant(
            "buckets-are-in-folders",
            "buckets are in no folder, where nobody finds them, or folders are there of buckets that are not",
            "SELECT id FROM bucket WHERE NOT EXISTS (SELECT 1 FROM bucket_folder WHERE bucket_id = bucket.id) \
             UNION ALL SELECT bucket_id AS id FROM bucket_folder WHERE NOT EXISTS (SELECT 1 FROM bucket WHERE bucket.id = bucket_id)"
                .to_owned(),
        ),
    ]
}

/// The first items of groups, of which a condition holds. `slots.most` is the limit of a group; null: it has none.
fn groups<D: Dialect>(condition: &str) -> String {
    let limit = D::json_number("limits", "maxInProgressPerGroup");
    format!(
        "SELECT min(item_grouped.item_id) AS id FROM item_grouped \
         JOIN (SELECT id, {limit} AS most FROM queue WHERE NOT deleted) AS slots ON slots.id = item_grouped.queue_id \
         LEFT JOIN item_state ON item_state.item_id = item_grouped.item_id \
         WHERE group_name <> '' GROUP BY item_grouped.queue_id, group_name, slots.most HAVING {condition}"
    )
}

/// The numbers of a queue, counted and as they are kept.
fn statistics() -> String {
    // The columns, and the statuses that each counts.
    const COUNTED: [(&str, &str, u8); 7] = [
        ("new", "new", 0),
        ("in_progress", "in_progress", 1),
        ("failed", "business_exceptions + application_exceptions", 2),
        ("successful", "successful", 3),
        ("abandoned", "abandoned", 4),
        ("retried", "retried", 5),
        ("deleted", "deleted", 6),
    ];
    let list = |each: &dyn Fn(&(&str, &str, u8)) -> String, between: &str| {
        COUNTED.iter().map(each).collect::<Vec<_>>().join(between)
    };
    let kept = list(&|(name, sum, _)| format!("sum({sum}) AS n_{name}"), ", ");
    let found = list(
        &|(name, _, status)| {
            format!("sum(CASE WHEN coalesce(status, 0) = {status} THEN 1 ELSE 0 END) AS n_{name}")
        },
        ", ",
    );
    let differs =
        list(&|(name, ..)| format!("coalesce(kept.n_{name}, 0) <> coalesce(found.n_{name}, 0)"), " OR ");
    format!(
        "SELECT queue.id FROM queue \
         LEFT JOIN (SELECT queue_id, {kept} FROM queue_statistics GROUP BY queue_id) AS kept ON kept.queue_id = queue.id \
         LEFT JOIN (SELECT item.queue_id, {found} FROM item LEFT JOIN item_state ON item_state.item_id = item.id \
         GROUP BY item.queue_id) AS found ON found.queue_id = queue.id \
         WHERE NOT queue.deleted AND ({differs})"
    )
}

/// How many ids a violation names.
const NAMED: usize = 5;

/// What does not hold, of these.
pub(crate) fn violations<E: Engine>(engine: &mut E, invariants: &[Invariant]) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for Invariant { name, problem, rows } in invariants {
        let counted = format!("SELECT count(*) FROM ({rows}) AS rows_found");
        let count = engine.read_number(&counted, &Values::default())?.unwrap_or(0);
        if count > 0 {
            let first = format!("SELECT id FROM ({rows}) AS rows_found ORDER BY id LIMIT {NAMED}");
            let ids = engine.read(&first, &Values::default(), |row| row.number(0))?;
            let count = u64::try_from(count).unwrap_or(0);
            found.push(Violation::new(name, *problem).of_rows(count, ids));
        }
    }
    Ok(found)
}
