//! Limits of a queue that hold for all performers together.
//!
//! They are stored with the queue and checked in the transaction that claims items, so no two performers can exceed one
//! together. The Orchestrator has nothing like it; the number of robots of a process is the closest.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::code::ErrorCode;
use super::field_edit::FieldEdit;
use super::refusal::Refusal;

/// The limits on claims of a queue, for all performers together. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct QueueLimits {
    /// Nothing is claimed until the queue is resumed. Running attempts continue.
    pub paused: bool,
    /// The most items InProgress at once, including those that performers have claimed ahead. Default: no limit.
    pub max_in_progress: Option<u32>,
    /// The most items started in any window of a given length. Default: no limit.
    pub max_starts: Option<MaxStarts>,
    /// The most items of one [group](super::groups) InProgress at once; 1: one at a time, in order. Items without a group are not
    /// limited. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_progress_per_group: Option<u32>,
    /// Whether groups take turns: of items with the same priority a group with many does not hold up the others. Default: false.
    #[serde(skip_serializing_if = "is_false")]
    pub fair: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// How many items may be started in any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxStarts {
    /// How many, at least 1.
    pub count: u32,
    /// The length of the window, 1 second to 24 hours.
    pub per: Duration,
}

/// The shortest window: a robot that waits for its turn polls about once a second.
pub const MIN_WINDOW: Duration = Duration::from_secs(1);
/// The longest window.
pub const MAX_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Changes to the limits of a queue. By default nothing changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct LimitsEdit {
    /// Pauses or resumes.
    pub paused: Option<bool>,
    /// The most items InProgress; no limit if it is cleared.
    #[serde(skip_serializing_if = "FieldEdit::is_keep")]
    pub max_in_progress: FieldEdit<u32>,
    /// The most items started per window; no limit if it is cleared.
    #[serde(skip_serializing_if = "FieldEdit::is_keep")]
    pub max_starts: FieldEdit<MaxStarts>,
    /// The most items of one group InProgress; no limit if it is cleared.
    #[serde(skip_serializing_if = "FieldEdit::is_keep")]
    pub max_in_progress_per_group: FieldEdit<u32>,
    /// Whether groups take turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fair: Option<bool>,
}

impl LimitsEdit {
    /// Pauses the queue, or resumes it.
    #[must_use]
    pub fn paused(mut self, paused: impl Into<Option<bool>>) -> Self {
        self.paused = paused.into();
        self
    }

    /// Sets the most items InProgress, at least 1; [`FieldEdit::Clear`] removes the limit.
    #[must_use]
    pub fn max_in_progress(mut self, max_in_progress: impl Into<FieldEdit<u32>>) -> Self {
        self.max_in_progress = max_in_progress.into();
        self
    }

    /// Sets the most items started per window; [`FieldEdit::Clear`] removes the limit.
    #[must_use]
    pub fn max_starts(mut self, max_starts: impl Into<FieldEdit<MaxStarts>>) -> Self {
        self.max_starts = max_starts.into();
        self
    }

    /// Sets the most items of one [group](super::groups) InProgress, at least 1; [`FieldEdit::Clear`] removes the limit. A change
    /// takes time in proportion to the items that wait in the queue.
    #[must_use]
    pub fn max_in_progress_per_group(mut self, most: impl Into<FieldEdit<u32>>) -> Self {
        self.max_in_progress_per_group = most.into();
        self
    }

    /// Lets groups take turns, or not. A change takes time in proportion to the items that wait in the queue.
    #[must_use]
    pub fn fair(mut self, fair: impl Into<Option<bool>>) -> Self {
        self.fair = fair.into();
        self
    }
}

impl QueueLimits {
    /// Whether there are no limits.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether something is limited over all items, and not only within a group.
    pub fn are_over_all(&self) -> bool {
        self.paused || self.max_in_progress.is_some() || self.max_starts.is_some()
    }

