//! A list of items as a file: CSV for spreadsheets, JSON for programs.

use super::call::{DeskCall, FolderQueue};
use super::items;
use super::reply::Reply;
use crate::api_error::ApiError;
use performer_core::model::cursor::PageCursor;
use performer_core::model::item::{PAGE_LIMIT, Page, QueueItem};

/// The most items of a file, and its largest size in bytes but for its last page. A longer list is read on with `after`.
const MAX_ITEMS: usize = 10_000;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The memory that a file is expected to need, in bytes: its text, which grows by doubling.
pub(super) const MEMORY: usize = 2 * MAX_BYTES;

/// The columns of a CSV file.
const COLUMNS: [&str; 17] = [
    "Id",
    "Queue",
    "Status",
    "ReviewStatus",
    "Reviewer",
    "Reference",
    "Priority",
    "RetryNumber",
    "CreationTime",
    "StartProcessing",
    "EndProcessing",
    "DueDate",
    "DeferDate",
    "ExceptionType",
    "ExceptionReason",
    "SpecificContent",
    "Output",
];

/// Writes the items of the filter page by page, up to [`MAX_ITEMS`] and [`MAX_BYTES`]. Returns where the rest begins.
async fn write_all(
    call: &DeskCall,
    queues: &[FolderQueue],
    text: &mut String,
    mut write: impl FnMut(&mut String, &QueueItem) -> Result<(), ApiError>,
) -> Result<Option<PageCursor>, ApiError> {
    let query = items::query_of(call)?;
    let filter = items::filter(call, &query, queues)?;
    let (mut count, mut after) = (0, query.after.clone());
    while count < MAX_ITEMS && text.len() < MAX_BYTES {
        let page = Page::first(PAGE_LIMIT).after(after).descending(true).count_limit(0);
        let (items, _) = items::read(call, filter.clone(), page).await?;
        items.iter().try_for_each(|item| write(text, item))?;
        if items.len() < PAGE_LIMIT {
            return Ok(None);
        }
        count += items.len();
        after = items.last().map(|last| PageCursor::behind(last, &filter.order));
    }
    Ok(after)
}

pub(super) async fn csv(call: &DeskCall) -> Result<Reply, ApiError> {
    let queues = call.queues().await?;
    let mut text = COLUMNS.join(",") + "\r\n";
    let next = write_all(call, &queues, &mut text, |text, item| {
        let cells: Vec<String> = cells(call, item, &queues)?.iter().map(|text| cell(text)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
        Ok(())
    });
    let next = next.await?;
    let reply = Reply::download("text/csv; charset=utf-8", "items.csv", text.into_bytes());
    Ok(with_next(reply, next))
}

/// A file that ends before its list does says where the rest begins.
fn with_next(reply: Reply, next: Option<PageCursor>) -> Reply {
    const NEXT: &str = "x-performer-next";
    let name = axum::http::HeaderName::from_static(NEXT);
    next.into_iter().fold(reply, |reply, next| reply.header(name.clone(), &next.to_string()))
}

fn cells(call: &DeskCall, item: &QueueItem, queues: &[FolderQueue]) -> Result<[String; 17], ApiError> {
    let directory = call.directory()?;
    let time = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let queue = queues.iter().find(|queue| queue.queue.id == item.queue_id);
    let reviewer = item.reviewer_user_id.and_then(|id| directory.user(id));
    let exception = item.processing_exception.as_ref();
    Ok([
        item.id.to_string(),
        queue.map(|queue| queue.queue.name.clone()).unwrap_or_default(),
        item.status.to_string(),
        item.review_status.to_string(),
        reviewer.map(|user| user.user_name.clone()).unwrap_or_default(),
        item.reference.clone().unwrap_or_default(),
        item.priority.to_string(),
        item.retry_number.to_string(),
        time(Some(item.creation_time)),
        time(item.start_processing),
        time(item.end_processing),
        time(item.due_date),
        time(item.defer_date),
        exception.map(|exception| exception.exception_type.to_string()).unwrap_or_default(),
        exception.map(|exception| exception.reason.clone()).unwrap_or_default(),
        item.specific_content.as_json().to_owned(),
        item.output.as_ref().map(|output| output.as_json().to_owned()).unwrap_or_default(),
    ])
}

/// A cell. One that a spreadsheet would run as a formula begins with an apostrophe.
pub(super) fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if guard.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        return text.to_owned();
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

pub(super) async fn json(call: &DeskCall) -> Result<Reply, ApiError> {
    let failed = |error: serde_json::Error| ApiError::internal(error.to_string());
    let mut text = "{\"value\":[".to_owned();
    let (queues, mut comma) = (call.queues().await?, "");
    let next = write_all(call, &queues, &mut text, |text, item| {
        text.push_str(std::mem::replace(&mut comma, ","));
        text.push_str(&serde_json::to_string(item).map_err(failed)?);
        Ok(())
    });
    let next = next.await?;
    let next_text = serde_json::to_string(&next.as_ref().map(ToString::to_string)).map_err(failed)?;
    text.push_str(&format!("],\"next\":{next_text}}}"));
    Ok(with_next(Reply::json(text.into_bytes()), next))
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_spreadsheet_runs_no_cell() {
        for (text, written) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"\r\n", "\"say \"\"x\"\"\r\n\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("-1", "\"'-1\""),
            ("@x", "\"'@x\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
