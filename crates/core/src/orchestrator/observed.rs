//! A decorator that traces the calls of a back end: one span and one event per call.

use jiff::Timestamp;
use std::time::Duration;

use async_trait::async_trait;
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, debug_span, trace_span};

use super::{
    AssetAdministration, BoxFuture, BucketAdministration, BulkAdded, ClaimRequest, CommitType, Decorator,
    FleetAdministration, Insight, ItemAdministration, Orchestrator, ProcessAdministration,
    QueueAdministration, Report, ReportAndClaimAnswer, Result, ReviewAdministration, Seen, Swept,
    TaskAdministration, WebhookAdministration,
};
use crate::model::alert::{Alert, AlertFilter};
use crate::model::asset::RobotAsset;
use crate::model::audit::{AuditCheck, AuditFilter, AuditLine, AuditRecord};
use crate::model::deadlines::DueWork;
use crate::model::figures::{Figures, FiguresFilter};
use crate::model::history::ItemEvent;
use crate::model::item::{ClaimedItem, ItemEdit, ItemFilter, ItemPage, NewQueueItem, Page, QueueItem};
use crate::model::job::{Job, JobEnd, JobState, NewJob, StopStrategy};
use crate::model::key::{AlertKey, Claim, ItemId, ItemKey, JobKey};
use crate::model::limits::LimitsEdit;
use crate::model::log::{LogFilter, LogRecord};
use crate::model::operation::{ItemOperation, OperationId, OperationItem, OperationList, Plan};
use crate::model::queue::{NewQueueDefinition, QueueDefinition};
use crate::model::reason::{Reason, ReasonEdit, ReasonFilter};
use crate::model::review::{Comment, FailedItems, ItemVersion, Person};
use crate::model::robot::Robot;
use crate::model::schema::Schemas;
use crate::model::statistics::{QueueBacklog, QueueStatistics};
use crate::model::status::ReviewStatus;
use crate::model::task::TaskAnswer;
use crate::model::view::SavedView;
use crate::trace_context;

/// Wraps an Orchestrator and traces its calls, with the target `performer::orchestrator`.
///
/// The frequent calls (claim, report, wait) have spans at level TRACE, all others at DEBUG. Each call ends with one event, which
/// says `ok` or has the kind and code of the error. The caller logs how it handles an error.
///
/// With the feature `otel` an item that is added inside a span keeps that span as its ParentOperationId, unless the caller gave one.
#[derive(Debug)]
pub struct Observed<O>(O);

impl<O> Observed<O> {
    /// Wraps `inner`.
    pub fn new(inner: O) -> Self {
        Self(inner)
    }
}

fn finished<T>(answer: Result<T>) -> Result<T> {
    match &answer {
        Ok(_) => tracing::trace!(target: TARGET, "ok"),
        Err(error) => tracing::debug!(
            target: TARGET,
            kind = ?error.kind(),
            code = error.code().map(|code| code.number()),
            %error,
            "refused"
        ),
    }
    answer
}

const TARGET: &str = "performer::orchestrator";

/// `observe!(self.call(arguments), fields…)` makes a call in a span with these fields, and logs its result.
macro_rules! observe {
    ($self:ident . $call:ident ( $($argument:expr),* ) $(, $($field:tt)+)?) => {{
        let span = debug_span!(target: TARGET, stringify!($call) $(, $($field)+)?);
        async { finished($self.0.$call($($argument),*).await) }.instrument(span).await
    }};
}

#[async_trait]
impl<O: Orchestrator> Decorator for Observed<O> {
    fn inner(&self) -> &dyn Orchestrator {
        &self.0
    }

    async fn start_job(&self, job: NewJob) -> Result<JobKey> {
        observe!(self.start_job(job), queue = %job.queue, robots = job.robots)
    }

    async fn queue_schemas(&self, queue: &str) -> Result<Schemas> {
        observe!(self.queue_schemas(queue), queue)
    }

    async fn beat(&self, job: JobKey) -> Result<JobState> {
        observe!(self.beat(job), %job)
    }

    async fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Swept> {
        let state = end.state;
        observe!(self.end_job(job, end), %job, %state)
    }

    async fn sweep(&self) -> Result<Swept> {
        observe!(self.sweep())
    }

    async fn add_queue_item(&self, queue: &str, mut item: NewQueueItem) -> Result<QueueItem> {
        trace_context::keep(&mut item); // before the span of the call: the one of the caller counts, whatever is logged
        observe!(self.add_queue_item(queue, item), queue, reference = item.reference)
    }

    async fn bulk_add_queue_items(
        &self,
        queue: &str,
        commit_type: CommitType,
        mut items: Vec<NewQueueItem>,
    ) -> Result<BulkAdded> {
        let parent = trace_context::current();
        items.iter_mut().for_each(|item| trace_context::keep_given(item, parent));
        observe!(
            self.bulk_add_queue_items(queue, commit_type, items),
            queue,
            ?commit_type,
            items = items.len()
        )
    }

    async fn add_and_start_transaction(
        &self,
        request: ClaimRequest,
        mut item: NewQueueItem,
    ) -> Result<ClaimedItem> {
        trace_context::keep(&mut item);
        observe!(self.add_and_start_transaction(request, item), queue = %request.queue, reference = item.reference)
    }

