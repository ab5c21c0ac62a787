//! Figures of queues by minute and hour: counted in memory, and written with a commit that happens anyway.
//!
//! A row for each attempt would cost what the figures are for, so a process counts, and adds what it has counted once a second to
//! the rows of all processes: with the next commit after that second, with the end of a job, or with a sweep if no commit comes. There
//! is no timer, and an idle store writes nothing. A process that is killed loses what it has counted since, which is about a second;
//! the counters of a queue and the items themselves are exact. A commit whose outcome is unknown counts as made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use performer_core::model::figures::{
    Durations, FIGURES_INTERVAL, Figure, Figures, Level, Resolution, minute_of, start_of,
};
use performer_core::model::key::QueueId;
use performer_core::model::lifecycle::ItemState;
use performer_core::model::result::Outcome;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// What is added to a row of figures. In the order in which rows are written: two processes that lock the same rows lock them in the
/// same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FigureKey {
    pub(crate) queue: QueueId,
    /// How many minutes it is of.
    pub(crate) minutes: i64,
    /// The minute in which it begins.
    pub(crate) at: i64,
    pub(crate) outcome: Outcome,
    pub(crate) bucket: usize,
}

/// How many attempts, and their processing time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) count: i64,
    pub(crate) took: i64,
}

/// What a back end does about figures, inside the one transaction that is open.
pub(crate) trait FigureRows {
    /// Whether figures may be written in this transaction. Not in one that others may have to wait for.
    fn may_write_figures(&self) -> bool {
        true
    }

    /// Adds to the rows of figures, in this order.
    fn add_figures(&mut self, counted: &BTreeMap<FigureKey, Counted>) -> Result<()>;

    /// Writes what waits in a queue now as its level at a minute, and of the hour of that minute.
    fn write_level(&mut self, queue: QueueId, minute: i64) -> Result<()>;

    /// The figures and levels of a queue that begin between two minutes.
    fn figures(&mut self, queue: QueueId, resolution: Resolution, minutes: (i64, i64)) -> Result<Figures>;

    /// Removes figures of a queue from before a minute, a limited number.
    fn remove_figures(&mut self, queue: QueueId, resolution: Resolution, before: i64) -> Result<()>;
}

/// The most rows that [`FigureRows::remove_figures`] removes of each table.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) const MAX_FIGURES_REMOVED: usize = 5_000;

/// What was counted and is not written yet.
#[derive(Debug, Default)]
pub(crate) struct UnwrittenFigures {
    ended: BTreeMap<(QueueId, i64, Outcome, usize), Counted>,
    /// Queues in which anything has changed.
    changed: BTreeSet<QueueId>,
}

impl UnwrittenFigures {
    /// Counts the end of an attempt, if it is one.
    pub(crate) fn count(&mut self, queue: QueueId, before: &ItemState, after: &ItemState) {
        let (Some(outcome), Some(end)) = (after.outcome, after.end_processing) else { return };
        if before.status != Status::InProgress || !after.status.is_final() {
            return;
        }
        let took = before.start_processing.map_or(0, |at| end.as_microsecond() - at.as_microsecond()).max(0);
        let bucket = Durations::bucket(Duration::from_micros(took.unsigned_abs()));
        let counted = self.ended.entry((queue, minute_of(end), outcome, bucket)).or_default();
        counted.count += 1;
        counted.took += took;
    }

    /// Something has changed in a queue.
    pub(crate) fn changed(&mut self, queue: QueueId) {
        self.changed.insert(queue);
    }

    fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.changed.is_empty()
    }

    fn merge(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (key, counted) in other.ended {
            let sum = self.ended.entry(key).or_default();
            sum.count += counted.count;
            sum.took += counted.took;
        }
        self.changed.extend(other.changed);
    }

    /// Writes everything, by minute and by hour.
    pub(crate) fn write(&self, rows: &mut (impl FigureRows + ?Sized), now: Timestamp) -> Result<()> {
        let mut all: BTreeMap<FigureKey, Counted> = BTreeMap::new();
        for ((queue, minute, outcome, bucket), counted) in &self.ended {
            for resolution in Resolution::ALL {
                let (minutes, at) = (resolution.minutes(), resolution.start(*minute));
                let key = FigureKey { queue: *queue, minutes, at, outcome: *outcome, bucket: *bucket };
                let sum = all.entry(key).or_default();
                sum.count += counted.count;
                sum.took += counted.took;
            }
        }
        if !all.is_empty() {
            rows.add_figures(&all)?;
        }
        self.changed.iter().try_for_each(|queue| rows.write_level(*queue, minute_of(now)))
    }
}

/// What the writers of a store have counted.
#[derive(Debug, Default)]
pub(crate) struct PendingFigures(Mutex<Pending>);

#[derive(Debug, Default)]
struct Pending {
    unwritten: UnwrittenFigures,
    /// When figures were last written, by the monotonic clock.
    written: Option<Duration>,
}

impl PendingFigures {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is anything to write, and it is time to.
    pub(crate) fn are_due(&self, now: Duration) -> bool {
        let pending = self.lock();
        !pending.unwritten.is_empty() && is_due(pending.written, now)
    }

    /// Takes over what a transaction has counted. If it is time, or `at_once`, everything is to be written with this transaction.
    pub(crate) fn begin(
        &self,
        counted: UnwrittenFigures,
        now: Duration,
        at_once: bool,
        may_write: bool,
    ) -> CountedFigures<'_> {
        let mut pending = self.lock();
        let earlier = if may_write && (at_once || is_due(pending.written, now)) {
            let earlier = std::mem::take(&mut pending.unwritten);
            if !(earlier.is_empty() && counted.is_empty()) {
                pending.written = Some(now);
            }
            Some(earlier)
        } else {
            None
        };
        CountedFigures { pending: self, counted, earlier }
    }
}

