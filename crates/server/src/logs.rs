//! Robot logs (orchestrator-api 16): what programs submit, and lists of it.

use std::collections::HashMap;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::api_error::ApiError;
use super::call::{ApiResponse, Call, FolderSelection, MAX_ROWS};
use super::strict;
use performer_core::model::key::{FolderId, JobKey};
use performer_core::model::log::{LogFilter, LogLevel, MAX_LINES_ADDED};
use performer_core::model::query::Comparison;
use performer_core::orchestrator::ErrorKind;
use performer_store::JobFilter;
use performer_wire::odata::{Expression, Literal, OrderBy, Paging, QueryOptions, entity_set};
use performer_wire::requests::{SubmittedLine, submitted_line};
use performer_wire::responses;

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "RobotLogs";
/// How many lines are read from the store at once.
const AT_ONCE: usize = 1_000;
/// The most lines that are looked at for one page.
const MOST_LOOKED_AT: usize = 100_000;
/// About how many bytes a line is.
const LINE_BYTES: usize = 2 * 1024;
/// The resolution of times in a store.
const MICROSECOND: SignedDuration = SignedDuration::from_micros(1);

pub(super) async fn submit(call: &Call) -> HandlerResult {
    let entries: Vec<String> = call.body(&strict::LOGS)?;
    if entries.is_empty() {
        return Err(ApiError::invalid_argument("Invalid argument 'logs': it has no entries."));
    }
    Call::check_length("logs", entries.len(), MAX_LINES_ADDED)?;
    add(call, entries).await
}

pub(super) async fn submit_one(call: &Call) -> HandlerResult {
    let entry: Map<String, Value> = call.body(&strict::LOGS)?;
    add(call, vec![Value::Object(entry).to_string()]).await
}

async fn add(call: &Call, entries: Vec<String>) -> HandlerResult {
    let now = call.server.now();
    let mut lines = Vec::with_capacity(entries.len());
    for (at, entry) in entries.into_iter().enumerate() {
        lines.push(submitted_line(entry, now).map_err(|refusal| {
            ApiError::invalid_argument(format!("Invalid argument 'logs': entry {}: {refusal}.", at + 1))
        })?);
    }
    let jobs = folders_of_jobs(call, &lines).await?;
    let folders = call.all_folders();
    let first = *folders.first().ok_or_else(ApiError::no_folder_given)?;
    let lines = lines.into_iter().map(|SubmittedLine { mut line, folder }| {
        let named = folder.or_else(|| jobs.get(&line.job?).copied());
        // The folder of the call, if there is one; else the one that the line or its job names.
        line.folder = named.filter(|folder| folders.contains(folder)).unwrap_or(first);
        line
    });
    match call.store_for_caller().add_log_lines(lines.collect()).await {
        Ok(()) => Ok(ApiResponse::empty(StatusCode::OK)),
        // As it is documented for logs that come too quickly.
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            let mut busy = ApiError::new(StatusCode::REQUEST_TIMEOUT, 0, "Too many logs are being written.");
            (busy.retry_after, busy.cause) = (Some(1), Some(error.to_string()));
            Err(busy)
        }
        Err(error) => Err(error.into()),
    }
}

/// The folders of the jobs that wrote lines, if the caller named none.
async fn folders_of_jobs(
    call: &Call,
    lines: &[SubmittedLine],
) -> Result<HashMap<JobKey, FolderId>, ApiError> {
    let FolderSelection::Several(folders) = &call.folders else { return Ok(HashMap::new()) };
    let mut jobs: Vec<JobKey> = lines.iter().filter_map(|submitted| submitted.line.job).collect();
    jobs.sort_unstable();
    jobs.dedup();
    if jobs.is_empty() {
        return Ok(HashMap::new());
    }
    let mut filter = JobFilter::in_folders(folders.clone());
    filter.keys = Some(jobs);
    let jobs = call.store_for_caller().jobs_in_folders(filter).await?;
    Ok(jobs.into_iter().map(|job| (job.key, job.folder)).collect())
}

pub(super) async fn list(call: &Call) -> HandlerResult {
    let (rows, count) = find(call, &call.options()?).await?;
    call.collection(ENTITY, rows, count)
}

pub(super) async fn total_count(call: &Call) -> HandlerResult {
    let (_, count) = find(call, &call.options()?.of_count()).await?;
    let body = json!({ "value": count });
    ApiResponse::ok(&responses::with_context(&call.context("Edm.Int64"), &body))
}