    fn report_and_claim<'s, 'f>(
        &'s self,
        reports: Vec<Report>,
        request: Option<ClaimRequest>,
    ) -> BoxFuture<'f, ReportAndClaimAnswer>
    where
        's: 'f,
        Self: 'f,
    {
        // The call of every item. If nobody listens at this level, its future is handed on as it is.
        if LevelFilter::current() < LevelFilter::TRACE {
            return self.0.report_and_claim(reports, request);
        }
        let span = trace_span!(target: TARGET, "report_and_claim", reports = reports.len(), claims = request.is_some());
        let answer = async move {
            let answer = self.0.report_and_claim(reports, request).await;
            let refused = answer.reports.iter().filter(|report| report.is_err()).count();
            let taken = answer.claimed.as_ref().map_or(0, |taken| taken.items.len());
            tracing::trace!(target: TARGET, refused, taken, error = answer.claimed.as_ref().err().map(tracing::field::display), "done");
            answer
        };
        Box::pin(answer.instrument(span))
    }

    async fn set_transaction_progress(&self, claim: Claim, progress: String) -> Result<()> {
        observe!(self.set_transaction_progress(claim, progress), item = %claim.item)
    }

    async fn read_asset(&self, name: &str) -> Result<RobotAsset> {
        observe!(self.read_asset(name), name)
    }

    fn supports_asking(&self) -> bool {
        self.0.supports_asking()
    }

    async fn read_answer(&self, item: ItemKey) -> Result<Option<TaskAnswer>> {
        observe!(self.read_answer(item), item = item.to_string())
    }

    async fn wait_for_items(&self, queue: &str, seen: Seen, at_most: Duration) {
        let span = trace_span!(target: TARGET, "wait_for_items", queue);
        self.0.wait_for_items(queue, seen, at_most).instrument(span).await;
    }
}

#[async_trait]
impl<O: QueueAdministration> QueueAdministration for Observed<O> {
    fn assets(&self) -> Option<&dyn AssetAdministration> {
        self.0.assets()
    }

    fn webhooks(&self) -> Option<&dyn WebhookAdministration> {
        self.0.webhooks()
    }

    fn buckets(&self) -> Option<&dyn BucketAdministration> {
        self.0.buckets()
    }

    fn tasks(&self) -> Option<&dyn TaskAdministration> {
        self.0.tasks()
    }

    async fn create_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        observe!(self.create_queue(queue), queue = queue.name)
    }

    async fn ensure_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        observe!(self.ensure_queue(queue), queue = queue.name)
    }

    async fn update_queue(&self, name: &str, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        observe!(self.update_queue(name, queue), name)
    }

    async fn delete_queue(&self, name: &str) -> Result<()> {
        observe!(self.delete_queue(name), name)
    }

    async fn edit_queue_limits(&self, name: &str, edit: LimitsEdit) -> Result<QueueDefinition> {
        observe!(self.edit_queue_limits(name, edit), name)
    }

    async fn start_limit_until(&self, name: &str) -> Result<Option<Timestamp>> {
        observe!(self.start_limit_until(name), name)
    }

    async fn get_queue(&self, name: &str) -> Result<QueueDefinition> {
        observe!(self.get_queue(name), name)
    }

    async fn list_queues(&self) -> Result<Vec<QueueDefinition>> {
        observe!(self.list_queues())
    }

    async fn queue_statistics(&self, queue: &str) -> Result<QueueStatistics> {
        observe!(self.queue_statistics(queue), queue)
    }

    async fn list_backlogs(&self) -> Result<Vec<QueueBacklog>> {
        observe!(self.list_backlogs())
    }

    async fn queue_figures(&self, filter: FiguresFilter) -> Result<Figures> {
        observe!(self.queue_figures(filter))
    }

    async fn apply_retention(&self, limit: usize) -> Result<u64> {
        observe!(self.apply_retention(limit), limit)
    }
}

#[async_trait]
impl<O: ItemAdministration> ItemAdministration for Observed<O> {
    async fn get_queue_item(&self, id: ItemId) -> Result<QueueItem> {
        observe!(self.get_queue_item(id), item = %id)
    }

    async fn list_queue_items(&self, filter: ItemFilter, page: Page) -> Result<ItemPage> {
        observe!(self.list_queue_items(filter, page), queue = filter.queue)
    }

    async fn edit_queue_item(&self, id: ItemId, edit: ItemEdit) -> Result<QueueItem> {
        observe!(self.edit_queue_item(id, edit), item = %id)
    }

    async fn delete_queue_items(&self, items: Vec<ItemVersion>) -> Result<FailedItems> {
        observe!(self.delete_queue_items(items), items = items.len())
    }

    async fn processing_history(&self, id: ItemId) -> Result<Vec<QueueItem>> {
        observe!(self.processing_history(id), item = %id)
    }

    async fn item_events(&self, id: ItemId) -> Result<Vec<ItemEvent>> {
        observe!(self.item_events(id), item = %id)
    }