    /// The limits after a change.
    ///
    /// # Errors
    ///
    /// Code 1015 for a limit of 0 (pause the queue instead) or a window that is shorter than [`MIN_WINDOW`] or longer
    /// than [`MAX_WINDOW`].
    pub fn edited(&self, edit: &LimitsEdit) -> Result<Self, Refusal> {
        let edited = Self {
            paused: edit.paused.unwrap_or(self.paused),
            max_in_progress: edit.max_in_progress.applied_to(self.max_in_progress),
            max_starts: edit.max_starts.applied_to(self.max_starts),
            max_in_progress_per_group: edit
                .max_in_progress_per_group
                .applied_to(self.max_in_progress_per_group),
            fair: edit.fair.unwrap_or(self.fair),
        };
        let invalid = |message: String| Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        if edited.max_in_progress == Some(0)
            || edited.max_in_progress_per_group == Some(0)
            || edited.max_starts.is_some_and(|starts| starts.count == 0)
        {
            return invalid("a limit of 0 items lets nothing through; pause the queue instead".to_owned());
        }
        if let Some(MaxStarts { per, .. }) = edited.max_starts
            && !(MIN_WINDOW..=MAX_WINDOW).contains(&per)
        {
            return invalid(format!(
                "a window of {per:?} is not between {MIN_WINDOW:?} and {MAX_WINDOW:?}, which it should be"
            ));
        }
        Ok(edited)
    }

    /// How many items may be started now.
    pub fn allowance(&self, in_progress: i64, starts: &Starts, now: Timestamp) -> Allowance {
        if self.paused {
            return Allowance { count: 0, again: None };
        }
        let mut allowance = Allowance { count: usize::MAX, again: None };
        if let Some(most) = self.max_in_progress {
            let free = (i64::from(most) - in_progress).max(0);
            allowance.count = usize::try_from(free).unwrap_or(usize::MAX);
        }
        if let Some(most) = self.max_starts {
            let (free, again) = starts.free(most, now);
            if free < allowance.count {
                allowance = Allowance { count: free, again };
            }
        }
        allowance
    }

    /// Until when no item is started, because as many were started as the limit allows. `None`: fewer were.
    pub fn start_limit_until(&self, starts: &Starts, now: Timestamp) -> Option<Timestamp> {
        let (free, again) = starts.free(self.max_starts?, now);
        again.filter(|_| free == 0).map(|again| super::stored_time::after(now, again))
    }
}

/// How many items may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many.
    pub count: usize,
    /// When there will be more, if that only depends on time.
    pub again: Option<Duration>,
}

/// The number of parts of a window. A start counts from the beginning of its part to the end of the window after that
/// part: never too short, and at most one part too long.
const WINDOW_PARTS: i64 = 60;

/// How many items of a queue were started recently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Starts {
    /// The end of each part of a window, in microseconds, and how many were started in it; the oldest first.
    parts: VecDeque<(i64, u32)>,
}

impl Starts {
    /// How many may be started now, and if the limit is reached with these, after which time there will be more.
    fn free(&self, most: MaxStarts, now: Timestamp) -> (usize, Option<Duration>) {
        let window = micros(most.per);
        let counts = |(end, _): &&(i64, u32)| end + window > now.as_microsecond();
        let started: u64 = self.parts.iter().filter(counts).map(|(_, count)| u64::from(*count)).sum();
        let free = u64::from(most.count).saturating_sub(started);
        let oldest = self.parts.iter().find(counts);
        let again = oldest.map(|(end, _)| end + window - now.as_microsecond());
        (
            usize::try_from(free).unwrap_or(usize::MAX),
            again.map(|micros| Duration::from_micros(micros.unsigned_abs())),
        )
    }

    /// Records starts. Forgets starts that are outside every window.
    pub fn count(&mut self, count: usize, most: MaxStarts, now: Timestamp) {
        let (window, now) = (micros(most.per), now.as_microsecond());
        let end = part_end(most, now);
        self.parts.retain(|(end, _)| end + window > now);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match self.parts.back_mut().filter(|(last, _)| *last >= end) {
            Some((_, counted)) => *counted = counted.saturating_add(count),
            None => self.parts.push_back((end, count)),
        }
    }
}

