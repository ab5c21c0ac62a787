//! Figures of queues by minute and hour: how many attempts ended, how long they took, and what waited.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::code::ErrorCode;
use super::key::QueueId;
use super::refusal::Refusal;
use super::result::Outcome;

/// How many buckets durations are counted in.
pub const BUCKETS: usize = 56;

/// How often a store writes its figures.
pub const FIGURES_INTERVAL: Duration = Duration::from_secs(1);

/// The most points in time that one query may have.
pub const MAX_POINTS: i64 = 1_500;

/// How far apart the figures are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// By minute; kept for 30 days.
    #[default]
    Minute,
    /// By hour; kept for 400 days.
    Hour,
}

impl Resolution {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    /// How many minutes one figure is of.
    pub const fn minutes(self) -> i64 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
        }
    }

    /// For how many minutes figures are kept.
    pub const fn kept_for(self) -> i64 {
        match self {
            Self::Minute => 30 * 24 * 60,
            Self::Hour => 400 * 24 * 60,
        }
    }

    /// The minute, counted from 1970, in which the figure that a minute belongs to begins.
    pub const fn start(self, minute: i64) -> i64 {
        minute - minute.rem_euclid(self.minutes())
    }
}

/// The minute of an instant, counted from 1970.
pub fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// When a minute begins.
pub fn start_of(minute: i64) -> Timestamp {
    Timestamp::from_second(minute.saturating_mul(60)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Durations, counted in buckets whose bounds grow by the square root of two.
///
/// The first bucket ends at a millisecond, each of the others at 1.414 times the bound before, and the last one begins at 37 hours.
/// Counts of several processes and minutes can be added up, which percentiles cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BUCKETS],
}

impl Default for Durations {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl Durations {
    /// The bucket of a duration, from 0 on.
    pub fn bucket(took: Duration) -> usize {
        let micros = took.as_micros();
        if micros < 1_000 {
            return 0;
        }
        // Two buckets an octave: the whole part of the logarithm of the square.
        let octaves = (micros.saturating_mul(micros) / 1_000_000).ilog2();
        (octaves as usize + 1).min(BUCKETS - 1)
    }

    /// Where a bucket begins.
    pub fn begin(bucket: usize) -> Duration {
        match bucket {
            0 => Duration::ZERO,
            _ => millis_at(bucket.min(BUCKETS - 1) as f64 - 1.0),
        }
    }

    /// Counts so many more in a bucket.
    pub fn add(&mut self, bucket: usize, count: u64) {
        if let Some(counted) = self.counts.get_mut(bucket) {
            *counted += count;
        }
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(counted, other)| *counted += other);
    }

    /// The count of each bucket.
    pub fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration that this share of all do not exceed: 0.5 for the median, 0.95, 0.99. `None` if there are none.
    ///
    /// It is an estimate, the geometric mean of its bucket: at most 19 % more or less than the duration that was measured, half a
    /// millisecond below one millisecond, and a lower bound from 37 hours on.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let all = self.count();
        let rank = ((share.clamp(0.0, 1.0) * all as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(match bucket {
            0 => Duration::from_micros(500),
            _ if bucket == BUCKETS - 1 => Self::begin(bucket),
            _ => millis_at(bucket as f64 - 0.5),
        })
    }
}

/// So many half octaves above a millisecond.
fn millis_at(half_octaves: f64) -> Duration {
    Duration::from_secs_f64((half_octaves / 2.0).exp2() / 1_000.0)
}

impl Serialize for Durations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.counts)
    }
}

/// Attempts of one queue that ended in one way within one minute or hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Figure {
    /// The queue.
    #[serde(rename = "QueueDefinitionId")]
    pub queue: QueueId,
    /// When the minute or hour begins.
    pub at: Timestamp,
    /// How they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: i64,
    /// Their processing time in all.
    #[serde(skip)]
    pub took: Duration,
    /// Their processing times.
    pub durations: Durations,
}

impl Figure {
    /// A figure of no attempts.
    pub fn new(queue: QueueId, at: Timestamp, outcome: Outcome) -> Self {
        Self { queue, at, outcome, count: 0, took: Duration::ZERO, durations: Durations::default() }
    }
}

/// What waited in one queue, as it was when figures were last written within a minute or hour. There is none for a time in which
/// nothing ended, was added or claimed: the one before still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Level {
    /// The queue.
    #[serde(rename = "QueueDefinitionId")]
    pub queue: QueueId,
    /// When the minute or hour begins.
    pub at: Timestamp,
    /// How many items were New, postponed ones included.
    pub new: i64,
    /// How many items were InProgress.
    pub in_progress: i64,
    /// When the oldest of the items was added that came first: of each priority, with a due date and without, the one that was next.
    pub oldest: Option<Timestamp>,
}

impl Level {
    /// A level.
    pub fn new(
        queue: QueueId,
        at: Timestamp,
        (new, in_progress): (i64, i64),
        oldest: Option<Timestamp>,
    ) -> Self {
        Self { queue, at, new, in_progress, oldest }
    }
}

/// Figures of some queues, by queue and time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Figures {
    /// What ended. A time without any is left out.
    pub ended: Vec<Figure>,
    /// What waited.
    pub levels: Vec<Level>,
}

