//! What a retry would mean for the queues in which its copies wait.

use std::time::Duration;

use serde::Serialize;

use super::super::deadlines::Pace;
use super::super::limits::QueueLimits;
use super::super::queue::QueueDefinition;
use super::super::statistics::QueueStatistics;

/// A queue as it is now, and the copies that would come to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct QueueLoad {
    /// The name of the queue.
    pub name: String,
    /// How many copies would come.
    pub copies: u64,
    /// How many items wait already, postponed ones included.
    pub waiting: u64,
    /// How many are InProgress.
    pub in_progress: u64,
    /// The limits of the queue.
    pub limits: QueueLimits,
    /// How fast items of the queue end. `None` if none has ended within [`PACE_MINUTES`](super::super::deadlines::PACE_MINUTES), or if
    /// that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<f64>,
}

impl QueueLoad {
    /// The load of a queue. A queue that is paused has no pace.
    pub fn new(
        queue: &QueueDefinition,
        statistics: &QueueStatistics,
        copies: u64,
        pace: Option<Pace>,
    ) -> Self {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Self {
            name: queue.name.clone(),
            copies,
            waiting: count(statistics.new),
            in_progress: count(statistics.in_progress),
            limits: queue.limits,
            per_minute: pace.filter(|_| !queue.limits.paused).map(|pace| pace.per_minute),
        }
    }

    /// How many items would wait.
    pub fn would_wait(&self) -> u64 {
        self.waiting.saturating_add(self.copies)
    }

    /// How long it takes until they have ended, at the pace of the queue but no faster than it may start items, and not before the
    /// last copy is there if the retry has a pace of its own, a minute. `None` without a pace, or beyond what a duration can say.
    pub fn takes(&self, pace_of_retry: Option<u32>) -> Option<Duration> {
        let may_start =
            self.limits.max_starts.map(|starts| f64::from(starts.count) * 60.0 / starts.per.as_secs_f64());
        let pace = self.per_minute.filter(|pace| *pace > 0.0)?.min(may_start.unwrap_or(f64::INFINITY));
        let added = pace_of_retry.map_or(0.0, |pace| self.copies as f64 / f64::from(pace.max(1)));
        Duration::try_from_secs_f64((self.would_wait() as f64 / pace).max(added) * 60.0).ok()
    }

    /// What holds items of the queue back, in words: nothing is said of limits that are not set.
    pub fn held_back_by(&self) -> Vec<String> {
        let limits = &self.limits;
        let mut all = Vec::new();
        if limits.paused {
            all.push("the queue is paused".to_owned());
        }
        if let Some(most) = limits.max_in_progress {
            all.push(format!("{} of at most {most} items are InProgress", self.in_progress));
        }
        if let Some(starts) = limits.max_starts {
            all.push(format!("at most {} items are started in {:?}", starts.count, starts.per));
        }
        if let Some(most) = limits.max_in_progress_per_group {
            all.push(format!("at most {most} of a group are InProgress"));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::super::key::{QueueId, QueueKey};
    use super::super::super::limits::{LimitsEdit, MaxStarts};
    use super::*;

    fn load(edit: &LimitsEdit, per_minute: Option<f64>) -> QueueLoad {
        let key = QueueKey::from_bytes([0; 16]);
        let mut queue = QueueDefinition::new(QueueId(1), key, "Invoices".to_owned(), Timestamp::UNIX_EPOCH);
        queue.limits = queue.limits.edited(edit).unwrap();
        let statistics = QueueStatistics { new: 100, in_progress: 8, ..QueueStatistics::default() };
        QueueLoad::new(&queue, &statistics, 500, per_minute.map(|pace| Pace::new(pace, 4)))
    }

    fn minutes(load: &QueueLoad, pace: Option<u32>) -> Option<u64> {
        load.takes(pace).map(|takes| takes.as_secs() / 60)
    }

    #[test]
    fn what_waits_is_done_at_the_pace_of_the_queue() {
        let free = load(&LimitsEdit::default(), Some(60.0));
        assert_eq!((free.would_wait(), minutes(&free, None)), (600, Some(10)));
        assert_eq!(free.held_back_by(), [""; 0]);
        assert_eq!(minutes(&free, Some(100)), Some(10), "the copies are there in five minutes");
        assert_eq!(minutes(&free, Some(10)), Some(50), "the last copy comes after fifty minutes");
        assert_eq!(minutes(&load(&LimitsEdit::default(), None), None), None);
    }

    #[test]
    fn limits_are_named_and_slow_it_down() {
        let starts = MaxStarts { count: 30, per: Duration::from_secs(60) };
        let slow = load(&LimitsEdit::default().max_starts(starts).max_in_progress(8), Some(60.0));
        assert_eq!(minutes(&slow, None), Some(20), "thirty a minute");
        assert_eq!(
            slow.held_back_by(),
            ["8 of at most 8 items are InProgress", "at most 30 items are started in 60s"]
        );
        let paused = load(&LimitsEdit::default().paused(true), Some(60.0));
        assert_eq!((minutes(&paused, None), paused.per_minute), (None, None));
        assert_eq!(paused.held_back_by(), ["the queue is paused"]);
    }
}
