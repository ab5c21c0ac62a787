//! What people do: define queues, inspect and review items, and manage jobs. T16 to T24 are the transitions of
//! `docs/reference/lifecycle.md`.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    AssetAdministration, BucketAdministration, ErrorKind, Insight, Orchestrator, OrchestratorError,
    ProcessAdministration, Result, TaskAdministration, WebhookAdministration,
};
use crate::model::figures::{Figures, FiguresFilter};
use crate::model::history::ItemEvent;
use crate::model::item::{ItemEdit, ItemFilter, ItemPage, Page, QueueItem};
use crate::model::job::{Job, StopStrategy};
use crate::model::key::{ItemId, JobKey};
use crate::model::limits::LimitsEdit;
use crate::model::queue::{NewQueueDefinition, QueueDefinition};
use crate::model::reason::{Reason, ReasonEdit, ReasonFilter};
use crate::model::review::{Comment, FailedItems, ItemVersion, Person};
use crate::model::robot::Robot;
use crate::model::statistics::{QueueBacklog, QueueStatistics};
use crate::model::status::ReviewStatus;

/// A back end with all operations: those of performers and those of people. It is implemented for every type that has the
/// six traits.
pub trait Administration:
    Orchestrator + QueueAdministration + ItemAdministration + ReviewAdministration + FleetAdministration + Insight
{
}

impl<T> Administration for T where
    T: Orchestrator
        + QueueAdministration
        + ItemAdministration
        + ReviewAdministration
        + FleetAdministration
        + Insight
{
}

/// Defines queues and their limits, counts their items, and applies their retention.
#[async_trait]
pub trait QueueAdministration: std::fmt::Debug + Send + Sync {
    /// The assets of the back end. `None`, the default: it has none.
    fn assets(&self) -> Option<&dyn AssetAdministration> {
        None
    }

    /// The webhooks of the back end. `None`, the default: it has none.
    fn webhooks(&self) -> Option<&dyn WebhookAdministration> {
        None
    }

    /// The storage buckets of the back end. `None`, the default: it has none.
    fn buckets(&self) -> Option<&dyn BucketAdministration> {
        None
    }

    /// The tasks of the back end. `None`, the default: it has none.
    fn tasks(&self) -> Option<&dyn TaskAdministration> {
        None
    }

    /// Creates a queue.
    ///
    /// # Errors
    ///
    /// Conflict with code 1001 if the name is already used; Invalid if a setting is out of range.
    async fn create_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition>;

    /// Creates a queue, or checks that the one with this name has these settings. An existing queue is not changed, because other
    /// programs may rely on its settings. Its description, schemas and notes are compared only if they are set in `queue`.
    ///
    /// # Errors
    ///
    /// Conflict if there is a queue with other settings, and the message names each of them, or if the caller cannot see the queue
    /// that has the name. Otherwise as [`create_queue`](Self::create_queue).
    async fn ensure_queue(&self, queue: NewQueueDefinition) -> Result<QueueDefinition> {
        let found = match self.get_queue(&queue.name).await {
            Err(error) if error.is_not_found() => match self.create_queue(queue.clone()).await {
                // Another program has created it in between, or the caller may not see it.
                Err(error) if error.is_name_taken() => {
                    self.get_queue(&queue.name).await.map_err(|_| error)?
                }
                created => return created,
            },
            found => found?,
        };
        let differences = queue.differences_from(&found);
        if differences.is_empty() {
            return Ok(found);
        }
        let message =
            format!("queue {:?} exists with other settings: {}", found.name, differences.join("; "));
        Err(OrchestratorError::new(ErrorKind::Conflict, message))
    }

    /// Replaces the settings of a queue. What the new settings do not have (a description, a schema, notes of people) is removed:
    /// start from [`QueueDefinition::settings`] to change some of them.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1001 or 1855; Invalid.
    async fn update_queue(&self, name: &str, queue: NewQueueDefinition) -> Result<QueueDefinition>;

    /// Deletes a queue. Afterwards its items are neither handed out nor found, and claims on them are lost. The duration does
    /// not depend on the number of items: a store removes them in batches, in later [`sweep`](Orchestrator::sweep)s.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn delete_queue(&self, name: &str) -> Result<()>;

    /// Pauses or resumes a queue, or changes its limits, which apply over all performers. The change applies at once; items
    /// InProgress are not affected.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid for a limit of 0 or a window that is too short or too long; Unsupported if the Orchestrator has no such
    /// limits.
    async fn edit_queue_limits(&self, name: &str, edit: LimitsEdit) -> Result<QueueDefinition>;