    async fn purge_content(&self, id: ItemId) -> Result<()> {
        observe!(self.purge_content(id), item = %id)
    }

    async fn reveal_personal_fields(&self, id: ItemId, reason: String) -> Result<QueueItem> {
        observe!(self.reveal_personal_fields(id, reason), item = %id)
    }
}

#[async_trait]
impl<O: ReviewAdministration> ReviewAdministration for Observed<O> {
    async fn set_review_status(&self, to: ReviewStatus, items: Vec<ItemVersion>) -> Result<FailedItems> {
        observe!(self.set_review_status(to, items), %to, items = items.len())
    }

    async fn set_reviewer(&self, reviewer: Option<i64>, items: Vec<ItemVersion>) -> Result<FailedItems> {
        observe!(self.set_reviewer(reviewer, items), items = items.len())
    }

    async fn add_comment(&self, id: ItemId, author: Person, text: String) -> Result<Comment> {
        observe!(self.add_comment(id, author, text), item = %id)
    }

    async fn edit_comment(&self, comment: i64, author: Person, text: Option<String>) -> Result<()> {
        observe!(self.edit_comment(comment, author, text), comment)
    }

    async fn list_reasons(&self, filter: ReasonFilter) -> Result<Vec<Reason>> {
        observe!(self.list_reasons(filter))
    }

    async fn correct_and_retry(&self, item: ItemVersion, edit: ItemEdit) -> Result<QueueItem> {
        observe!(self.correct_and_retry(item, edit), item = %item.id)
    }

    async fn edit_reason(&self, id: i64, edit: ReasonEdit) -> Result<Reason> {
        observe!(self.edit_reason(id, edit), reason = id)
    }

    async fn comments(&self, id: ItemId) -> Result<Vec<Comment>> {
        observe!(self.comments(id), item = %id)
    }
}

#[async_trait]
impl<O: FleetAdministration> FleetAdministration for Observed<O> {
    fn processes(&self) -> Option<&dyn ProcessAdministration> {
        self.0.processes()
    }

    async fn list_jobs(&self, limit: usize) -> Result<Vec<Job>> {
        observe!(self.list_jobs(limit), limit)
    }

    async fn list_robots(&self) -> Result<Vec<Robot>> {
        observe!(self.list_robots())
    }

    async fn stop_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()> {
        observe!(self.stop_job(job, strategy), %job, %strategy)
    }
}

#[async_trait]
impl<O: Insight> Insight for Observed<O> {
    fn keeps_operations(&self) -> bool {
        self.0.keeps_operations()
    }

    async fn prepare_operation(
        &self,
        plan: Plan,
        items: Vec<ItemVersion>,
        filter: Option<String>,
    ) -> Result<ItemOperation> {
        observe!(self.prepare_operation(plan, items, filter), act = %plan.act, items = items.len())
    }

    async fn get_operation(&self, id: OperationId) -> Result<ItemOperation> {
        observe!(self.get_operation(id), operation = %id)
    }

    async fn list_operations(&self, before: Option<OperationId>, limit: usize) -> Result<OperationList> {
        observe!(self.list_operations(before, limit), limit)
    }

    async fn list_operation_items(
        &self,
        id: OperationId,
        refused_only: bool,
        from: u64,
        limit: usize,
    ) -> Result<Vec<OperationItem>> {
        observe!(self.list_operation_items(id, refused_only, from, limit), operation = %id)
    }

    async fn start_operation(&self, id: OperationId) -> Result<ItemOperation> {
        observe!(self.start_operation(id), operation = %id)
    }

    async fn stop_operation(&self, id: OperationId) -> Result<ItemOperation> {
        observe!(self.stop_operation(id), operation = %id)
    }

    async fn resume_operation(&self, id: OperationId) -> Result<ItemOperation> {
        observe!(self.resume_operation(id), operation = %id)
    }

    async fn take_operation_back(&self, id: OperationId) -> Result<ItemOperation> {
        observe!(self.take_operation_back(id), operation = %id)
    }

    async fn step_operation(&self, id: OperationId, version: u64) -> Result<ItemOperation> {
        observe!(self.step_operation(id, version), operation = %id)
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>> {
        observe!(self.list_audit(filter))
    }

    async fn audit_lines(&self, after: u64) -> Result<Vec<AuditLine>> {
        observe!(self.audit_lines(after), after)
    }

    async fn check_audit(&self, head: Option<&str>) -> Result<AuditCheck> {
        observe!(self.check_audit(head))
    }

    async fn list_alerts(&self, filter: AlertFilter) -> Result<Vec<Alert>> {
        observe!(self.list_alerts(filter))
    }

    async fn mark_alerts_read(&self, keys: Vec<AlertKey>) -> Result<u64> {
        observe!(self.mark_alerts_read(keys))
    }

    async fn list_log_lines(&self, filter: LogFilter) -> Result<Vec<LogRecord>> {
        observe!(self.list_log_lines(filter))
    }

    async fn list_views(&self) -> Result<Vec<SavedView>> {
        observe!(self.list_views())
    }

    async fn due_work(&self, queue: &str) -> Result<DueWork> {
        observe!(self.due_work(queue), queue)
    }
}
