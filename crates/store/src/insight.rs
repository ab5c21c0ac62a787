//! What a store keeps for people besides queues and items. The store of a user in a folder reaches the operations of that folder; a
//! program that opened the store itself reaches all.

use std::sync::Arc;

use async_trait::async_trait;

use super::Store;
use super::audit::AuditRow;
use super::backend::{Query, expect_answer};
use super::named;
use super::operations::OperationItems;
use super::scoped_queues::Reach;
use performer_core::model::alert::{Alert, AlertFilter};
use performer_core::model::audit::{AuditCheck, AuditFilter, AuditLine, AuditRecord};
use performer_core::model::deadlines::DueWork;
use performer_core::model::key::{AlertKey, FolderId};
use performer_core::model::log::{LogFilter, LogRecord};
use performer_core::model::operation::{ItemOperation, OperationId, OperationItem, OperationList, Plan};
use performer_core::model::review::{ItemVersion, Person};
use performer_core::model::view::SavedView;
use performer_core::orchestrator::{Insight, Result};

impl Store {
    fn reach(&self) -> Reach {
        self.scope.user.map(|_| Arc::new([self.scope.folder]) as Arc<[_]>)
    }

    /// The folders among these that the store reaches; `None`: all.
    fn reached(&self, folders: Option<Vec<FolderId>>) -> Option<Vec<FolderId>> {
        match (self.scope.user.map(|_| self.scope.folder), folders) {
            (None, folders) => folders,
            (Some(own), None) => Some(vec![own]),
            (Some(own), Some(folders)) => Some(folders.into_iter().filter(|folder| *folder == own).collect()),
        }
    }

    /// The actor, as the author of operations.
    fn person(&self) -> Person {
        Person { user_id: self.scope.user, user_name: self.actor.user_name.clone() }
    }
}

#[async_trait]
impl Insight for Store {
    fn keeps_operations(&self) -> bool {
        true
    }

    async fn prepare_operation(
        &self,
        plan: Plan,
        items: Vec<ItemVersion>,
        filter: Option<String>,
    ) -> Result<ItemOperation> {
        let (folders, which) = (Arc::new([self.scope.folder]), OperationItems::These(items));
        self.preview_operation(folders, (plan, self.person()), which, filter).await
    }

    async fn get_operation(&self, id: OperationId) -> Result<ItemOperation> {
        self.operation(id, self.reach()).await
    }

    async fn list_operations(&self, before: Option<OperationId>, limit: usize) -> Result<OperationList> {
        Self::list_operations(self, self.reach(), before, limit).await
    }

    async fn list_operation_items(
        &self,
        id: OperationId,
        refused_only: bool,
        from: u64,
        limit: usize,
    ) -> Result<Vec<OperationItem>> {
        self.operation_items((id, self.reach()), refused_only, from, limit).await
    }

    async fn start_operation(&self, id: OperationId) -> Result<ItemOperation> {
        Self::start_operation(self, id, self.reach()).await
    }

    async fn stop_operation(&self, id: OperationId) -> Result<ItemOperation> {
        Self::stop_operation(self, id, self.reach(), self.person()).await
    }

    async fn resume_operation(&self, id: OperationId) -> Result<ItemOperation> {
        Self::resume_operation(self, id, self.reach()).await
    }

    async fn take_operation_back(&self, id: OperationId) -> Result<ItemOperation> {
        Self::take_operation_back(self, id, self.reach(), self.person()).await
    }

    async fn step_operation(&self, id: OperationId, version: u64) -> Result<ItemOperation> {
        Self::step_operation(self, id, version).await
    }

    async fn list_alerts(&self, mut filter: AlertFilter) -> Result<Vec<Alert>> {
        filter.folders = self.reached(filter.folders);
        self.alerts(filter).await
    }

    async fn mark_alerts_read(&self, keys: Vec<AlertKey>) -> Result<u64> {
        self.read_alerts(keys, self.reached(None)).await
    }

    async fn list_log_lines(&self, mut filter: LogFilter) -> Result<Vec<LogRecord>> {
        filter.folders = self.reached(filter.folders);
        self.log_lines(filter).await
    }

    async fn list_views(&self) -> Result<Vec<SavedView>> {
        self.views(Arc::new([self.scope.folder])).await
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>> {
        self.audit(filter).await
    }

    async fn audit_lines(&self, after: u64) -> Result<Vec<AuditLine>> {
        let rows = expect_answer!(self.read(Query::AuditFrom(after)).await, Audit)?;
        Ok(rows.into_iter().map(AuditRow::into_line).collect())
    }

    async fn check_audit(&self, head: Option<&str>) -> Result<AuditCheck> {
        Self::check_audit(self, head).await
    }

    async fn due_work(&self, queue: &str) -> Result<DueWork> {
        Self::due_work(self, named(queue)).await
    }
}
