//! Deadlines: whether the items that wait will be done by their DueDate, at the pace of now.
//!
//! Items with a DueDate are handed out before those without, in the order of [`selection`](super::selection), so how late each will be is
//! known from what is before it. Items that are postponed, and those that wait behind others of their [group](super::groups), are not
//! ready and not counted. The forecast is a statement about the present pace, no promise: items differ, and robots come and go.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::figures::{Figures, minute_of, start_of};
use super::key::QueueId;

/// Items that are ready and due at the same time, in the order in which they will be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueItems {
    /// Their DueDate.
    pub due: Timestamp,
    /// How many.
    pub count: u64,
}

/// What is to be done by a DueDate, and who is there to do it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DueWork {
    /// The queue.
    pub queue: QueueId,
    /// The items that are ready, in the order in which they will be handed out.
    pub items: Vec<DueItems>,
    /// The robots of the performers that run, or the number of items that are InProgress if that is more: robots that claim with the
    /// vendor's API have no job here.
    pub robots: u32,
}

impl DueWork {
    /// The items of a queue in the order in which they will be handed out, and the robots that work on it.
    pub fn new(queue: QueueId, items: Vec<DueItems>, robots: u32) -> Self {
        Self { queue, items, robots }
    }
}

/// The most items of a queue that a forecast looks at.
pub const MAX_FORECAST: usize = 10_000;

/// Of how many minutes the pace is measured.
pub const PACE_MINUTES: u32 = 15;

/// How fast the items of a queue end.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pace {
    /// Attempts that end in a minute, however they end.
    pub per_minute: f64,
    /// The robots that do this.
    pub robots: u32,
}

impl Pace {
    /// A pace of some robots.
    pub const fn new(per_minute: f64, robots: u32) -> Self {
        Self { per_minute, robots }
    }

    /// The pace of a queue, from its figures by minute of at least the last [`PACE_MINUTES`]. The minute that goes on counts by its part; so does a
    /// queue's first one. `None` if nothing ended.
    pub fn of(figures: &Figures, queue: QueueId, robots: u32, now: Timestamp) -> Option<Self> {
        let since = start_of(minute_of(now) - i64::from(PACE_MINUTES));
        let recent = figures.ended.iter().filter(|figure| figure.queue == queue && figure.at >= since);
        let (mut count, mut first) = (0, now);
        for figure in recent {
            count += figure.count;
            first = first.min(figure.at);
        }
        let minutes = (now.duration_since(first).as_secs_f64() / 60.0).max(1.0);
        (count > 0).then(|| Self::new(count as f64 / minutes, robots.max(1)))
    }

    fn per_second(self) -> f64 {
        self.per_minute / 60.0
    }
}

/// What is to be expected of the items of a queue that are ready and have a DueDate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Forecast {
    /// How many wait.
    pub waiting: u64,
    /// Whose DueDate is past already.
    pub overdue: u64,
    /// Which will be late at this pace, without those that are overdue. Without a pace: all of them.
    pub late: u64,
    /// The next DueDate ahead.
    pub next_due: Option<Timestamp>,
    /// When the last of them is done at this pace. `None` without a pace, or beyond what a time can say.
    pub done: Option<Timestamp>,
    /// How many more robots would do them all in time, but for those that are overdue; 0 if none is needed. `None` without a pace, or
    /// if no number would: it would take more than [`MAX_MORE_ROBOTS`].
    pub more_robots: Option<u32>,
}

/// The most robots that a forecast recommends.
pub const MAX_MORE_ROBOTS: u32 = 10_000;