    /// Until when claims on a queue get no item because as many were started as [`max_starts`](crate::model::limits::QueueLimits)
    /// allows. `None`: fewer were started, or there is no such limit.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn start_limit_until(&self, name: &str) -> Result<Option<Timestamp>> {
        let _ = name;
        Ok(None)
    }

    /// Finds a queue by its name, which is case-insensitive.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn get_queue(&self, name: &str) -> Result<QueueDefinition>;

    /// Lists all queues in the order of their names.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn list_queues(&self) -> Result<Vec<QueueDefinition>>;

    /// Counts the items of a queue by status.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn queue_statistics(&self, queue: &str) -> Result<QueueStatistics>;

    /// What is left to do in each queue. An Orchestrator may answer with numbers that are some minutes old.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn list_backlogs(&self) -> Result<Vec<QueueBacklog>> {
        let mut backlogs = Vec::new();
        for queue in self.list_queues().await? {
            match self.queue_statistics(&queue.name).await {
                Ok(counted) => backlogs.push(QueueBacklog::new(queue.id, counted.new, counted.in_progress)),
                Err(error) if error.is_not_found() => {} // deleted meanwhile
                Err(error) => return Err(error),
            }
        }
        Ok(backlogs)
    }

    /// Reads figures of queues between two times: how many attempts ended, how, and how long they took, and how many items waited.
    ///
    /// They are counted from the time on at which the store could first keep them, and written about once a second: a process that is
    /// killed has not written what it counted in the last second. What is needed exactly is counted from the items
    /// ([`queue_statistics`](Self::queue_statistics), [`list_queue_items`](ItemAdministration::list_queue_items)).
    ///
    /// # Errors
    ///
    /// NotFound for an unknown queue; Invalid for more than [`MAX_POINTS`](crate::model::figures::MAX_POINTS) minutes or hours;
    /// Unsupported if the Orchestrator has no such figures, which is the default.
    async fn queue_figures(&self, filter: FiguresFilter) -> Result<Figures> {
        let _ = filter;
        Err(OrchestratorError::new(ErrorKind::Unsupported, "the Orchestrator has no figures by minute"))
    }

    /// T23: removes at most `limit` items (and the rest of their chains) that are past their queue's retention. Returns the number
    /// of removed items; 0 if nothing is left to do.
    ///
    /// A clock that may be ahead removes nothing: until the time of day has agreed with the monotonic clock for ten minutes, or
    /// for an hour after a jump or a long stop, the current time is the last one that the store has kept plus the time elapsed
    /// in this process ([`model::clock_guard`](crate::model::clock_guard)).
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn apply_retention(&self, limit: usize) -> Result<u64>;
}

/// Reads items and their history, changes those that are New, and deletes them.
#[async_trait]
pub trait ItemAdministration: std::fmt::Debug + Send + Sync {
    /// Reads an item.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn get_queue_item(&self, id: ItemId) -> Result<QueueItem>;

    /// Lists a page of the items that match a filter, in the order of their ids, or in that of the filter.
    ///
    /// # Errors
    ///
    /// NotFound for an unknown queue; Invalid for a page over 100 items.
    async fn list_queue_items(&self, filter: ItemFilter, page: Page) -> Result<ItemPage>;

    /// T16: changes the values of an item that is New.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict if the item is no longer New; Invalid for a progress text that is too long, or content that does not match
    /// the queue's schema.
    async fn edit_queue_item(&self, id: ItemId, edit: ItemEdit) -> Result<QueueItem>;

    /// T17: deletes items. Returns those that are refused; the others are deleted.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable. Refused items are not an error of the call.
    async fn delete_queue_items(&self, items: Vec<ItemVersion>) -> Result<FailedItems>;

    /// Lists all attempts of the retry chain of an item, oldest first.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn processing_history(&self, id: ItemId) -> Result<Vec<QueueItem>>;

    /// Lists the events of all attempts of the retry chain of an item.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn item_events(&self, id: ItemId) -> Result<Vec<ItemEvent>>;

    /// T24: removes the content of an item that is Successful, Retried or Deleted.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict for any other status.
    async fn purge_content(&self, id: ItemId) -> Result<()>;