/// Which figures to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FiguresFilter {
    /// Of these queues, by name; empty for all.
    pub queues: Vec<String>,
    /// From the minute or hour of this time on.
    pub since: Timestamp,
    /// Until before this time.
    pub until: Timestamp,
    /// By minute or by hour.
    pub resolution: Resolution,
}

impl FiguresFilter {
    /// The figures of all queues between two times, by minute.
    pub fn new(since: Timestamp, until: Timestamp) -> Self {
        Self { queues: Vec::new(), since, until, resolution: Resolution::Minute }
    }

    /// Of these queues. Default: all.
    #[must_use]
    pub fn queues<T: Into<String>>(mut self, queues: impl IntoIterator<Item = T>) -> Self {
        self.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// By minute or by hour. Default: by minute.
    #[must_use]
    pub fn resolution(mut self, resolution: Resolution) -> Self {
        self.resolution = resolution;
        self
    }

    /// The minutes, counted from 1970, between which the figures begin: from the first, until before the second.
    ///
    /// # Errors
    ///
    /// Code 1000 for more than [`MAX_POINTS`] minutes or hours.
    pub fn minutes(&self) -> Result<(i64, i64), Refusal> {
        let from = self.resolution.start(minute_of(self.since));
        // A minute that has begun before the end counts.
        let whole = minute_of(self.until);
        let end = if start_of(whole) < self.until { whole + 1 } else { whole };
        if (end - from) / self.resolution.minutes() > MAX_POINTS {
            let message = format!("figures of more than {MAX_POINTS} points in time were asked for");
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        }
        // What ends before it begins has no minute.
        Ok((from, end.max(from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_by_the_square_root_of_two() {
        let bucket = |micros| Durations::bucket(Duration::from_micros(micros));
        let expected =
            [(0, 0), (999, 0), (1_000, 1), (1_414, 1), (1_415, 2), (1_999, 2), (2_000, 3), (1_000_000, 20)];
        for (micros, expected) in expected {
            assert_eq!(bucket(micros), expected, "{micros}");
        }
        assert_eq!(Durations::bucket(Duration::MAX), BUCKETS - 1);
        for number in 1..BUCKETS {
            let begin = Durations::begin(number);
            assert_eq!(Durations::bucket(begin + Duration::from_micros(1)), number);
            assert_eq!(Durations::bucket(begin - Duration::from_micros(2)), number - 1);
        }
    }

    #[test]
    fn a_percentile_is_as_exact_as_it_says() {
        let mut random = 42_u64;
        for case in 0..300 {
            let mut durations = Durations::default();
            let mut measured: Vec<Duration> = (0..1 + case)
                .map(|_| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    Duration::from_micros(
                        1_000 + (random >> 33) % (10_u64.pow(4 + (random >> 20) as u32 % 6)),
                    )
                })
                .collect();
            measured.sort_unstable();
            measured.iter().for_each(|took| durations.add(Durations::bucket(*took), 1));
            for share in [0.0, 0.5, 0.95, 0.99, 1.0] {
                let rank = ((share * measured.len() as f64).ceil() as usize).max(1);
                let (exact, estimate) = (measured[rank - 1], durations.percentile(share).unwrap());
                let ratio = estimate.as_secs_f64() / exact.as_secs_f64();
                assert!((1.0 / 1.19..=1.19).contains(&ratio), "{estimate:?} for {exact:?}");
            }
        }
        assert_eq!(Durations::default().percentile(0.5), None);
        let mut quick = Durations::default();
        quick.add(0, 3);
        assert_eq!(quick.percentile(0.99), Some(Duration::from_micros(500)));
        let mut both = Durations::default();
        both.add(BUCKETS - 1, 1);
        both.merge(&quick);
        assert_eq!((both.count(), both.percentile(1.0)), (4, Some(Durations::begin(BUCKETS - 1))));
    }

    #[test]
    fn a_query_is_of_whole_minutes_or_hours() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let filter = FiguresFilter::new(at("2026-03-01T08:30:30Z"), at("2026-03-01T09:00:01Z"));
        let (from, end) = filter.minutes().unwrap();
        assert_eq!((start_of(from), start_of(end)), (at("2026-03-01T08:30:00Z"), at("2026-03-01T09:01:00Z")));
        let (from, end) = filter.resolution(Resolution::Hour).minutes().unwrap();
        assert_eq!((start_of(from), start_of(end)), (at("2026-03-01T08:00:00Z"), at("2026-03-01T09:01:00Z")));
        let backwards = FiguresFilter::new(at("2026-03-01T09:00:00Z"), at("2026-03-01T08:00:00Z"));
        let (from, end) = backwards.minutes().unwrap();
        assert_eq!(from, end, "there is nothing, and no end before the beginning");
        let long = FiguresFilter::new(at("2026-03-01T08:00:00Z"), at("2026-03-03T08:00:00Z"));
        assert!(long.minutes().is_err() && long.resolution(Resolution::Hour).minutes().is_ok());
        assert_eq!(minute_of(at("1969-12-31T23:59:59Z")), -1);
    }
}
