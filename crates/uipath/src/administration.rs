//! The `Administration` of a UiPath Orchestrator. Operations that its API does not have are Unsupported.

use async_trait::async_trait;
use jiff::Timestamp;

use super::call::Call;
use super::{Inner, Uipath};
use performer_core::model::figures::{Figures, FiguresFilter};
use performer_core::model::history::ItemEvent;
use performer_core::model::item::{ItemEdit, ItemFilter, ItemPage, Page, QueueItem};
use performer_core::model::job::{Job, StopStrategy, validate_job_limit};
use performer_core::model::key::{ItemId, JobKey};
use performer_core::model::limits::LimitsEdit;
use performer_core::model::queue::{NewQueueDefinition, QueueDefinition};
use performer_core::model::reason::{Reason, ReasonEdit, ReasonFilter};
use performer_core::model::review::{Comment, FailedItems, ItemVersion, Person};
use performer_core::model::robot::Robot;
use performer_core::model::statistics::{QueueBacklog, QueueStatistics};
use performer_core::model::status::ReviewStatus;
use performer_core::orchestrator::{
    AssetAdministration, BucketAdministration, ErrorKind, FleetAdministration, ItemAdministration,
    OrchestratorError, ProcessAdministration, QueueAdministration, Result, ReviewAdministration,
    TaskAdministration, WebhookAdministration,
};
use performer_wire::Collection;
use performer_wire::job::{JobDto, StopJobRequest};

/// The most jobs of one page (orchestrator-api 4.1).
const JOBS_PER_PAGE: usize = 1_000;

#[async_trait]
impl QueueAdministration for Uipath {
    fn assets(&self) -> Option<&dyn AssetAdministration> {
        Some(self)
    }

    fn webhooks(&self) -> Option<&dyn WebhookAdministration> {
        self.inner.supports_leases().then_some(self as &dyn WebhookAdministration)
    }

    fn buckets(&self) -> Option<&dyn BucketAdministration> {
        Some(self)
    }

    fn tasks(&self) -> Option<&dyn TaskAdministration> {
        Some(self)
    }

    async fn create_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        self.inner.make_queue(queue).await
    }

    async fn update_queue(&self, name: &str, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        self.inner.change_queue(name, queue).await
    }

    async fn delete_queue(&self, name: &str) -> Result<()> {
        self.inner.remove_queue(name).await
    }

    async fn edit_queue_limits(&self, name: &str, edit: LimitsEdit) -> Result<QueueDefinition> {
        if self.inner.supports_leases() {
            self.inner.edit_leased_limits(name, edit).await?;
            return self.inner.read_queue(name).await;
        }
        unsupported("the Orchestrator cannot pause or limit a queue; it limits the robots of a process")
    }

    async fn start_limit_until(&self, name: &str) -> Result<Option<Timestamp>> {
        if self.inner.supports_leases() { self.inner.leased_start_limit(name).await } else { Ok(None) }
    }

    async fn get_queue(&self, name: &str) -> Result<QueueDefinition> {
        self.inner.read_queue(name).await
    }

    async fn list_queues(&self) -> Result<Vec<QueueDefinition>> {
        self.inner.all_queues().await
    }

    /// Makes nine calls, which count against the limit of 100 per minute (orchestrator-api 3).
    async fn queue_statistics(&self, queue: &str) -> Result<QueueStatistics> {
        self.inner.statistics(queue).await
    }

    /// Makes one call, which does not count against a limit; the figures may be some minutes old (orchestrator-api 11).
    async fn list_backlogs(&self) -> Result<Vec<QueueBacklog>> {
        self.inner.backlogs().await
    }

    async fn queue_figures(&self, filter: FiguresFilter) -> Result<Figures> {
        self.inner.figures(filter).await
    }

    async fn apply_retention(&self, limit: usize) -> Result<u64> {
        if self.inner.supports_leases() {
            return self.inner.leased_retention(limit).await;
        }
        unsupported("the Orchestrator removes items past their retention by itself")
    }
}

#[async_trait]
impl ItemAdministration for Uipath {
    async fn get_queue_item(&self, id: ItemId) -> Result<QueueItem> {
        self.inner.item(id).await
    }

    /// Whether references are case-sensitive depends on the Orchestrator's database.
    async fn list_queue_items(&self, filter: ItemFilter, page: Page) -> Result<ItemPage> {
        self.inner.items(&filter, page).await
    }

    async fn edit_queue_item(&self, id: ItemId, edit: ItemEdit) -> Result<QueueItem> {
        if edit.row_version.is_some() {
            return unsupported("over HTTP an item is edited whatever its row version is");
        }
        self.inner.edit(id, edit).await
    }

    async fn delete_queue_items(&self, items: Vec<ItemVersion>) -> Result<FailedItems> {
        self.inner.delete_items(&items).await
    }

    async fn processing_history(&self, id: ItemId) -> Result<Vec<QueueItem>> {
        self.inner.history(id).await
    }