fn is_due(written: Option<Duration>, now: Duration) -> bool {
    written.is_none_or(|written| now >= written.saturating_add(FIGURES_INTERVAL))
}

/// What a transaction has counted, until it is committed. What was counted before comes back if it is not.
pub(crate) struct CountedFigures<'a> {
    pending: &'a PendingFigures,
    counted: UnwrittenFigures,
    /// What was counted before, if it is written with this transaction.
    earlier: Option<UnwrittenFigures>,
}

impl CountedFigures<'_> {
    /// Writes everything if it is time to.
    pub(crate) fn write(&self, rows: &mut (impl FigureRows + ?Sized), now: Timestamp) -> Result<()> {
        let Some(earlier) = &self.earlier else { return Ok(()) };
        let mut all = UnwrittenFigures { ended: earlier.ended.clone(), changed: earlier.changed.clone() };
        all.merge(UnwrittenFigures {
            ended: self.counted.ended.clone(),
            changed: self.counted.changed.clone(),
        });
        all.write(rows, now)
    }

    /// The transaction was committed.
    pub(crate) fn committed(mut self) {
        let counted = std::mem::take(&mut self.counted);
        if self.earlier.take().is_none() && !counted.is_empty() {
            self.pending.lock().unwritten.merge(counted);
        }
    }
}

impl Drop for CountedFigures<'_> {
    fn drop(&mut self) {
        if let Some(earlier) = self.earlier.take() {
            let mut pending = self.pending.lock();
            pending.unwritten.merge(earlier);
            pending.written = None; // with the next commit
        }
    }
}

/// Adds a row to the figures of a query. Rows come in the order of their keys.
pub(crate) fn add_row(figures: &mut Figures, key: FigureKey, counted: Counted) {
    let at = start_of(key.at);
    let last = figures.ended.last();
    if last.is_none_or(|last| (last.queue, last.at, last.outcome) != (key.queue, at, key.outcome)) {
        figures.ended.push(Figure::new(key.queue, at, key.outcome));
    }
    if let Some(figure) = figures.ended.last_mut() {
        figure.count += counted.count;
        figure.took += Duration::from_micros(counted.took.unsigned_abs());
        figure.durations.add(key.bucket, counted.count.unsigned_abs());
    }
}

/// Adds a level to the figures of a query.
pub(crate) fn add_level(
    figures: &mut Figures,
    queue: QueueId,
    minute: i64,
    waiting: (i64, i64),
    oldest: Option<Timestamp>,
) {
    figures.levels.push(Level::new(queue, start_of(minute), waiting, oldest));
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: QueueId = QueueId(1);

    /// Remembers what was written.
    #[derive(Default)]
    struct Written(Vec<(FigureKey, Counted)>);

    impl FigureRows for Written {
        fn add_figures(&mut self, counted: &BTreeMap<FigureKey, Counted>) -> Result<()> {
            self.0.extend(counted.iter().map(|(key, counted)| (*key, *counted)));
            Ok(())
        }

        fn write_level(&mut self, _: QueueId, _: i64) -> Result<()> {
            Ok(())
        }

        fn figures(&mut self, _: QueueId, _: Resolution, _: (i64, i64)) -> Result<Figures> {
            Ok(Figures::default())
        }

        fn remove_figures(&mut self, _: QueueId, _: Resolution, _: i64) -> Result<()> {
            Ok(())
        }
    }

    fn one() -> UnwrittenFigures {
        let mut counted = UnwrittenFigures::default();
        counted.ended.insert((QUEUE, 7, Outcome::Successful, 3), Counted { count: 1, took: 5 });
        counted
    }

    /// How many attempts a transaction at this second writes by minute, and whether it is committed.
    fn transaction(pending: &PendingFigures, second: u64, is_committed: bool) -> i64 {
        let (mut rows, now) = (Written::default(), Duration::from_secs(second));
        let figures = pending.begin(one(), now, false, true);
        figures.write(&mut rows, Timestamp::UNIX_EPOCH).unwrap();
        if is_committed {
            figures.committed();
        }
        let by_minute = rows.0.iter().filter(|(key, _)| key.minutes == 1);
        by_minute.map(|(_, counted)| counted.count).sum()
    }

    #[test]
    fn figures_are_written_once_a_second_and_what_was_not_committed_is_written_again() {
        let pending = PendingFigures::default();
        assert_eq!(transaction(&pending, 0, true), 1);
        assert_eq!(transaction(&pending, 0, true), 0, "not due");
        assert_eq!(transaction(&pending, 0, false), 0, "undone, and not counted");
        assert_eq!(transaction(&pending, 0, true), 0);
        assert!(!pending.are_due(Duration::ZERO) && pending.are_due(FIGURES_INTERVAL));
        assert_eq!(transaction(&pending, 1, false), 3, "undone");
        assert_eq!(transaction(&pending, 1, true), 3, "the two from before, and its own");
        assert!(!pending.are_due(Duration::from_secs(9)), "nothing is left");
    }

    #[test]
    fn a_transaction_that_others_may_have_to_wait_for_leaves_its_figures_to_the_next() {
        let pending = PendingFigures::default();
        let mut rows = Written::default();
        let figures = pending.begin(one(), Duration::ZERO, true, false);
        figures.write(&mut rows, Timestamp::UNIX_EPOCH).unwrap();
        figures.committed();
        assert_eq!(rows.0, []);
        assert_eq!(transaction(&pending, 0, true), 2);
    }
}
