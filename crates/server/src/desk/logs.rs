//! What was logged about an item, or by a job.

use super::call::DeskCall;
use super::html::{self, Html};
use crate::api_error::ApiError;
use crate::permission::{Action, Area, Permission};
use performer_core::model::key::{FolderId, ItemId, JobKey};
use performer_core::model::log::{LogFilter, LogRecord};
use performer_wire::responses;

/// How many lines are shown: the newest.
const LINES: usize = 200;

const LOGS_VIEW: &[Permission] = &[Permission(Area::Logs, Action::View)];

/// A line of a log.
pub(super) struct LogRow {
    pub(super) time: Html,
    pub(super) level: &'static str,
    pub(super) robot: String,
    pub(super) message: String,
}

/// What was logged about an item, if the caller may see it.
pub(super) async fn of_item(
    call: &DeskCall,
    folder: FolderId,
    item: ItemId,
) -> Result<Vec<LogRow>, ApiError> {
    let mut filter = LogFilter::default();
    filter.item = Some(item);
    rows(call, folder, filter).await
}

/// What a job logged, if the caller may see it.
pub(super) async fn of_job(call: &DeskCall, folder: FolderId, job: JobKey) -> Result<Vec<LogRow>, ApiError> {
    let mut filter = LogFilter::default();
    filter.jobs = Some(vec![job]);
    rows(call, folder, filter).await
}

/// The newest lines, the oldest of them first.
async fn rows(call: &DeskCall, folder: FolderId, mut filter: LogFilter) -> Result<Vec<LogRow>, ApiError> {
    if call.is_remote() || !call.may(folder, LOGS_VIEW) {
        return Ok(Vec::new());
    }
    (filter.folders, filter.descending, filter.limit) = (Some(vec![folder]), true, LINES);
    let lines = call.store(folder).log_lines(filter).await?;
    Ok(lines.iter().rev().map(row).collect())
}

fn row(line: &LogRecord) -> LogRow {
    let shown = responses::log_line(line);
    let text = |name: &str, length| html::line(shown[name].as_str().unwrap_or_default(), length);
    LogRow {
        time: html::time(line.time),
        level: line.level.name(),
        robot: text("RobotName", 80),
        message: text("Message", 1_000),
    }
}