    async fn item_events(&self, id: ItemId) -> Result<Vec<ItemEvent>> {
        self.inner.events(id).await
    }

    async fn purge_content(&self, id: ItemId) -> Result<()> {
        self.inner.purge(id).await
    }

    async fn reveal_personal_fields(&self, id: ItemId, reason: String) -> Result<QueueItem> {
        if self.inner.supports_leases() {
            return self.inner.reveal(id, reason).await;
        }
        unsupported("the Orchestrator does not record who sees personal fields")
    }
}

#[async_trait]
impl ReviewAdministration for Uipath {
    async fn set_review_status(&self, to: ReviewStatus, items: Vec<ItemVersion>) -> Result<FailedItems> {
        self.inner.review(to, &items).await
    }

    async fn set_reviewer(&self, reviewer: Option<i64>, items: Vec<ItemVersion>) -> Result<FailedItems> {
        self.inner.reviewer(reviewer, &items).await
    }

    async fn add_comment(&self, id: ItemId, author: Person, text: String) -> Result<Comment> {
        self.inner.comment(id, &author, text).await
    }

    async fn edit_comment(&self, comment: i64, author: Person, text: Option<String>) -> Result<()> {
        self.inner.change_comment(comment, &author, text).await
    }

    async fn list_reasons(&self, filter: ReasonFilter) -> Result<Vec<Reason>> {
        if self.inner.supports_leases() {
            return self.inner.reasons(filter).await;
        }
        unsupported("the Orchestrator does not group failures by reason")
    }

    async fn edit_reason(&self, id: i64, edit: ReasonEdit) -> Result<Reason> {
        if self.inner.supports_leases() {
            return self.inner.change_reason(id, edit).await;
        }
        unsupported("the Orchestrator does not group failures by reason")
    }

    async fn correct_and_retry(&self, item: ItemVersion, edit: ItemEdit) -> Result<QueueItem> {
        if self.inner.supports_leases() {
            return self.inner.correct(item, edit).await;
        }
        unsupported(
            "the Orchestrator cannot correct and retry in one step: a robot could claim the copy in between",
        )
    }

    async fn comments(&self, id: ItemId) -> Result<Vec<Comment>> {
        self.inner.comments_on(id).await
    }
}

#[async_trait]
impl FleetAdministration for Uipath {
    fn processes(&self) -> Option<&dyn ProcessAdministration> {
        Some(self)
    }

    /// Jobs of the Orchestrator's processes, which stand for the queue, in the client's folder. Each page counts against the limit of
    /// 100 calls per minute (orchestrator-api 3).
    async fn list_jobs(&self, limit: usize) -> Result<Vec<Job>> {
        if self.inner.supports_leases() {
            return self.inner.leased_jobs(limit).await;
        }
        self.inner.jobs_of_processes(limit).await
    }

    async fn list_robots(&self) -> Result<Vec<Robot>> {
        if self.inner.supports_leases() {
            return self.inner.leased_robots().await;
        }
        unsupported("the Orchestrator has no list of the robots of performers")
    }

    /// Stops a job of the Orchestrator, such as the one that a performer runs in.
    async fn stop_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()> {
        if self.inner.supports_leases() {
            return self.inner.stop_leased_job(job, strategy).await;
        }
        let http = &self.inner.http;
        let call =
            Call::get("GetJobs", "/odata/Jobs").query("$filter", format!("Key eq {job}")).query("$top", "1");
        let page: Collection<JobDto> = http.json(call).await?;
        let found = page
            .value
            .first()
            .ok_or_else(|| OrchestratorError::not_found(format!("job {job} does not exist")))?;
        let path = format!("/odata/Jobs({})/UiPath.Server.Configuration.OData.StopJob", found.id);
        let body = StopJobRequest { strategy: strategy.into() };
        Ok(http.done(Call::post("StopJob", path, &body).repeatable()).await?)
    }
}

impl Inner {
    /// The newest jobs of a folder.
    async fn jobs_of_processes(&self, limit: usize) -> Result<Vec<Job>> {
        validate_job_limit(limit)?;
        let mut jobs = Vec::new();
        while jobs.len() < limit {
            let top = (limit - jobs.len()).min(JOBS_PER_PAGE);
            let call = Call::get("GetJobs", "/odata/Jobs").query("$orderby", "Id desc");
            let call = call.query("$top", top.to_string()).query("$skip", jobs.len().to_string());
            let page: Collection<JobDto> = self.http.json(call).await?;
            let is_last = page.value.len() < top;
            for job in page.value {
                let id = job.id;
                jobs.push(job.into_job().ok_or_else(|| {
                    let message = format!("the Orchestrator's answer has no key, state or time of job {id}");
                    OrchestratorError::new(ErrorKind::Other, message)
                })?);
            }
            if is_last {
                break;
            }
        }
        Ok(jobs)
    }
}

pub(super) fn unsupported<T>(why: &str) -> Result<T> {
    Err(OrchestratorError::new(ErrorKind::Unsupported, why))
}
