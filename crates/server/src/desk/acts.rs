//! What people do with queues and jobs. Each form leads back to the page it came from.

use std::time::Duration;

use super::call::DeskCall;
use super::frame::note_cookie;
use super::reply::Reply;
use super::routes::CHANGE_QUEUES;
use super::{jobs, queue};
use crate::api_error::ApiError;
use performer_core::model::code::ErrorCode;
use performer_core::model::job::StopStrategy;
use performer_core::model::limits::{LimitsEdit, MaxStarts};
use performer_core::model::{FieldEdit, Refusal};
use performer_store::QueueSelector;

pub(super) async fn pause(call: &DeskCall) -> Result<Reply, ApiError> {
    edit(call, LimitsEdit::default().paused(true), "paused").await
}

pub(super) async fn resume(call: &DeskCall) -> Result<Reply, ApiError> {
    edit(call, LimitsEdit::default().paused(false), "resumed").await
}

/// Changes the limits of the queue, which is one queue in all its folders: the caller needs the permission in each.
async fn edit(call: &DeskCall, edit: LimitsEdit, note: &str) -> Result<Reply, ApiError> {
    let found = call.queue().await?;
    let reach = Some(call.folders_with(CHANGE_QUEUES)?);
    let which = QueueSelector::Id(found.queue.id);
    call.store(found.folder).edit_queue_limits_within(which, edit, reach).await?;
    Ok(Reply::see_other(&format!("/desk/queues/{}", found.queue.id)).cookie(&note_cookie(note, 0)))
}

/// Sets the limits of the form; a field that is empty removes its limit. Refused if they are not those that the reader saw.
pub(super) async fn limits(call: &DeskCall) -> Result<Reply, ApiError> {
    let found = call.queue().await?;
    if call.field("seen") != queue::limits_text(&found.queue.limits) {
        let message = "the limits have changed since the page was opened; nothing was done";
        return Err(Refusal::new(ErrorCode::OPTIMISTIC_CONCURRENCY, message).into());
    }
    let starts = match limit(call, "starts")? {
        None => FieldEdit::Clear,
        Some(count) => {
            let seconds = limit(call, "window")?.unwrap_or(60);
            FieldEdit::Set(MaxStarts { count, per: Duration::from_secs(seconds.into()) })
        }
    };
    let mut edit_of = LimitsEdit::default()
        .max_in_progress(FieldEdit::to(limit(call, "max-in-progress")?))
        .max_starts(starts);
    // A change of these costs time in proportion to the items that wait.
    let (per_group, fair) = (limit(call, "per-group")?, call.field("fair") == "1");
    if per_group != found.queue.limits.max_in_progress_per_group {
        edit_of = edit_of.max_in_progress_per_group(FieldEdit::to(per_group));
    }
    if fair != found.queue.limits.fair {
        edit_of = edit_of.fair(fair);
    }
    edit(call, edit_of, "limited").await
}

/// A limit of the form; `None` for an empty field.
fn limit(call: &DeskCall, name: &str) -> Result<Option<u32>, ApiError> {
    let text = call.field(name).trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| ApiError::invalid(format!("{name}: {text:?} is not a whole number."));
    text.parse().map(Some).map_err(wrong)
}

pub(super) async fn stop_job(call: &DeskCall) -> Result<Reply, ApiError> {
    stop(call, StopStrategy::SoftStop, "stopping").await
}

pub(super) async fn kill_job(call: &DeskCall) -> Result<Reply, ApiError> {
    stop(call, StopStrategy::Kill, "killing").await
}

async fn stop(call: &DeskCall, strategy: StopStrategy, note: &str) -> Result<Reply, ApiError> {
    let (job, folder) = jobs::find(call).await?;
    call.source(folder).stop_job(job.key, strategy).await?;
    Ok(Reply::see_other(&format!("/desk/jobs/{}", job.key)).cookie(&note_cookie(note, 0)))
}
