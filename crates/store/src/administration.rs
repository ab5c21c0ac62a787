//! The administration of a store: queues, items, reviews, comments, jobs.

use async_trait::async_trait;
use jiff::Timestamp;

use super::backend::{Operation, Query, expect_answer};
use super::{Store, done, named};
use performer_core::model::clock::Clock as _;
use performer_core::model::figures::{Figures, FiguresFilter};
use performer_core::model::history::ItemEvent;
use performer_core::model::item::{ItemEdit, ItemFilter, ItemPage, Page, QueueItem};
use performer_core::model::job::{Job, StopStrategy};
use performer_core::model::key::{ItemId, JobKey};
use performer_core::model::limits::LimitsEdit;
use performer_core::model::queue::{NewQueueDefinition, QueueDefinition};
use performer_core::model::reason::{Reason, ReasonEdit, ReasonFilter};
use performer_core::model::review::{Comment, FailedItems, ItemVersion, Person};
use performer_core::model::robot::Robot;
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::ReviewStatus;
use performer_core::orchestrator::{
    AssetAdministration, FleetAdministration, ItemAdministration, OrchestratorError, ProcessAdministration,
    QueueAdministration, Result, ReviewAdministration, TaskAdministration, WebhookAdministration,
};

#[async_trait]
impl QueueAdministration for Store {
    fn assets(&self) -> Option<&dyn AssetAdministration> {
        Some(self)
    }

    fn webhooks(&self) -> Option<&dyn WebhookAdministration> {
        Some(self)
    }

    #[cfg(feature = "files")]
    fn buckets(&self) -> Option<&dyn performer_core::orchestrator::BucketAdministration> {
        Some(self)
    }

    fn tasks(&self) -> Option<&dyn TaskAdministration> {
        Some(self)
    }

    async fn create_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        expect_answer!(self.one(Operation::CreateQueue(Box::new(queue))).await, Queue).map(|queue| *queue)
    }

    async fn update_queue(&self, name: &str, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        let (which, queue) = (named(name), Box::new(queue));
        expect_answer!(self.one(Operation::UpdateQueue { which, queue, reach: None }).await, Queue)
            .map(|queue| *queue)
    }

    async fn delete_queue(&self, name: &str) -> Result<()> {
        done(self.one(Operation::DeleteQueue { which: named(name), reach: None }).await)
    }

    async fn edit_queue_limits(&self, name: &str, edit: LimitsEdit) -> Result<QueueDefinition> {
        expect_answer!(self.one(Operation::EditLimits { which: named(name), edit, reach: None }).await, Queue)
            .map(|queue| *queue)
    }

    async fn start_limit_until(&self, name: &str) -> Result<Option<Timestamp>> {
        let query = Query::StartLimitUntil { which: named(name), now: self.clock.now() };
        expect_answer!(self.read(query).await, StartLimitUntil)
    }

    async fn get_queue(&self, name: &str) -> Result<QueueDefinition> {
        expect_answer!(self.read(Query::Queue(named(name))).await, Queue).map(|queue| *queue)
    }

    async fn list_queues(&self) -> Result<Vec<QueueDefinition>> {
        expect_answer!(self.read(Query::Queues).await, Queues)
    }

    async fn queue_statistics(&self, queue: &str) -> Result<QueueStatistics> {
        expect_answer!(self.read(Query::Statistics(named(queue))).await, Statistics)
    }

    async fn queue_figures(&self, filter: FiguresFilter) -> Result<Figures> {
        expect_answer!(self.read(Query::Figures(Box::new(filter))).await, Figures)
    }

    async fn apply_retention(&self, limit: usize) -> Result<u64> {
        let removed = self.remove_expired(limit).await?;
        if removed > 0 {
            tracing::info!(items = removed, "items past their retention were removed");
        }
        Ok(removed)
    }
}

