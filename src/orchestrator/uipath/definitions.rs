//! Queues, their settings and their retention (orchestrator-api 6 and 11).

use std::collections::HashMap;

use super::super::{ErrorKind, OrchestratorError, Result};
use super::Inner;
use super::call::Call;
use super::request::Failed;
use crate::model::queue::{NewQueueDefinition, QueueDefinition, QueuePolicy};
use crate::wire::EnumValue;
use crate::wire::queue::{
    QueueDefinitionDto, QueueRetentionDto, RETRY_ABANDONED_ITEMS_SINCE, Retention, RetentionType,
};

const PATH: &str = "/odata/QueueDefinitions";

/// The most pages of queues, or of their retentions, that are read.
const MOST_PAGES: usize = 100;

impl Inner {
    pub(super) async fn make_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        queue.validate()?;
        self.can_have(&queue.policy)?;
        let dto = QueueDefinitionDto::default().with_settings(&queue, self.http.version(), self.is_leased());
        let made =
            match self.http.json::<QueueDefinitionDto>(Call::post("PostQueueDefinition", PATH, &dto)).await {
                Ok(made) => made,
                Err(Failed { error, doubtful: true }) => {
                    // Made or not: a queue of this name with these settings is what was wanted.
                    let there = self.queue_dto(&queue.name).await.map_err(|_| error.clone())?;
                    if there.clone().with_settings(&queue, self.http.version(), self.is_leased()) != there {
                        return Err(error);
                    }
                    there
                }
                Err(failed) => return Err(failed.error),
            };
        let id = made.id.unwrap_or_default();
        self.set_retention(id, wanted(&queue.policy)).await?;
        definition(made, wanted(&queue.policy))
    }

    pub(super) async fn change_queue(
        &self,
        name: &str,
        queue: NewQueueDefinition,
    ) -> Result<QueueDefinition> {
        self.can_have(&queue.policy)?;
        let there = self.queue_dto(name).await?;
        let id = there.id.unwrap_or_default();
        let retention = self.retention(id).await?;
        queue.validate_change_of(&definition(there.clone(), retention)?)?;
        let dto = there.with_settings(&queue, self.http.version(), self.is_leased());
        self.http.done(Call::put("PutQueueDefinition", format!("{PATH}({id})"), &dto)).await?;
        self.set_retention(id, wanted(&queue.policy)).await?;
        self.forget_queue(name);
        self.read_queue(&queue.name).await
    }

    pub(super) async fn remove_queue(&self, name: &str) -> Result<()> {
        let id = self.queue_dto(name).await?.id.unwrap_or_default();
        self.forget_queue(name);
        match self.http.done(Call::delete("DeleteQueueDefinition", format!("{PATH}({id})"))).await {
            Ok(()) => Ok(()),
            Err(Failed { error, doubtful: true }) if error.is_not_found() => Ok(()),
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
        let queues: Vec<QueueDefinitionDto> = self.http.rows(call, MOST_PAGES).await?;
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

    /// What the API cannot keep is refused, and not dropped in silence.
    fn can_have(&self, policy: &QueuePolicy) -> Result<()> {
        let unsupported = |message: String| Err(OrchestratorError::new(ErrorKind::Unsupported, message));
        if policy.abandon_after != QueuePolicy::default().abandon_after && !self.is_leased() {
            return unsupported("the Orchestrator abandons items after its own time, about 24 hours; a queue cannot have another".to_owned());
        }
        match self.http.version() {
            Some(version) if version < RETRY_ABANDONED_ITEMS_SINCE && policy.retry_abandoned_items => {
                unsupported(format!(
                    "this Orchestrator (version {version} of the API) does not know RetryAbandonedItems; it came with version {RETRY_ABANDONED_ITEMS_SINCE}"
                ))
            }
            _ => Ok(()),
        }
    }

    async fn retention(&self, queue: i64) -> Result<Retention> {
        let mut retention = Retention::default();
        for kind in [RetentionType::Final, RetentionType::Stale] {
            if let Some(dto) = self.retention_of(queue, kind).await? {
                note(&mut retention, kind, &dto);
            }
        }
        Ok(retention)
    }

    /// `None` on servers of before the feature, and for callers that may not look.
    async fn retention_of(&self, queue: i64, kind: RetentionType) -> Result<Option<QueueRetentionDto>> {
        let call = Call::get("GetQueueRetention", format!("/odata/QueueRetention({queue})"))
            .query("retentionType", kind.name());
        match self.http.json(call).await {
            Ok(dto) => Ok(Some(dto)),
            Err(Failed { error, .. }) if is_missing(&error) => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    async fn retentions(&self) -> Result<HashMap<i64, Retention>> {
        let call = Call::get("ListQueueRetention", "/odata/QueueRetention");
        let rows: Vec<QueueRetentionDto> = match self.http.rows(call, MOST_PAGES).await {
            Ok(rows) => rows,
            Err(Failed { error, .. }) if is_missing(&error) => Vec::new(),
            Err(failed) => return Err(failed.error),
        };
        let mut retentions: HashMap<i64, Retention> = HashMap::new();
        for dto in rows {
            let kind = dto.retention_type.as_ref().and_then(EnumValue::known).unwrap_or(RetentionType::Final);
            note(retentions.entry(dto.queue_definition_id).or_default(), kind, &dto);
        }
        Ok(retentions)
    }

    /// Changes after how many days items go, and nothing else: what is archived stays archived.
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
                        format!("the retention of {kind} items cannot be read, and so it cannot be changed");
                    return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
                }
            };
            let path = format!("/odata/QueueRetention({queue})");
            self.http.done(Call::put("PutQueueRetention", path, &dto)).await?;
        }
        Ok(())
    }
}

fn wanted(policy: &QueuePolicy) -> Retention {
    Retention { final_days: policy.retention_days, stale_days: policy.stale_retention_days }
}

fn note(retention: &mut Retention, kind: RetentionType, dto: &QueueRetentionDto) {
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
