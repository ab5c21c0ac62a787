//! What all streams of events share: the store is read at most once a second, however many tabs are open.
//!
//! The store tells other processes and its own waiting callers which queues have claimable items, but not that an attempt ended or
//! that an item was reviewed. So the numbers of items are read, which are rows that the store keeps; what is more expensive is
//! read only when these have changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::Inner;
use crate::api_error::ApiError;
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::key::{FolderId, QueueId};
use performer_core::model::query::{Comparison, Condition, Field, Value};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::Status;

/// How often the store is read.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// How many streams there are at a time; a stream is an open tab.
const MAX_STREAMS: usize = 200;
/// New items of a list are counted up to this number.
pub(super) const MAX_NEWER: u64 = 100;
/// How many lists are remembered before those are forgotten that were not read lately.
const MAX_LISTS: usize = 1_000;

/// The queues of all folders with the numbers of their items, at one time.
pub(super) type Snapshot = Arc<Vec<(QueueDefinition, QueueStatistics)>>;

/// What was read, and when.
type Read<T> = Arc<tokio::sync::Mutex<Option<(Instant, T)>>>;

/// The streams of this process, and what was read for them.
#[derive(Debug)]
pub(crate) struct Live {
    streams: Arc<Semaphore>,
    numbers: Read<Snapshot>,
    /// How many items of a list are newer than one, by the folders, the filter and that item.
    newer: Mutex<HashMap<String, Read<u64>>>,
}

impl Default for Live {
    fn default() -> Self {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self { streams, numbers: Read::default(), newer: Mutex::default() }
    }
}

/// What is known, if it was read within [`INTERVAL`].
fn recent<T: Clone>(read: Option<&(Instant, T)>) -> Option<(Instant, T)> {
    read.filter(|(at, _)| at.elapsed() < INTERVAL).cloned()
}

impl Live {
    /// A place for one more stream, until it is dropped.
    ///
    /// # Errors
    ///
    /// 503 if there are too many.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        self.streams.clone().try_acquire_owned().map_err(|_| ApiError::unavailable())
    }

    /// The numbers of items of all queues, which are at most [`INTERVAL`] old, and when they were read.
    ///
    /// # Errors
    ///
    /// 503 if the store is unavailable.
    pub(super) async fn numbers(&self, server: &Inner) -> Result<(Instant, Snapshot), ApiError> {
        let mut read = self.numbers.lock().await; // one reads, and the others wait for it
        if let Some(known) = recent(read.as_ref()) {
            return Ok(known);
        }
        let folders = server.access.directory().folders().map(|folder| folder.id).collect();
        let now = Instant::now();
        let numbers: Snapshot = Arc::new(server.store.statistics_in_folders(folders).await?);
        *read = Some((now, numbers.clone()));
        Ok((now, numbers))
    }

    /// How many items of a list were added after an item, up to [`MAX_NEWER`], and when that was read. `list` names the list.
    ///
    /// # Errors
    ///
    /// 503 if the store is unavailable.
    pub(super) async fn newer(
        &self,
        server: &Inner,
        (list, folders): (String, &Arc<[FolderId]>),
        mut filter: ItemFilter,
        than: i64,
    ) -> Result<(Instant, u64), ApiError> {
        let read = self.list(list);
        let mut read = read.lock().await;
        if let Some(known) = recent(read.as_ref()) {
            return Ok(known);
        }
        let newer = Condition::Compare(Field::Id, Comparison::Greater, Value::Number(than));
        filter.condition = Some(match filter.condition.take() {
            None => newer,
            Some(condition) => Condition::All(vec![condition, newer]),
        });
        let (now, page) = (Instant::now(), Page::first(1).descending(true).count_limit(MAX_NEWER));
        let store = server.store.clone().with_list_limit(server.config.list_limit);
        let (_, count) = store.items_in_folders(folders.clone(), filter, page).await?;
        let count = count.unwrap_or_default();
        *read = Some((now, count));
        Ok((now, count))
    }

    fn list(&self, list: String) -> Read<u64> {
        let mut lists = self.newer.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= MAX_LISTS {
            lists.retain(|_, read| Arc::strong_count(read) > 1); // those that are being read
        }
        lists.entry(list).or_default().clone()
    }
}

/// The name of a number: of the items of a queue, or of all queues that the reader sees, in a state.
pub(super) fn name(queue: Option<QueueId>, status: Status) -> String {
    queue.map_or_else(|| format!("*.{status}"), |queue| format!("{queue}.{status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_limited() {
        let live = Live::default();
        let places: Vec<_> = (0..MAX_STREAMS).map(|_| live.place().unwrap()).collect();
        assert_eq!(live.place().err().unwrap().status.as_u16(), 503);
        drop(places);
        drop(live.place().unwrap());
    }

    #[test]
    fn lists_that_are_not_looked_at_are_forgotten() {
        let live = Live::default();
        let kept = live.list("kept".to_owned());
        (0..3 * MAX_LISTS).for_each(|number| drop(live.list(number.to_string())));
        assert!(live.newer.lock().unwrap().len() <= MAX_LISTS);
        assert!(Arc::ptr_eq(&kept, &live.list("kept".to_owned())));
    }
}