#[async_trait]
impl ItemAdministration for Store {
    async fn get_queue_item(&self, id: ItemId) -> Result<QueueItem> {
        expect_answer!(self.read(Query::Item(id)).await, Item).map(|item: Box<QueueItem>| *item)
    }

    async fn list_queue_items(&self, filter: ItemFilter, page: Page) -> Result<ItemPage> {
        expect_answer!(self.read(Query::Items(Box::new(filter), page)).await, Items)
    }

    async fn edit_queue_item(&self, id: ItemId, edit: ItemEdit) -> Result<QueueItem> {
        expect_answer!(self.one(Operation::Edit { id, edit }).await, Item).map(|item: Box<QueueItem>| *item)
    }

    async fn delete_queue_items(&self, items: Vec<ItemVersion>) -> Result<FailedItems> {
        self.in_chunks(items, Operation::Delete).await
    }

    async fn processing_history(&self, id: ItemId) -> Result<Vec<QueueItem>> {
        expect_answer!(self.read(Query::History(id)).await, History)
    }

    async fn item_events(&self, id: ItemId) -> Result<Vec<ItemEvent>> {
        expect_answer!(self.read(Query::Events(id)).await, Events)
    }

    async fn purge_content(&self, id: ItemId) -> Result<()> {
        done(self.one(Operation::Purge { id, row_version: None }).await)
    }

    async fn reveal_personal_fields(&self, id: ItemId, reason: String) -> Result<QueueItem> {
        expect_answer!(self.one(Operation::Reveal { id, reason }).await, Item)
            .map(|item: Box<QueueItem>| *item)
    }
}

#[async_trait]
impl ReviewAdministration for Store {
    async fn set_review_status(&self, to: ReviewStatus, items: Vec<ItemVersion>) -> Result<FailedItems> {
        self.in_chunks(items, |items| Operation::Review { to, items, comment: None }).await
    }

    async fn set_reviewer(&self, reviewer: Option<i64>, items: Vec<ItemVersion>) -> Result<FailedItems> {
        self.in_chunks(items, |items| Operation::SetReviewer { reviewer, items }).await
    }

    async fn add_comment(&self, id: ItemId, author: Person, text: String) -> Result<Comment> {
        expect_answer!(self.one(Operation::AddComment { id, author, text }).await, Comment)
    }

    async fn edit_comment(&self, comment: i64, author: Person, text: Option<String>) -> Result<()> {
        done(self.one(Operation::EditComment { comment, author, text }).await)
    }

    async fn list_reasons(&self, filter: ReasonFilter) -> Result<Vec<Reason>> {
        expect_answer!(self.read(Query::Reasons(Box::new(filter))).await, Reasons)
    }

    async fn correct_and_retry(&self, item: ItemVersion, edit: ItemEdit) -> Result<QueueItem> {
        expect_answer!(self.one(Operation::Correct { item, edit }).await, Item)
            .map(|item: Box<QueueItem>| *item)
    }

    async fn edit_reason(&self, id: i64, edit: ReasonEdit) -> Result<Reason> {
        let changed: Vec<Reason> =
            expect_answer!(self.one(Operation::EditReason { id, edit }).await, Reasons)?;
        let missing = || OrchestratorError::not_found(format!("reason {id} does not exist"));
        changed.into_iter().next().ok_or_else(missing)
    }

    async fn comments(&self, id: ItemId) -> Result<Vec<Comment>> {
        self.all_comments(id).await
    }
}

#[async_trait]
impl FleetAdministration for Store {
    fn processes(&self) -> Option<&dyn ProcessAdministration> {
        Some(self)
    }

    async fn list_jobs(&self, limit: usize) -> Result<Vec<Job>> {
        expect_answer!(self.read(Query::Jobs { limit }).await, Jobs)
    }

    async fn list_robots(&self) -> Result<Vec<Robot>> {
        expect_answer!(self.read(Query::Robots { now: self.clock.now() }).await, Robots)
    }

    async fn stop_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()> {
        done(self.one(Operation::StopJob { job, strategy }).await)
    }
}
