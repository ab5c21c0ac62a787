//! Queue definitions and their retention (orchestrator-api 6 and 11).

use std::collections::HashMap;

use super::Inner;
use super::call::{Call, CallError};
use super::claim::processing_status;
use performer_core::model::key::QueueId;
use performer_core::model::queue::{NewQueueDefinition, QueueDefinition, QueuePolicy};
use performer_core::model::retry_delay::RetryDelay;
use performer_core::model::statistics::QueueBacklog;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_wire::EnumValue;
use performer_wire::queue::{
    QueueDefinitionDto, QueueProcessingStatusDto, QueueRetentionDto, RETRY_ABANDONED_ITEMS_SINCE, Retention,
    RetentionType,
};

const PATH: &str = "/odata/QueueDefinitions";

/// The maximum number of pages of queues, or of their retentions.
const MAX_PAGES: usize = 100;

impl Inner {
    pub(super) async fn make_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        queue.validate()?;
        self.check_supported(&queue.policy)?;
        let dto =
            QueueDefinitionDto::default().with_settings(&queue, self.http.version(), self.supports_leases());
        let made =
            match self.http.json::<QueueDefinitionDto>(Call::post("PostQueueDefinition", PATH, &dto)).await {
                Ok(made) => made,
                Err(CallError { error, maybe_executed: true }) => {
                    // Whether the call was executed or not: an existing queue with this name and these settings is a success.
                    let there = self.queue_dto(&queue.name).await.map_err(|_| error.clone())?;
                    if there.clone().with_settings(&queue, self.http.version(), self.supports_leases())
                        != there
                    {
                        return Err(error);
                    }
                    there
                }
                Err(failed) => return Err(failed.error),
            };
        let id = made.id.unwrap_or_default();
        self.set_retention(id, wanted(&queue.policy)).await?;
        let made = definition(made, wanted(&queue.policy))?;
        check_kept(&queue.policy, &made)?;
        Ok(made)
    }

    pub(super) async fn change_queue(
        &self,
        name: &str,
        queue: NewQueueDefinition,
    ) -> Result<QueueDefinition> {
        self.check_supported(&queue.policy)?;
        let there = self.queue_dto(name).await?;
        let id = there.id.unwrap_or_default();
        let retention = self.retention(id).await?;
        queue.validate_change_of(&definition(there.clone(), retention)?)?;
        let dto = there.with_settings(&queue, self.http.version(), self.supports_leases());
        self.http.done(Call::put("PutQueueDefinition", format!("{PATH}({id})"), &dto)).await?;
        self.set_retention(id, wanted(&queue.policy)).await?;
        self.forget_queue(name);
        let changed = self.read_queue(&queue.name).await?;
        check_kept(&queue.policy, &changed)?;
        Ok(changed)
    }

    pub(super) async fn remove_queue(&self, name: &str) -> Result<()> {
        let id = self.queue_dto(name).await?.id.unwrap_or_default();
        let deleted = self.http.done(Call::delete("DeleteQueueDefinition", format!("{PATH}({id})"))).await;
        self.forget_queue(name);
        match deleted {
            Ok(()) => Ok(()),
            Err(CallError { error, maybe_executed: true }) if error.is_not_found() => Ok(()),
            Err(failed) => Err(failed.error),
        }
    }

    pub(super) async fn read_queue(&self, name: &str) -> Result<QueueDefinition> {
        let dto = self.queue_dto(name).await?;
        let retention = self.retention(dto.id.unwrap_or_default()).await?;
        definition(dto, retention)
    }

    pub(super) async fn all_queues(&self) -> Result<Vec<QueueDefinition>> {
        let call = Call::get("GetQueueDefinitions", PATH).query("$orderby", "Name");
        let queues: Vec<QueueDefinitionDto> = self.http.rows(call, MAX_PAGES).await?;
        let retentions = self.retentions().await?;
        let of = |queue: &QueueDefinitionDto| {
            retentions.get(&queue.id.unwrap_or_default()).copied().unwrap_or_default()
        };
        queues
            .into_iter()
            .map(|queue| (of(&queue), queue))
            .map(|(retention, queue)| definition(queue, retention))
            .collect()
    }

    /// What is left to do in each queue, from figures that may be stale but are outside the rate limits (orchestrator-api 11).
    pub(super) async fn backlogs(&self) -> Result<Vec<QueueBacklog>> {
        let rows: Vec<QueueProcessingStatusDto> = self.http.rows(processing_status(), MAX_PAGES).await?;
        let backlog = |status: QueueProcessingStatusDto| {
            let (new, in_progress) = (status.items_to_process?, status.items_in_progress?);
            Some(QueueBacklog::new(QueueId(status.queue_definition_id?), new, in_progress))
        };
        Ok(rows.into_iter().filter_map(backlog).collect())
    }

    /// Refuses settings that the API does not have, instead of dropping them silently.
    fn check_supported(&self, policy: &QueuePolicy) -> Result<()> {
        let unsupported = |message: String| Err(OrchestratorError::new(ErrorKind::Unsupported, message));
        if policy.abandon_after != QueuePolicy::default().abandon_after && !self.supports_leases() {
            return unsupported(
                "the Orchestrator abandons items after about 24 hours; a queue cannot set another time"
                    .to_owned(),
            );
        }
        if policy.retry_delay != RetryDelay::None && !self.supports_leases() {
            return unsupported(
                "the Orchestrator has no retry delay of a queue (retry_delay): there, only the exception of an attempt can \
                 defer its retry (ApplicationException::retry_after)"
                    .to_owned(),
            );
        }
        match self.http.version() {
            Some(version) if version < RETRY_ABANDONED_ITEMS_SINCE && policy.retry_abandoned_items => {
                unsupported(format!(
                    "this Orchestrator (version {version} of the API) does not support RetryAbandonedItems, which requires version {RETRY_ABANDONED_ITEMS_SINCE}"
                ))
            }
            _ => Ok(()),
        }
    }

    async fn retention(&self, queue: i64) -> Result<Retention> {
        let mut retention = Retention::default();
        for kind in [RetentionType::Final, RetentionType::Stale] {
            if let Some(dto) = self.retention_of(queue, kind).await? {
                set_days(&mut retention, kind, &dto);
            }
        }
        Ok(retention)
    }

    /// `None` on servers without this feature, and for callers without the permission.
    async fn retention_of(&self, queue: i64, kind: RetentionType) -> Result<Option<QueueRetentionDto>> {
        let call = Call::get("GetQueueRetention", format!("/odata/QueueRetention({queue})"))
            .query("retentionType", kind.name());
        match self.http.json(call).await {
            Ok(dto) => Ok(Some(dto)),
            Err(CallError { error, .. }) if is_missing(&error) => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    async fn retentions(&self) -> Result<HashMap<i64, Retention>> {
        let call = Call::get("ListQueueRetention", "/odata/QueueRetention");
        let rows: Vec<QueueRetentionDto> = match self.http.rows(call, MAX_PAGES).await {
            Ok(rows) => rows,
            Err(CallError { error, .. }) if is_missing(&error) => Vec::new(),
            Err(failed) => return Err(failed.error),
        };
        let mut retentions: HashMap<i64, Retention> = HashMap::new();
        for dto in rows {
            let kind = dto.retention_type.as_ref().and_then(EnumValue::known).unwrap_or(RetentionType::Final);
            set_days(retentions.entry(dto.queue_definition_id).or_default(), kind, &dto);
        }
        Ok(retentions)
    }

    /// Changes the number of days until items are removed, but not whether they are archived.
    async fn set_retention(&self, queue: i64, wanted: Retention) -> Result<()> {
        let usual = Retention::default();
        for (kind, days, usual) in [
            (RetentionType::Final, wanted.final_days, usual.final_days),
            (RetentionType::Stale, wanted.stale_days, usual.stale_days),
        ] {
            let dto = match self.retention_of(queue, kind).await? {
                Some(there) if there.period == Some(days) => continue,
                Some(there) => {
                    QueueRetentionDto { period: Some(days), retention_type: Some(kind.into()), ..there }
                }
                None if days == usual => continue,
                None => {
                    let message =
                        format!("the retention of {kind} items cannot be read, so it cannot be changed");
                    return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
                }
            };
            let path = format!("/odata/QueueRetention({queue})");
            self.http.done(Call::put("PutQueueRetention", path, &dto)).await?;
        }
        Ok(())
    }
}

/// An older performer server reads over members that it does not know.
fn check_kept(wanted: &QueuePolicy, queue: &QueueDefinition) -> Result<()> {
    if wanted.retry_delay == queue.policy.retry_delay {
        return Ok(());
    }
    let message = format!(
        "this performer server has no retry delays (retry_delay): queue {:?} has the other settings, but its retries do not \
         wait; upgrade the server",
        queue.name
    );
    Err(OrchestratorError::new(ErrorKind::Unsupported, message))
}

fn wanted(policy: &QueuePolicy) -> Retention {
    Retention { final_days: policy.retention_days, stale_days: policy.stale_retention_days }
}

fn set_days(retention: &mut Retention, kind: RetentionType, dto: &QueueRetentionDto) {
    let Some(days) = dto.period else { return };
    match kind {
        RetentionType::Final => retention.final_days = days,
        RetentionType::Stale => retention.stale_days = days,
    }
}

fn is_missing(error: &OrchestratorError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Unauthorized | ErrorKind::Invalid
    )
}

fn definition(dto: QueueDefinitionDto, retention: Retention) -> Result<QueueDefinition> {
    dto.into_definition(retention)
        .map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))
}