/// The lines that options ask for, and how many there are in all if they ask for that. The store walks through the lines by their
/// times, and counts what it can say of them.
async fn find(call: &Call, options: &QueryOptions) -> Result<(Vec<Value>, Option<u64>), ApiError> {
    let checked = Paging::new(options, &entity_set::LOGS, MAX_ROWS)?;
    let mut filter = LogFilter::default();
    (filter.folders, filter.limit) = (Some(call.all_folders().to_vec()), AT_ONCE);
    let is_exact = checked.filter().is_none_or(|expression| narrow(expression, &mut filter));
    let store = call.store_for_caller();
    let mut walked = options.clone();
    if let Some(descending) = by_time(&options.order) {
        filter.descending = descending;
        walked.order.clear();
    }
    let mut counted = None;
    if options.count && is_exact {
        counted = Some(store.count_log_lines(filter.clone()).await?);
        walked.count = false;
    }
    let mut paging = Paging::new(&walked, &entity_set::LOGS, MAX_ROWS)?;
    let mut memory = call.reserve_memory(AT_ONCE * LINE_BYTES)?;
    let mut looked_at = 0;
    while !paging.is_complete() {
        if looked_at >= MOST_LOOKED_AT {
            return Err(too_many());
        }
        let lines = store.log_lines(filter.clone()).await?;
        lines.iter().try_for_each(|line| paging.add(responses::log_line(line)))?;
        looked_at += lines.len();
        let held = (AT_ONCE + paging.kept()) * LINE_BYTES;
        if !memory.grow(held.saturating_sub(memory.bytes())) {
            return Err(ApiError::unavailable());
        }
        match lines.last() {
            Some(last) if lines.len() == AT_ONCE => filter.after = Some((last.time, last.id)),
            _ => break,
        }
    }
    let (rows, count) = paging.finish()?;
    Ok((rows, counted.or(count)))
}

fn too_many() -> ApiError {
    ApiError::invalid(format!(
        "Invalid OData query options: more than {MOST_LOOKED_AT} lines would have to be looked at: narrow $filter by TimeStamp, \
         Level, JobKey or ProcessName."
    ))
}

/// Whether an order is that of the times, and whether the latest come first.
fn by_time(order: &[OrderBy]) -> Option<bool> {
    match order {
        [] => Some(false),
        [time] if time.property.eq_ignore_ascii_case("TimeStamp") => Some(time.descending),
        [time, id]
            if time.property.eq_ignore_ascii_case("TimeStamp")
                && id.property.eq_ignore_ascii_case("Id")
                && time.descending == id.descending =>
        {
            Some(time.descending)
        }
        _ => None,
    }
}

/// Narrows a filter by what an expression says of lines. Whether that is all that it says.
fn narrow(expression: &Expression, filter: &mut LogFilter) -> bool {
    let is = |path: &str, name: &str| path.eq_ignore_ascii_case(name);
    match expression {
        Expression::All(parts) => {
            // Each of them, also behind one that says more.
            let narrowed: Vec<bool> = parts.iter().map(|part| narrow(part, filter)).collect();
            narrowed.into_iter().all(|all| all)
        }
        Expression::Compare(operand, comparison, Literal::Time(at)) if is(&operand.path, "TimeStamp") => {
            narrow_time(*comparison, at.0, filter)
        }
        Expression::Compare(operand, Comparison::Equal, literal) => {
            narrow_value(&operand.path, std::slice::from_ref(literal), filter)
        }
        Expression::In(operand, literals) => narrow_value(&operand.path, literals, filter),
        _ => false,
    }
}

fn narrow_time(comparison: Comparison, at: Timestamp, filter: &mut LogFilter) -> bool {
    if at.subsec_nanosecond() % 1_000 != 0 {
        return false; // between two times that there can be
    }
    let Ok(next) = at.checked_add(MICROSECOND) else { return false };
    let (from, before) = match comparison {
        Comparison::Equal => (Some(at), Some(next)),
        Comparison::NotEqual => return false,
        Comparison::Less => (None, Some(at)),
        Comparison::LessOrEqual => (None, Some(next)),
        Comparison::Greater => (Some(next), None),
        Comparison::GreaterOrEqual => (Some(at), None),
    };
    filter.from = filter.from.max(from);
    filter.before = match (filter.before, before) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    true
}

/// A property has one of these values. What is said twice of the same property is left to who looks at each line.
fn narrow_value(path: &str, literals: &[Literal], filter: &mut LogFilter) -> bool {
    if path.eq_ignore_ascii_case("Level") && filter.levels.is_empty() {
        let level = |literal: &Literal| match literal {
            Literal::Text(name) => name.parse::<LogLevel>().ok(),
            _ => None,
        };
        let levels: Option<Vec<LogLevel>> = literals.iter().map(level).collect();
        filter.levels = levels.unwrap_or_default();
        return !filter.levels.is_empty();
    }
    if path.eq_ignore_ascii_case("JobKey") && filter.jobs.is_none() {
        let key = |literal: &Literal| match literal {
            Literal::Guid(guid) => Some(JobKey::from_bytes(guid.into_bytes())),
            _ => None,
        };
        filter.jobs = literals.iter().map(key).collect();
        return filter.jobs.is_some();
    }
    if path.eq_ignore_ascii_case("ProcessName")
        && filter.process.is_none()
        && let [Literal::Text(name)] = literals
        && !name.is_empty()
    {
        filter.process = Some(name.clone());
        return true;
    }
    false
}