/// The forecast for items in the order in which they will be handed out.
pub fn forecast(waiting: &[DueItems], pace: Option<Pace>, now: Timestamp) -> Forecast {
    let pace = pace.filter(|pace| pace.per_minute > 0.0 && pace.robots > 0);
    let (mut before, mut overdue, mut late) = (0, 0, 0);
    let mut next_due: Option<Timestamp> = None;
    // Items a second that do everything in time.
    let mut needed: f64 = 0.0;
    for items in waiting.iter().filter(|items| items.count > 0) {
        let all = before + items.count;
        let left = items.due.duration_since(now).as_secs_f64();
        if left <= 0.0 {
            overdue += items.count;
        } else {
            next_due = Some(next_due.map_or(items.due, |next| next.min(items.due)));
            needed = needed.max(all as f64 / left);
            let in_time = pace.map_or(0, |pace| (pace.per_second() * left) as u64);
            late += all.saturating_sub(in_time.max(before));
        }
        before = all;
    }
    let done = pace.and_then(|pace| {
        let took = Duration::try_from_secs_f64(before as f64 / pace.per_second()).ok()?;
        now.checked_add(SignedDuration::try_from(took).ok()?).ok()
    });
    let more_robots = pace.and_then(|pace| {
        let robots = (needed / (pace.per_second() / f64::from(pace.robots))).ceil();
        let more = (robots - f64::from(pace.robots)).max(0.0);
        (more <= f64::from(MAX_MORE_ROBOTS)).then_some(more as u32)
    });
    Forecast { waiting: before, overdue, late, next_due, done, more_robots }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::figures::Figure;
    use crate::model::result::Outcome;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn at(seconds: i64) -> Timestamp {
        NOW.checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    fn due(seconds: i64, count: u64) -> DueItems {
        DueItems { due: at(seconds), count }
    }

    #[test]
    fn what_is_behind_others_waits_for_them() {
        // One a second: 60 by the first minute, and of the 100 due then 40 are late; of the next 20, due in two minutes, none is.
        let pace = Some(Pace::new(60.0, 2));
        let told = forecast(&[due(60, 100), due(120, 20)], pace, NOW);
        assert_eq!((told.waiting, told.overdue, told.late), (120, 0, 40));
        assert_eq!((told.next_due, told.done), (Some(at(60)), Some(at(120))));
        assert_eq!(told.more_robots, Some(2), "100 within a minute take four of them");
        let told = forecast(&[due(60, 60)], pace, NOW);
        assert_eq!((told.late, told.more_robots), (0, Some(0)));
    }

    /// Whether each item is late, counted one by one.
    #[test]
    fn the_forecast_is_that_of_each_item() {
        let mut random = 7_u64;
        let mut below = |end: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % end
        };
        for _ in 0..500 {
            let waiting: Vec<DueItems> =
                (0..below(6)).map(|_| due(below(300) as i64 - 50, below(40))).collect();
            let pace = Pace::new(below(200) as f64 + 1.0, below(5) as u32 + 1);
            let late_at = |per_second: f64| {
                let each = waiting.iter().flat_map(|items| (0..items.count).map(|_| items.due));
                let late = each.enumerate().filter(|(before, due)| {
                    let left = due.duration_since(NOW).as_secs_f64();
                    left > 0.0 && (*before as f64 + 1.0) > (per_second * left).floor()
                });
                late.count() as u64
            };
            let told = forecast(&waiting, Some(pace), NOW);
            assert_eq!(told.late, late_at(pace.per_second()), "{waiting:?} {pace:?}");
            let more = told.more_robots.unwrap();
            let with = |robots: u32| pace.per_second() / f64::from(pace.robots) * f64::from(robots);
            // A little quicker, because the number that is just enough is exact only in theory.
            assert_eq!(late_at(with(pace.robots + more) * 1.000_001), 0, "{waiting:?} {pace:?} {more}");
            assert!(
                more == 0 || late_at(with(pace.robots + more - 1) * 0.999_999) > 0,
                "{waiting:?} {pace:?} {more}"
            );
        }
    }

    #[test]
    fn without_a_pace_everything_is_late_and_nothing_else_is_known() {
        let told = forecast(&[due(-5, 3), due(60, 4)], None, NOW);
        assert_eq!((told.overdue, told.late, told.done, told.more_robots), (3, 4, None, None));
        let none = forecast(&[], None, NOW);
        assert_eq!((none.waiting, none.next_due, none.late), (0, None, 0));
        let hopeless = forecast(&[due(1, 1_000_000)], Some(Pace::new(1.0, 1)), NOW);
        assert_eq!(hopeless.more_robots, None);
    }

    #[test]
    fn the_pace_is_that_of_the_last_minutes() {
        let figure = |minutes_ago: i64, count: i64, queue: i64| {
            let at = start_of(minute_of(NOW) - minutes_ago);
            let mut figure = Figure::new(QueueId(queue), at, Outcome::Successful);
            figure.count = count;
            figure
        };
        let ended = vec![
            figure(i64::from(PACE_MINUTES) + 1, 999, 1),
            figure(10, 50, 1),
            figure(1, 50, 1),
            figure(1, 7, 2),
        ];
        let figures = Figures { ended, ..Figures::default() };
        let pace = Pace::of(&figures, QueueId(1), 4, NOW).unwrap();
        assert_eq!((pace.per_minute, pace.robots), (10.0, 4));
        assert_eq!(Pace::of(&figures, QueueId(2), 0, NOW).unwrap(), Pace::new(7.0, 1));
        assert_eq!(Pace::of(&figures, QueueId(3), 4, NOW), None);
    }
}
