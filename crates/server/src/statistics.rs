//! Statistics of queues, and the retention of their items (orchestrator-api 11).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::shared_resources::reach;
use super::{queues, strict};
use performer_core::model::key::QueueId;
use performer_core::model::queue::{QueueDefinition, QueuePolicy};
use performer_core::model::statistics::{Ended, QueueStatistics};
use performer_store::QueueSelector;
use performer_wire::ApiTime;
use performer_wire::odata::entity_set;
use performer_wire::queue::RetentionType;
use performer_wire::requests::{RetentionRequest, days_of};
use performer_wire::responses;
use performer_wire::transaction::known_value;

type HandlerResult = Result<ApiResponse, ApiError>;

/// Statistics over all attempts need a scan, so they are cached for a minute. The vendor's are not current either.
const CACHE_LIFETIME: Duration = Duration::from_secs(60);

/// The last statistics over all attempts, and when they were read.
#[derive(Default)]
pub(super) struct StatisticsCache(Mutex<Option<(Duration, std::sync::Arc<[Ended]>)>>);

impl StatisticsCache {
    async fn all(&self, call: &Call) -> Result<std::sync::Arc<[Ended]>, ApiError> {
        let now = call.server.elapsed();
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, figures)) = cached
            && now < at + CACHE_LIFETIME
        {
            return Ok(figures);
        }
        let ended = call.server.store.ended_attempts(None, Timestamp::UNIX_EPOCH).await?;
        let figures: std::sync::Arc<[Ended]> = ended.into();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, figures.clone()));
        Ok(figures)
    }
}

async fn statistics(call: &Call, queue: &QueueDefinition) -> Result<QueueStatistics, ApiError> {
    let folder = queues::display_folder(call, queue);
    Ok(call.store_in(folder).statistics_of(QueueSelector::Id(queue.id)).await?)
}

/// Numbers of waiting and running items are current; the rest is up to a minute old.
pub(super) async fn processing_status(call: &Call) -> HandlerResult {
    let ended = call.server.statistics.all(call).await?;
    let mut rows = Vec::new();
    for queue in queues::in_call_folders(call).await? {
        let statistics = statistics(call, &queue).await?;
        rows.push(responses::processing_status(&queue, &statistics, &ended));
    }
    call.page(&entity_set::STATUSES_OF_QUEUES, rows)
}

/// The last hour by minute, the last day by hour, or several days by day.
pub(super) async fn last_days(call: &Call) -> HandlerResult {
    let days: i64 = call.argument_as("daysNo")?;
    if !(0..=366).contains(&days) {
        return Err(ApiError::invalid_argument("Invalid argument 'daysNo': it is between 0 and 366."));
    }
    let queue = queues::by_id(call, call.argument_as("queueDefinitionId")?).await?;
    let (report, minutes) = match days {
        0 => ("Minute", 1),
        1 => ("Hour", 60),
        _ => ("Day", 24 * 60),
    };
    let span = if days == 0 {
        Duration::from_secs(3_600)
    } else {
        Duration::from_secs(days.unsigned_abs() * 86_400)
    };
    let since = call.server.now().checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH);
    let ended = call.store_for_caller().ended_attempts(Some(queue.id), since).await?;
    let statistics = statistics(call, &queue).await?;
    let mut intervals: BTreeMap<i64, Vec<&Ended>> = BTreeMap::new();
    for row in &ended {
        intervals.entry(row.minute.div_euclid(minutes)).or_default().push(row);
    }
    let record = |(interval, ended): (i64, Vec<&Ended>)| {
        let at = Timestamp::from_second(interval * minutes * 60).unwrap_or(Timestamp::UNIX_EPOCH);
        responses::processing_record(&queue, &statistics, &ended, ApiTime(at), report)
    };
    call.page(&entity_set::RECORDS, intervals.into_iter().map(record).collect())
}

// Retention

pub(super) async fn list_retention(call: &Call) -> HandlerResult {
    let queues = queues::in_call_folders(call).await?;
    let both = |queue: &QueueDefinition| {
        RetentionType::ALL.iter().map(|kind| responses::retention(queue, *kind)).collect::<Vec<Value>>()
    };
    call.page(&entity_set::RETENTION, queues.iter().flat_map(both).collect())
}

fn retention_type(call: &Call) -> Result<RetentionType, ApiError> {
    match call.optional_argument("retentionType") {
        None | Some("") => Ok(RetentionType::Final),
        Some(_) => call.argument_as("retentionType"),
    }
}

pub(super) async fn get_retention(call: &Call) -> HandlerResult {
    let queue = queues::by_id(call, call.id()?).await?;
    call.entity("QueueRetention", responses::retention(&queue, retention_type(call)?))
}

pub(super) async fn set_retention(call: &Call) -> HandlerResult {
    let body: RetentionRequest = call.body(&strict::RETENTION)?;
    let kind = match &body.retention_type {
        Some(kind) => known_value("Type", kind)?,
        None => retention_type(call)?,
    };
    let days = days_of(body.action.as_ref(), body.period)?;
    update_policy(call, |policy| *retention_days_mut(policy, kind) = days).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

/// Resets the retention to the default.
pub(super) async fn reset_retention(call: &Call) -> HandlerResult {
    let kind = retention_type(call)?;
    let mut default = QueuePolicy::default();
    let days = *retention_days_mut(&mut default, kind);
    update_policy(call, |policy| *retention_days_mut(policy, kind) = days).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

fn retention_days_mut(policy: &mut QueuePolicy, kind: RetentionType) -> &mut u32 {
    match kind {
        RetentionType::Final => &mut policy.retention_days,
        RetentionType::Stale => &mut policy.stale_retention_days,
    }
}

async fn update_policy(call: &Call, change: impl FnOnce(&mut QueuePolicy)) -> Result<(), ApiError> {
    let queue = queues::by_id(call, call.id()?).await?;
    let mut new = queue.settings();
    change(&mut new.policy);
    let which = QueueSelector::Id(QueueId(call.id()?));
    let reach = reach(call, queues::EDIT)?;
    call.store()?.update_queue_within(which, new, reach).await?;
    Ok(())
}
