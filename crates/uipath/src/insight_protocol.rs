//! Operations, the audit, what is due, and figures: what only performer's own server has.

use async_trait::async_trait;

use super::administration::unsupported;
use super::call::Call;
use super::{Inner, Uipath};
use performer_core::model::alert::{Alert, AlertFilter};
use performer_core::model::audit::{AuditFilter, AuditLine, AuditRecord};
use performer_core::model::deadlines::DueWork;
use performer_core::model::figures::{Figures, FiguresFilter};
use performer_core::model::key::AlertKey;
use performer_core::model::log::{LogFilter, LogRecord};
use performer_core::model::operation::{ItemOperation, OperationId, OperationItem, OperationList, Plan};
use performer_core::model::review::ItemVersion;
use performer_core::model::view::SavedView;
use performer_core::orchestrator::{ErrorKind, Insight, OrchestratorError, Result};
use performer_wire::insight_protocol::{
    AuditLineDto, AuditLinesRequest, AuditRequest, DeskLinkRequest, DeskLinkResponse, DueWorkRequest,
    DueWorkResponse, FiguresRequest, FiguresResponse, OperationItemDto, OperationItemsRequest,
    OperationReference, OperationsRequest, PrepareOperationRequest,
};

fn call(operation: &'static str, body: &impl serde::Serialize) -> Call {
    Call::post(operation, format!("/api/Performer/{operation}"), body)
}

impl Inner {
    /// A call about one operation that changes it, which is not repeated: a second one would be refused for what the first one did.
    async fn steer(&self, route: &'static str, operation: OperationId) -> Result<ItemOperation> {
        self.require_own_server(NO_OPERATIONS)?;
        Ok(self.http.json(call(route, &OperationReference { operation })).await?)
    }

    fn require_own_server(&self, why: &str) -> Result<()> {
        if self.supports_leases() { Ok(()) } else { unsupported(why) }
    }

    pub(super) async fn figures(&self, filter: FiguresFilter) -> Result<Figures> {
        self.require_own_server("the Orchestrator has no figures by minute")?;
        filter.minutes()?;
        let body = FiguresRequest::from(filter);
        let figures: FiguresResponse = self.http.json(call("Figures", &body).repeatable()).await?;
        figures.try_into().map_err(|error: performer_wire::Unreadable| {
            OrchestratorError::new(ErrorKind::Other, format!("Figures: {error}"))
        })
    }
}

const NO_OPERATIONS: &str = "the Orchestrator keeps no operations on many items";
const NO_AUDIT: &str = "the Orchestrator has no audit of queues and items";

impl Uipath {
    /// A link that signs the user of these credentials in to the desk of performer's own server. It works once, within
    /// five minutes.
    ///
    /// # Errors
    ///
    /// Unsupported for a UiPath Orchestrator; Unauthorized without all scopes; NotFound if the server has no desk.
    pub async fn desk_link(&self) -> Result<String> {
        self.inner
            .require_own_server("a UiPath Orchestrator has pages of its own, and no desk of performer")?;
        let link: DeskLinkResponse = self.inner.http.json(call("DeskLink", &DeskLinkRequest {})).await?;
        Ok(self.inner.http.address.on_host(&link.path))
    }
}

#[async_trait]
impl Insight for Uipath {
    fn keeps_operations(&self) -> bool {
        self.inner.supports_leases()
    }

    async fn prepare_operation(
        &self,
        plan: Plan,
        items: Vec<ItemVersion>,
        filter: Option<String>,
    ) -> Result<ItemOperation> {
        self.inner.require_own_server(NO_OPERATIONS)?;
        plan.validate()?;
        let body = PrepareOperationRequest::new(plan, &items, filter)?;
        Ok(self.inner.http.json(call("PrepareOperation", &body)).await?)
    }

    async fn get_operation(&self, id: OperationId) -> Result<ItemOperation> {
        self.inner.require_own_server(NO_OPERATIONS)?;
        let call = call("Operation", &OperationReference { operation: id });
        Ok(self.inner.http.json(call.repeatable()).await?)
    }

    async fn list_operations(&self, before: Option<OperationId>, limit: usize) -> Result<OperationList> {
        self.inner.require_own_server(NO_OPERATIONS)?;
        let call = call("Operations", &OperationsRequest { before, top: limit });
        Ok(self.inner.http.json(call.repeatable()).await?)
    }

    async fn list_operation_items(
        &self,
        id: OperationId,
        refused_only: bool,
        from: u64,
        limit: usize,
    ) -> Result<Vec<OperationItem>> {
        self.inner.require_own_server(NO_OPERATIONS)?;
        let body = OperationItemsRequest { operation: id, refused_only, from, top: limit };
        let items: Vec<OperationItemDto> =
            self.inner.http.json(call("OperationItems", &body).repeatable()).await?;
        Ok(items.into_iter().map(OperationItem::from).collect())
    }

    async fn start_operation(&self, id: OperationId) -> Result<ItemOperation> {
        self.inner.steer("StartOperation", id).await
    }

    async fn stop_operation(&self, id: OperationId) -> Result<ItemOperation> {
        self.inner.steer("StopOperation", id).await
    }

    async fn resume_operation(&self, id: OperationId) -> Result<ItemOperation> {
        self.inner.steer("ResumeOperation", id).await
    }

    async fn take_operation_back(&self, id: OperationId) -> Result<ItemOperation> {
        self.inner.steer("TakeOperationBack", id).await
    }

    /// The server does the steps.
    async fn step_operation(&self, id: OperationId, _version: u64) -> Result<ItemOperation> {
        self.get_operation(id).await
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>> {
        self.inner.require_own_server(NO_AUDIT)?;
        filter.validate()?;
        let body = AuditRequest::from(filter);
        let records: Vec<AuditLineDto> = self.inner.http.json(call("Audit", &body).repeatable()).await?;
        let read = |dto: AuditLineDto| {
            let id = dto.id;
            AuditLine::from(dto).into_record().map_err(|error| {
                let message = format!("record {id} of the audit cannot be read");
                OrchestratorError::new(ErrorKind::Other, message).with_source(error)
            })
        };
        records.into_iter().map(read).collect()
    }

    async fn audit_lines(&self, after: u64) -> Result<Vec<AuditLine>> {
        self.inner.require_own_server(NO_AUDIT)?;
        let call = call("AuditLines", &AuditLinesRequest { after });
        let lines: Vec<AuditLineDto> = self.inner.http.json(call.repeatable()).await?;
        Ok(lines.into_iter().map(AuditLine::from).collect())
    }

    async fn list_alerts(&self, filter: AlertFilter) -> Result<Vec<Alert>> {
        self.inner.alerts(&filter).await
    }

    async fn mark_alerts_read(&self, keys: Vec<AlertKey>) -> Result<u64> {
        self.inner.mark_alerts(keys).await
    }

    async fn list_log_lines(&self, filter: LogFilter) -> Result<Vec<LogRecord>> {
        self.inner.log_lines(&filter).await
    }

    async fn list_views(&self) -> Result<Vec<SavedView>> {
        self.inner.require_own_server("the Orchestrator keeps no saved views")?;
        Ok(self.inner.http.json(call("Views", &serde_json::json!({})).repeatable()).await?)
    }

    async fn due_work(&self, queue: &str) -> Result<DueWork> {
        let why = "the Orchestrator does not list what is due in the order in which it is handed out";
        self.inner.require_own_server(why)?;
        let call = call("DueWork", &DueWorkRequest { queue: queue.to_owned() });
        let work: DueWorkResponse = self.inner.http.json(call.repeatable()).await?;
        Ok(work.into())
    }
}
