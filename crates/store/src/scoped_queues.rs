//! Queues in the scope of a folder and a user, for the server.

use std::sync::Arc;

use jiff::Timestamp;

use super::backend::{Operation, Query, expect_answer};
use super::{Store, done};
use performer_core::model::key::{FolderId, QueueId, QueueKey};
use performer_core::model::limits::LimitsEdit;
use performer_core::model::queue::{NewQueueDefinition, QueueDefinition};
use performer_core::model::statistics::{Ended, QueueStatistics};
use performer_core::orchestrator::Result;

/// A queue of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueSelector {
    /// By its name, ignoring case.
    Name(String),
    /// By its id.
    Id(QueueId),
    /// By its key.
    Key(QueueKey),
}

/// The folders in which the caller may change queues; `None`: all of them.
pub type Reach = Option<Arc<[FolderId]>>;

impl Store {
    /// A queue of the folder.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn find_queue(&self, which: QueueSelector) -> Result<QueueDefinition> {
        expect_answer!(self.read(Query::Queue(which)).await, Queue).map(|queue| *queue)
    }

    /// The queues in any of these folders, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn queues_in_folders(&self, folders: Arc<[FolderId]>) -> Result<Vec<QueueDefinition>> {
        expect_answer!(self.read(Query::QueuesOf(folders)).await, Queues)
    }

    /// Changes the settings of a queue, which is one queue in all its folders.
    ///
    /// # Errors
    ///
    /// NotFound; Unauthorized with code 1017 if it is in a folder out of reach; Conflict with code 1001 or 1855; Invalid.
    pub async fn update_queue_within(
        &self,
        which: QueueSelector,
        queue: NewQueueDefinition,
        reach: Reach,
    ) -> Result<QueueDefinition> {
        let queue = Box::new(queue);
        expect_answer!(self.one(Operation::UpdateQueue { which, queue, reach }).await, Queue)
            .map(|queue| *queue)
    }

    /// Deletes a queue from all its folders.
    ///
    /// # Errors
    ///
    /// NotFound; Unauthorized with code 1017 if it is in a folder out of reach.
    pub async fn delete_queue_within(&self, which: QueueSelector, reach: Reach) -> Result<()> {
        done(self.one(Operation::DeleteQueue { which, reach }).await)
    }

    /// Pauses or resumes a queue, or changes its limits.
    ///
    /// # Errors
    ///
    /// NotFound; Unauthorized with code 1017 if it is in a folder out of reach; Invalid.
    pub async fn edit_queue_limits_within(
        &self,
        which: QueueSelector,
        edit: LimitsEdit,
        reach: Reach,
    ) -> Result<QueueDefinition> {
        expect_answer!(self.one(Operation::EditLimits { which, edit, reach }).await, Queue)
            .map(|queue| *queue)
    }

    /// Adds a queue of the folder to other folders, and removes it from others.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1001 if a folder has a queue of this name; Invalid if the queue would be in no folder.
    pub async fn share_queue(&self, queue: QueueId, add: Vec<FolderId>, remove: Vec<FolderId>) -> Result<()> {
        done(self.one(Operation::ShareQueues { queues: vec![queue], add, remove }).await)
    }

    /// The numbers of items of a queue.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn statistics_of(&self, which: QueueSelector) -> Result<QueueStatistics> {
        expect_answer!(self.read(Query::Statistics(which)).await, Statistics)
    }

    /// The queues in any of these folders, by name, with the numbers of their items; from one consistent state.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn statistics_in_folders(
        &self,
        folders: Arc<[FolderId]>,
    ) -> Result<Vec<(QueueDefinition, QueueStatistics)>> {
        expect_answer!(self.read(Query::StatisticsOf(folders)).await, StatisticsOf)
    }

    /// How attempts ended since a time, by minute. `queue`: `None` for all queues of the store.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn ended_attempts(&self, queue: Option<QueueId>, since: Timestamp) -> Result<Vec<Ended>> {
        expect_answer!(self.read(Query::Ended { queue, since }).await, Ended)
    }
}