    /// Reads an item whose [personal fields](crate::model::personal) somebody wants to see, and records in the audit who saw which of
    /// them, and why. Reading an item by the other methods records nothing, and programs get all values by them.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid without a reason, and for an item without personal fields; Unsupported if the Orchestrator keeps no such
    /// record, which is the default.
    async fn reveal_personal_fields(&self, id: ItemId, reason: String) -> Result<QueueItem> {
        let _ = (id, reason);
        let message = "the Orchestrator does not record who sees personal fields";
        Err(OrchestratorError::new(ErrorKind::Unsupported, message))
    }
}

/// Reviews failed items: their review status, reviewer and comments.
#[async_trait]
pub trait ReviewAdministration: std::fmt::Debug + Send + Sync {
    /// T18 to T21: sets the review status of items. `Retried` is the manual retry, which adds a copy of the item. Returns the
    /// items that are refused; the others are changed.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable. Refused items are not an error of the call.
    async fn set_review_status(&self, to: ReviewStatus, items: Vec<ItemVersion>) -> Result<FailedItems>;

    /// T22: sets or clears the reviewer of items. Returns the items that are refused; the others are changed.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable. Refused items are not an error of the call.
    async fn set_reviewer(&self, reviewer: Option<i64>, items: Vec<ItemVersion>) -> Result<FailedItems>;

    /// Adds a comment to an item.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid if the text is empty or longer than 512 code units.
    async fn add_comment(&self, id: ItemId, author: Person, text: String) -> Result<Comment>;

    /// Changes a comment, or deletes it if `text` is `None`.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1007 if another person wrote it.
    async fn edit_comment(&self, comment: i64, author: Person, text: Option<String>) -> Result<()>;

    /// Lists groups of failures, by [reason](crate::model::reason): how many attempts failed so, when first and last, and how many
    /// items have to be reviewed. Attempts that failed before the store kept groups are in none.
    ///
    /// # Errors
    ///
    /// NotFound for an unknown queue; Invalid for more than [`REASON_PAGE_LIMIT`](crate::model::reason::REASON_PAGE_LIMIT) groups;
    /// Unsupported if the Orchestrator does not group failures, which is the default.
    async fn list_reasons(&self, filter: ReasonFilter) -> Result<Vec<Reason>> {
        let _ = filter;
        Err(OrchestratorError::new(
            ErrorKind::Unsupported,
            "the Orchestrator does not group failures by reason",
        ))
    }

    /// T21 and T16 in one transaction: retries a failed or abandoned item by hand, and gives its copy other values before any robot
    /// can claim it. The item itself stays as it is. Returns the copy.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict as for a manual retry, with code 1020 if the item has changed since its version; Invalid for content that does
    /// not match the queue's schema; Unsupported if the Orchestrator can only do one after the other, which is the default.
    async fn correct_and_retry(&self, item: ItemVersion, edit: ItemEdit) -> Result<QueueItem> {
        let _ = (item, edit);
        Err(OrchestratorError::new(
            ErrorKind::Unsupported,
            "the Orchestrator cannot correct and retry in one step: a robot could claim the copy in between",
        ))
    }

    /// Changes the note or the owner of a group of failures.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid for a note that is too long; Unsupported if the Orchestrator does not group failures, which is the default.
    async fn edit_reason(&self, id: i64, edit: ReasonEdit) -> Result<Reason> {
        let _ = (id, edit);
        Err(OrchestratorError::new(
            ErrorKind::Unsupported,
            "the Orchestrator does not group failures by reason",
        ))
    }

    /// Lists the comments on all attempts of the retry chain of an item, oldest first.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn comments(&self, id: ItemId) -> Result<Vec<Comment>>;
}

/// Shows the jobs and robots that work now, and requests jobs to stop.
#[async_trait]
pub trait FleetAdministration: std::fmt::Debug + Send + Sync {
    /// The processes and machines of the back end. `None`, the default: it has none.
    fn processes(&self) -> Option<&dyn ProcessAdministration> {
        None
    }

    /// Lists at most `limit` jobs, newest first.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable; Invalid for a limit over 10,000.
    async fn list_jobs(&self, limit: usize) -> Result<Vec<Job>>;

    /// Lists the robots of all running jobs, by job; at most 10,000
    /// ([`MAX_ROBOTS_LISTED`](crate::model::robot::MAX_ROBOTS_LISTED)).
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable; Unsupported if the Orchestrator does not know them.
    async fn list_robots(&self) -> Result<Vec<Robot>>;

    /// Requests a job to stop; the answer to its next heartbeat contains the request.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1658 or 1659 if it has ended, and with 1658 for a soft stop of a job that is being
    /// terminated.
    async fn stop_job(&self, job: JobKey, strategy: StopStrategy) -> Result<()>;
}
