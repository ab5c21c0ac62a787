//! Figures of queues, and how long their items are kept (orchestrator-api 11).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::call::{Answer, Call};
use super::failure::Failure;
use super::{queues, strict};
use crate::model::key::QueueId;
use crate::model::queue::{NewQueueDefinition, QueueDefinition, QueuePolicy};
use crate::model::statistics::{Ended, QueueStatistics};
use crate::orchestrator::store::backend::{Operation, Query, QueueSelector};
use crate::orchestrator::store::expect_answer;
use crate::wire::Instant;
use crate::wire::asked::{RetentionRequest, days_of};
use crate::wire::odata::set;
use crate::wire::queue::RetentionType;
use crate::wire::served;
use crate::wire::transaction::known;

type Reply = Result<Answer, Failure>;

/// Figures over all attempts take a walk along all of them. So they are a minute old, as the vendor's are.
const FIGURES_FOR: Duration = Duration::from_secs(60);

/// The last figures over all attempts, and when they were made.
#[derive(Default)]
pub(super) struct Figures(Mutex<Option<(Duration, std::sync::Arc<[Ended]>)>>);

impl Figures {
    async fn all(&self, call: &Call) -> Result<std::sync::Arc<[Ended]>, Failure> {
        let now = call.server.elapsed();
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, figures)) = kept
            && now < at + FIGURES_FOR
        {
            return Ok(figures);
        }
        let query = Query::Ended { queue: None, since: Timestamp::UNIX_EPOCH };
        let ended: Vec<Ended> = expect_answer!(call.server.store.read(query).await, Ended)?;
        let figures: std::sync::Arc<[Ended]> = ended.into();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, figures.clone()));
        Ok(figures)
    }
}

async fn statistics(call: &Call, queue: &QueueDefinition) -> Result<QueueStatistics, Failure> {
    let folder = queues::shown_in(call, queue);
    let query = Query::Statistics(QueueSelector::Id(queue.id));
    Ok(expect_answer!(call.store_in(folder).read(query).await, Statistics)?)
}

/// What waits and what runs is told as it is; the rest is up to a minute old.
pub(super) async fn processing_status(call: &Call) -> Reply {
    let ended = call.server.figures.all(call).await?;
    let mut rows = Vec::new();
    for queue in queues::of_call(call).await? {
        let statistics = statistics(call, &queue).await?;
        rows.push(served::processing_status(&queue, &statistics, &ended));
    }
    call.page(&set::STATUSES_OF_QUEUES, rows)
}

/// The last hour by minutes, the last day by hours, or more days by days.
pub(super) async fn last_days(call: &Call) -> Reply {
    let days: i64 = call.argument_as("daysNo")?;
    if !(0..=366).contains(&days) {
        return Err(Failure::argument("Invalid argument 'daysNo': it is between 0 and 366."));
    }
    let queue = queues::with_id(call, call.argument_as("queueDefinitionId")?).await?;
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
    let query = Query::Ended { queue: Some(queue.id), since };
    let ended: Vec<Ended> = expect_answer!(call.store_of_all().read(query).await, Ended)?;
    let statistics = statistics(call, &queue).await?;
    let mut stretches: BTreeMap<i64, Vec<&Ended>> = BTreeMap::new();
    for row in &ended {
        stretches.entry(row.minute.div_euclid(minutes)).or_default().push(row);
    }
    let record = |(stretch, ended): (i64, Vec<&Ended>)| {
        let at = Timestamp::from_second(stretch * minutes * 60).unwrap_or(Timestamp::UNIX_EPOCH);
        served::processing_record(&queue, &statistics, &ended, Instant(at), report)
    };
    call.page(&set::RECORDS, stretches.into_iter().map(record).collect())
}

// Retention

pub(super) async fn list_retention(call: &Call) -> Reply {
    let queues = queues::of_call(call).await?;
    let both = |queue: &QueueDefinition| {
        RetentionType::ALL.iter().map(|kind| served::retention(queue, *kind)).collect::<Vec<Value>>()
    };
    call.page(&set::RETENTION, queues.iter().flat_map(both).collect())
}

fn kind_of(call: &Call) -> Result<RetentionType, Failure> {
    match call.optional("retentionType") {
        None | Some("") => Ok(RetentionType::Final),
        Some(_) => call.argument_as("retentionType"),
    }
}

pub(super) async fn get_retention(call: &Call) -> Reply {
    let queue = queues::with_id(call, call.id()?).await?;
    call.entity("QueueRetention", served::retention(&queue, kind_of(call)?))
}

pub(super) async fn set_retention(call: &Call) -> Reply {
    let body: RetentionRequest = call.body(&strict::RETENTION)?;
    let kind = match &body.retention_type {
        Some(kind) => known("Type", kind)?,
        None => kind_of(call)?,
    };
    let days = days_of(body.action.as_ref(), body.period)?;
    write(call, |policy| *days_in(policy, kind) = days).await?;
    Ok(Answer::empty(StatusCode::OK))
}

/// The default again.
pub(super) async fn reset_retention(call: &Call) -> Reply {
    let kind = kind_of(call)?;
    let mut default = QueuePolicy::default();
    let days = *days_in(&mut default, kind);
    write(call, |policy| *days_in(policy, kind) = days).await?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

fn days_in(policy: &mut QueuePolicy, kind: RetentionType) -> &mut u32 {
    match kind {
        RetentionType::Final => &mut policy.retention_days,
        RetentionType::Stale => &mut policy.stale_retention_days,
    }
}

async fn write(call: &Call, change: impl FnOnce(&mut QueuePolicy)) -> Result<(), Failure> {
    let queue = queues::with_id(call, call.id()?).await?;
    let QueueDefinition { name, description, mut policy, schemas, notes, .. } = queue;
    change(&mut policy);
    let new = NewQueueDefinition { name, description, policy, schemas, notes };
    let which = QueueSelector::Id(QueueId(call.id()?));
    let reach = queues::reach(call, queues::EDIT)?;
    call.store()?.one(Operation::UpdateQueue { which, queue: Box::new(new), reach }).await?;
    Ok(())
}
