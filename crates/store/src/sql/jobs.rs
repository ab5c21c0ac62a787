//! The condition, order and limit of a list of jobs.

use super::super::jobs::JobFilter;
use super::dialect::{Dialect, Values};

/// What stands behind the table. Keys are looked up by the numbers that are parts of them, so further jobs may be found.
pub(crate) fn which<D: Dialect>(filter: &JobFilter, values: &mut Values) -> String {
    let mut among = |column: &str, numbers: Vec<i64>| D::among(column, &values.bind::<D>(numbers));
    let mut conditions = vec![among("folder_id", filter.folders.iter().map(|folder| folder.0).collect())];
    if let Some(ids) = &filter.ids {
        conditions.push(among("id", ids.iter().map(|id| id.0).collect()));
    }
    if let Some(keys) = &filter.keys {
        conditions.push(among("number", keys.iter().map(|key| key.number().0).collect()));
    }
    conditions.push(format!("id > {}", values.bind::<D>(filter.after.0)));
    format!("WHERE {} ORDER BY id LIMIT {}", conditions.join(" AND "), filter.limit)
}
