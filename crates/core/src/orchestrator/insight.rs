//! What a back end keeps for people besides queues and items: acts on many items at once, the audit, alerts, logs, saved views, and what is
//! due.

use async_trait::async_trait;

use super::{ErrorKind, OrchestratorError, Result};
use crate::model::alert::{Alert, AlertFilter};
use crate::model::audit::{AuditChain, AuditCheck, AuditFilter, AuditLine, AuditRecord};
use crate::model::deadlines::DueWork;
use crate::model::key::AlertKey;
use crate::model::log::{LogFilter, LogRecord};
use crate::model::operation::{ItemOperation, OperationId, OperationItem, OperationList, Plan};
use crate::model::review::ItemVersion;
use crate::model::view::SavedView;

/// Acts on many items at once, the audit, alerts, logs, and what is due.
///
/// Every method has a default: Unsupported. A back end that keeps nothing of this is `impl Insight for MyBackEnd {}`. (Figures and
/// groups of failures are in [`QueueAdministration`](super::QueueAdministration) and
/// [`ReviewAdministration`](super::ReviewAdministration).)
#[async_trait]
pub trait Insight: std::fmt::Debug + Send + Sync {
    /// Whether the back end keeps operations. Default: false.
    fn keeps_operations(&self) -> bool {
        false
    }

    /// Makes an operation on items, as a preview: nothing is done with them before it is [started](Self::start_operation), within ten
    /// minutes. `filter`: how people write what selected the items; `None` if they were named.
    ///
    /// # Errors
    ///
    /// Invalid for no items or more than [`MAX_ITEMS`](crate::model::operation::MAX_ITEMS), or a plan that is out of its ranges;
    /// Conflict with code 1302 if the user has ten previews already; Unauthorized without the permissions of the act; Unsupported.
    async fn prepare_operation(
        &self,
        plan: Plan,
        items: Vec<ItemVersion>,
        filter: Option<String>,
    ) -> Result<ItemOperation> {
        let _ = (plan, items, filter);
        no_operations()
    }

    /// Reads an operation.
    ///
    /// # Errors
    ///
    /// NotFound; Unsupported.
    async fn get_operation(&self, id: OperationId) -> Result<ItemOperation> {
        let _ = id;
        no_operations()
    }

    /// Lists at most `limit` operations with numbers before `before`, the newest first. Those that this program cannot read are named.
    ///
    /// # Errors
    ///
    /// Invalid for more than [`OPERATION_PAGE_LIMIT`](crate::model::operation::OPERATION_PAGE_LIMIT); Unsupported.
    async fn list_operations(&self, before: Option<OperationId>, limit: usize) -> Result<OperationList> {
        let _ = (before, limit);
        no_operations()
    }

    /// Lists items of an operation in their order, from a place on; only those that were refused, if asked.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid for more than [`OPERATION_PAGE_LIMIT`](crate::model::operation::OPERATION_PAGE_LIMIT); Unsupported.
    async fn list_operation_items(
        &self,
        id: OperationId,
        refused_only: bool,
        from: u64,
        limit: usize,
    ) -> Result<Vec<OperationItem>> {
        let _ = (id, refused_only, from, limit);
        no_operations()
    }

    /// Starts an operation.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1302 if it was started or is older than ten minutes; Unauthorized; Unsupported.
    async fn start_operation(&self, id: OperationId) -> Result<ItemOperation> {
        let _ = id;
        no_operations()
    }

    /// Stops an operation: the chunk that is being applied is the last one.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1302 if it is not running; Unauthorized; Unsupported.
    async fn stop_operation(&self, id: OperationId) -> Result<ItemOperation> {
        let _ = id;
        no_operations()
    }

    /// Lets an operation go on that was stopped, or that holds because of its canary.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1302 if it is neither stopped nor holding; Unauthorized; Unsupported.
    async fn resume_operation(&self, id: OperationId) -> Result<ItemOperation> {
        let _ = id;
        no_operations()
    }

    /// Takes the copies of a retry back: those that are still New are deleted, by another operation, which is started and returned.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1302 if it is no retry, is running, or was taken back already; Invalid if it made no copies;
    /// Unauthorized; Unsupported.
    async fn take_operation_back(&self, id: OperationId) -> Result<ItemOperation> {
        let _ = id;
        no_operations()
    }

    /// Does the next step of an operation, if it has this version, the step is due, and the back end leaves steps to its callers, as a
    /// store does. A server does them by itself, and this only reads the operation.
    ///
    /// # Errors
    ///
    /// NotFound; Unsupported.
    async fn step_operation(&self, id: OperationId, version: u64) -> Result<ItemOperation> {
        let _ = (id, version);
        no_operations()
    }

