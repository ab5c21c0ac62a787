//! Alerts of a store ([`model::alert`](performer_core::model::alert)): raised in the commit of what happened, and read by each user for
//! themselves.

use jiff::Timestamp;

use super::Store;
use super::backend::{Answer, Operation, Query, expect_answer};
use super::done;
use performer_core::model::alert::{
    Alert, AlertContent, AlertFilter, AlertKind, AlertSeverity, NewAlert, validate_marked,
};
use performer_core::model::key::{AlertKey, FolderId, QueueId};
use performer_core::orchestrator::Result;

/// A change of alerts.
#[derive(Clone, Debug)]
pub(crate) enum AlertOperation {
    /// Raises what a program has to say.
    Raise(Box<NewAlert>),
    /// Marks those as read by the user of the scope that are in these folders.
    MarkRead { keys: Vec<AlertKey>, folders: Option<Vec<FolderId>> },
    /// Raises alerts about items that wait, of queues with an SLA.
    CheckServiceLevels,
    /// Removes at most `limit` that are older than so many days, or too many.
    Remove { days: u32, limit: usize },
}

/// A question about alerts. They are read or not by the user of the scope.
#[derive(Debug)]
pub(crate) enum AlertQuery {
    List(AlertFilter),
    CountUnread(Option<Vec<FolderId>>),
}

/// The answer to either.
#[derive(Debug)]
pub(crate) enum AlertAnswer {
    Alerts(Vec<Alert>),
    Count(u64),
}

/// An alert as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct AlertRow {
    pub(crate) key: AlertKey,
    pub(crate) folder: FolderId,
    pub(crate) queue: Option<QueueId>,
    pub(crate) kind: AlertKind,
    pub(crate) severity: AlertSeverity,
    pub(crate) time: Timestamp,
    pub(crate) content: AlertContent,
}

/// Alerts, inside the one transaction that is open. `user`: who reads; 0 for a process that opened the store itself.
pub(crate) trait AlertRows {
    fn insert_alert(&mut self, alert: &AlertRow) -> Result<()>;
    /// The newest first.
    fn alerts(&mut self, user: i64, filter: &AlertFilter) -> Result<Vec<Alert>>;
    fn count_unread(&mut self, user: i64, folders: Option<&[FolderId]>) -> Result<u64>;
    fn mark_read(&mut self, user: i64, keys: &[AlertKey], folders: Option<&[FolderId]>) -> Result<()>;
    /// When one of a kind was last raised about a queue.
    fn last_alert(&mut self, queue: QueueId, kind: AlertKind) -> Result<Option<Timestamp>>;
    /// Keeps other transactions from checking service levels until this one ends, if several can write.
    fn lock_service_levels(&mut self) -> Result<()>;
    /// Removes at most `limit`: those from before a time, and the oldest over a number. Returns how many.
    fn remove_alerts(&mut self, before: Timestamp, most: u64, limit: usize) -> Result<u64>;
}

impl Store {
    /// Alerts, the newest first, as the user of this store has read them or not.
    ///
    /// # Errors
    ///
    /// Invalid for more than [`MAX_ALERTS_LISTED`](performer_core::model::alert::MAX_ALERTS_LISTED); Unavailable if the store is unavailable.
    pub async fn alerts(&self, filter: AlertFilter) -> Result<Vec<Alert>> {
        filter.validate()?;
        match expect_answer!(self.read(Query::Alerts(AlertQuery::List(filter))).await, Alert)? {
            AlertAnswer::Alerts(alerts) => Ok(alerts),
            AlertAnswer::Count(_) => unreachable!("alerts were asked for"),
        }
    }

    /// How many alerts of these folders the user of this store has not read; `None`: of all folders.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn unread_alerts(&self, folders: Option<Vec<FolderId>>) -> Result<u64> {
        count(&expect_answer!(self.read(Query::Alerts(AlertQuery::CountUnread(folders))).await, Alert)?)
    }

    /// Marks alerts of these folders as read by the user of this store. Keys of others are passed over. Returns how many the user has not
    /// read.
    ///
    /// # Errors
    ///
    /// Invalid for more than [`MAX_ALERTS_MARKED`](performer_core::model::alert::MAX_ALERTS_MARKED); Unavailable if the store is
    /// unavailable.
    pub async fn read_alerts(&self, keys: Vec<AlertKey>, folders: Option<Vec<FolderId>>) -> Result<u64> {
        validate_marked(&keys)?;
        let operation = AlertOperation::MarkRead { keys, folders };
        count(&expect_answer!(self.one(Operation::Alerts(operation)).await, Alert)?)
    }

    /// Raises an alert of a program.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn raise_alert(&self, alert: NewAlert) -> Result<()> {
        done(self.one(Operation::Alerts(AlertOperation::Raise(Box::new(alert)))).await)
    }

    /// Raises alerts about queues with an SLA in which items wait that miss it, or may. Returns how many were raised. A server does this by
    /// itself, every minute.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn check_service_levels(&self) -> Result<u64> {
        count(&expect_answer!(self.one(Operation::Alerts(AlertOperation::CheckServiceLevels)).await, Alert)?)
    }

    /// Removes at most `limit` alerts that are older than so many days, or over
    /// [`MAX_ALERTS`](performer_core::model::alert::MAX_ALERTS), and returns how many. A server does this by itself.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn remove_alerts(&self, days: u32, limit: usize) -> Result<u64> {
        count(&expect_answer!(
            self.one(Operation::Alerts(AlertOperation::Remove { days, limit })).await,
            Alert
        )?)
    }
}

fn count(answer: &AlertAnswer) -> Result<u64> {
    match answer {
        AlertAnswer::Count(count) => Ok(*count),
        AlertAnswer::Alerts(_) => unreachable!("a number was asked for"),
    }
}

impl From<AlertAnswer> for Answer {
    fn from(answer: AlertAnswer) -> Self {
        Self::Alert(answer)
    }
}