/// The end of the part of a window in which a microsecond is.
fn part_end(most: MaxStarts, at: i64) -> i64 {
    let part = (micros(most.per) / WINDOW_PARTS).max(1);
    (at.div_euclid(part) + 1) * part
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_790_000_000_000 + millis).unwrap()
    }

    const TEN_A_MINUTE: MaxStarts = MaxStarts { count: 10, per: Duration::from_secs(60) };

    #[test]
    fn no_window_has_more_starts_than_the_limit() {
        let limits = QueueLimits { max_starts: Some(TEN_A_MINUTE), ..QueueLimits::default() };
        let (mut starts, mut random, mut all) = (Starts::default(), fastrand::Rng::with_seed(7), Vec::new());
        let mut now = 0;
        while now < 3_600_000 {
            let allowed = limits.allowance(0, &starts, at(now)).count;
            let taken = allowed.min(random.usize(0..4));
            if taken > 0 {
                starts.count(taken, TEN_A_MINUTE, at(now));
                all.extend(std::iter::repeat_n(now, taken));
            }
            now += random.i64(0..2_000);
        }
        for (first, start) in all.iter().enumerate() {
            let within = all[first..].iter().take_while(|other| **other < start + 60_000).count();
            assert!(within <= 10, "{within} starts in the minute from {start}");
        }
        // An hour of a robot that starts items whenever it may: nearly as many as are allowed (a part of each window is
        // lost).
        assert!(all.len() > 570, "{} in an hour", all.len());
        assert!(starts.parts.len() <= 62, "{} parts are kept", starts.parts.len());
    }

    #[test]
    fn it_is_known_when_the_next_may_start() {
        let limits = QueueLimits { max_starts: Some(TEN_A_MINUTE), ..QueueLimits::default() };
        let mut starts = Starts::default();
        assert_eq!(limits.allowance(0, &starts, at(0)).count, 10);
        starts.count(4, TEN_A_MINUTE, at(0));
        starts.count(6, TEN_A_MINUTE, at(30_000));
        let Allowance { count, again } = limits.allowance(0, &starts, at(40_000));
        assert_eq!(count, 0);
        let again = again.unwrap();
        assert!(again > Duration::from_secs(20) && again <= Duration::from_secs(21), "{again:?}");
        let then = at(40_000) + again;
        assert_eq!(limits.allowance(0, &starts, then).count, 4);
    }

    #[test]
    fn the_narrower_limit_decides() {
        let limits = QueueLimits {
            max_in_progress: Some(3),
            max_starts: Some(TEN_A_MINUTE),
            ..QueueLimits::default()
        };
        let starts = Starts::default();
        assert_eq!(limits.allowance(1, &starts, at(0)).count, 2);
        assert_eq!(limits.allowance(5, &starts, at(0)).count, 0, "a limit that was lowered");
        let paused = QueueLimits { paused: true, ..limits };
        assert_eq!(paused.allowance(0, &starts, at(0)).count, 0);
    }

    #[test]
    fn invalid_limits_are_refused_and_absent_ones_unchanged() {
        let limits = QueueLimits { max_in_progress: Some(3), ..QueueLimits::default() };
        let pause = LimitsEdit { paused: Some(true), ..LimitsEdit::default() };
        assert_eq!(limits.edited(&pause), Ok(QueueLimits { paused: true, ..limits }));
        let lift = LimitsEdit { max_in_progress: FieldEdit::Clear, ..LimitsEdit::default() };
        assert!(limits.edited(&lift).unwrap().is_none());
        let short = MaxStarts { count: 1, per: Duration::from_millis(999) };
        let never = MaxStarts { count: 0, per: MIN_WINDOW };
        for refused in [
            LimitsEdit { max_in_progress: FieldEdit::Set(0), ..LimitsEdit::default() },
            LimitsEdit { max_in_progress_per_group: FieldEdit::Set(0), ..LimitsEdit::default() },
            LimitsEdit { max_starts: FieldEdit::Set(short), ..LimitsEdit::default() },
            LimitsEdit { max_starts: FieldEdit::Set(never), ..LimitsEdit::default() },
        ] {
            assert_eq!(limits.edited(&refused).unwrap_err().code(), ErrorCode::PARAMETER_INVALID);
        }
    }

    #[test]
    fn an_edit_says_on_the_wire_what_it_says_here() {
        for edit in [
            LimitsEdit::default(),
            LimitsEdit { max_in_progress: FieldEdit::Clear, ..LimitsEdit::default() },
            LimitsEdit {
                paused: Some(false),
                fair: Some(true),
                max_in_progress_per_group: FieldEdit::Set(1),
                max_starts: FieldEdit::Set(TEN_A_MINUTE),
                ..LimitsEdit::default()
            },
        ] {
            let text = serde_json::to_string(&edit).unwrap();
            assert_eq!(serde_json::from_str::<LimitsEdit>(&text).unwrap(), edit, "{text}");
        }
    }
}