    /// Lists records of the audit, the newest first.
    ///
    /// # Errors
    ///
    /// Invalid for a page of a wrong size; Other if a record cannot be read, which [`check_audit`](Self::check_audit) explains;
    /// Unauthorized; Unsupported.
    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>> {
        let _ = filter;
        no_audit()
    }

    /// Up to [`MAX_RECORDS`](crate::model::audit::MAX_RECORDS) records of the audit from behind a number on, the oldest first, as they are
    /// stored. 0: from the beginning. Behind the last one there is none.
    ///
    /// # Errors
    ///
    /// Unauthorized; Unsupported.
    async fn audit_lines(&self, after: u64) -> Result<Vec<AuditLine>> {
        let _ = after;
        no_audit()
    }

    /// Follows the chain of the audit from its first record to its last one, and says where it is broken. `head`: a digest that was
    /// kept; the chain has to have it in some record.
    ///
    /// The default reads all [lines](Self::audit_lines) and computes their digests here, so that the answer does not rely on what the
    /// back end says of itself.
    ///
    /// # Errors
    ///
    /// Unauthorized; Unsupported.
    async fn check_audit(&self, head: Option<&str>) -> Result<AuditCheck> {
        let mut chain = AuditChain::new(head);
        loop {
            let lines = self.audit_lines(chain.last()).await?;
            let is_whole = lines.iter().all(|line| chain.follow(line));
            // A page may be shorter than it could be; the last one is empty.
            if !is_whole || lines.is_empty() {
                return Ok(chain.finish());
            }
        }
    }

    /// Lists alerts that the caller may see, the newest first.
    ///
    /// # Errors
    ///
    /// Invalid for more than [`MAX_ALERTS_LISTED`](crate::model::alert::MAX_ALERTS_LISTED); Unauthorized; Unsupported.
    async fn list_alerts(&self, filter: AlertFilter) -> Result<Vec<Alert>> {
        let _ = filter;
        Err(OrchestratorError::new(ErrorKind::Unsupported, NO_ALERTS))
    }

    /// Marks alerts as read by the caller. Keys that do not exist are passed over. Returns how many the caller has not read.
    ///
    /// # Errors
    ///
    /// Invalid for more than [`MAX_ALERTS_MARKED`](crate::model::alert::MAX_ALERTS_MARKED); Unauthorized; Unsupported.
    async fn mark_alerts_read(&self, keys: Vec<AlertKey>) -> Result<u64> {
        let _ = keys;
        Err(OrchestratorError::new(ErrorKind::Unsupported, NO_ALERTS))
    }

    /// Lists lines of robot logs that the caller may see.
    ///
    /// # Errors
    ///
    /// Invalid for more than [`MAX_LINES_LISTED`](crate::model::log::MAX_LINES_LISTED); Unauthorized; Unsupported.
    async fn list_log_lines(&self, filter: LogFilter) -> Result<Vec<LogRecord>> {
        let _ = filter;
        Err(OrchestratorError::new(ErrorKind::Unsupported, "the back end keeps no logs"))
    }

    /// Lists the saved views that the caller sees in this folder, by name: its own, and those that are shared with the folder.
    ///
    /// # Errors
    ///
    /// Unauthorized; Unsupported.
    async fn list_views(&self) -> Result<Vec<SavedView>> {
        Err(OrchestratorError::new(ErrorKind::Unsupported, "the Orchestrator keeps no saved views"))
    }

    /// Reads the items of a queue that are ready and have a DueDate, and how many robots work on the queue, for
    /// [`forecast`](crate::model::deadlines::forecast).
    ///
    /// # Errors
    ///
    /// NotFound; Unsupported.
    async fn due_work(&self, queue: &str) -> Result<DueWork> {
        let _ = queue;
        Err(OrchestratorError::new(
            ErrorKind::Unsupported,
            "the Orchestrator does not list what is due in the order in which it is handed out",
        ))
    }
}

const NO_ALERTS: &str = "the back end raises no alerts";

fn no_operations<T>() -> Result<T> {
    Err(OrchestratorError::new(ErrorKind::Unsupported, "the Orchestrator keeps no operations on many items"))
}

fn no_audit<T>() -> Result<T> {
    Err(OrchestratorError::new(ErrorKind::Unsupported, "the Orchestrator has no audit of this kind"))
}
