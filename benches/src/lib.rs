//! Rounds, medians, and the output line of a figure.

pub mod dependent;
mod interval;

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

pub use interval::{Interval, median};

/// How well a ratio is to be known before its rounds end: to a twentieth of itself.
const PRECISION: f64 = 0.05;

/// How long the rounds of a figure are repeated at most, unless the environment says otherwise; its fewest rounds may
/// take longer.
const MAX_TIME: Duration = Duration::from_secs(25);

/// The environment variable with that time, in seconds. 0: each figure has its fewest rounds.
const SECONDS: &str = "PERFORMER_BENCH_SECONDS";

/// Which figures to measure, and for how long.
#[derive(Debug)]
pub struct Bench {
    names: Vec<String>,
    max_time: Duration,
}

/// The unit of a figure, and which direction is better.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// More is better.
    PerSecond,
    /// Less is better.
    Time,
    /// Less is better.
    Bytes,
}

/// The bar of a figure: ours divided by the limit must be at least, or at most, this.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// At least this ratio.
    AtLeast(f64),
    /// At most this ratio.
    AtMost(f64),
}

impl Bench {
    /// The figures whose names begin with one of these; all if there are none.
    ///
    /// # Panics
    ///
    /// If `PERFORMER_BENCH_SECONDS` is no number.
    pub fn new(names: Vec<String>) -> Self {
        let seconds = std::env::var(SECONDS).ok();
        let max_time = seconds.map_or(MAX_TIME, |text| {
            let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            seconds.unwrap_or_else(|| panic!("{SECONDS} is a number of seconds, not {text:?}"))
        });
        Self { names, max_time }
    }

    /// Whether a figure is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| name.starts_with(wanted.as_str()))
    }

    /// Whether any figure with this prefix is wanted.
    pub fn wants_any(&self, beginning: &str) -> bool {
        self.wants(beginning) || self.names.iter().any(|wanted| wanted.starts_with(beginning))
    }

    /// Measures a figure in rounds of limit and ours, and prints its line.
    ///
    /// The ratio of a figure is the median of the ratios of its rounds: what slows down the machine for a while slows
    /// down both parts of a round. Which part comes first alternates. Rounds are repeated until the ratio is known to
    /// 5 % (see [`Interval`]): at least the first of `rounds`, and at most the last, or until the figure has taken 25
    /// seconds (`PERFORMER_BENCH_SECONDS`).
    #[expect(clippy::disallowed_methods, reason = "a bench reads the machine's clock")]
    pub fn figure(
        &self,
        name: &str,
        unit: Unit,
        bar: Bar,
        rounds: RangeInclusive<usize>,
        limit: impl FnMut() -> f64,
        ours: impl FnMut() -> f64,
    ) {
        if !self.wants(name) {
            return;
        }
        let began = Instant::now();
        let is_over = |done| done >= *rounds.end() || began.elapsed() >= self.max_time;
        let mut done = Rounds::default();
        done.repeat(*rounds.start(), limit, ours, is_over);
        let count = done.ratios.len();
        let interval = Interval::of(&mut done.ratios);
        let (ours, limit) = (median(&mut done.ours), median(&mut done.limits));
        print(name, unit, bar, (ours, limit, interval.median), Some((interval, count)));
    }
}

/// What the rounds of a figure gave.
#[derive(Default)]
struct Rounds {
    limits: Vec<f64>,
    ours: Vec<f64>,
    ratios: Vec<f64>,
}

impl Rounds {
    /// Makes rounds until the ratio is known, or until `is_over` says so, which is told how many there were.
    fn repeat(
        &mut self,
        fewest: usize,
        mut limit: impl FnMut() -> f64,
        mut ours: impl FnMut() -> f64,
        mut is_over: impl FnMut(usize) -> bool,
    ) {
        loop {
            let done = self.ratios.len();
            if done >= fewest.max(1) {
                let is_known = Interval::of(&mut self.ratios.clone()).is_within(PRECISION);
                if is_known || is_over(done) {
                    return;
                }
            }
            let (our, its) = if done.is_multiple_of(2) {
                let its = limit();
                (ours(), its)
            } else {
                (ours(), limit())
            };
            self.limits.push(its);
            self.ours.push(our);
            self.ratios.push(our / its);
        }
    }
}

/// Prints the line of a figure that was measured once.
pub fn print_line(name: &str, unit: Unit, bar: Bar, ours: f64, limit: f64) {
    print(name, unit, bar, (ours, limit, ours / limit), None);
}

/// Prints what the columns of the lines are.
pub fn print_heading() {
    let (name, ours, limit) = ("name", "ours", "limit");
    println!("{name:<28}{ours:>12}{limit:>12}{:>8}  {:<14}{:>6}  bar", "ratio", "95 % interval", "rounds");
}

fn print(
    name: &str,
    unit: Unit,
    bar: Bar,
    (ours, limit, ratio): (f64, f64, f64),
    rounds: Option<(Interval, usize)>,
) {
    let (met, bar) = match bar {
        Bar::AtLeast(bar) => (ratio >= bar, format!(">= {bar:.2}")),
        Bar::AtMost(bar) => (ratio <= bar, format!("<= {bar:.2}")),
    };
    let mark = if met { "" } else { "  MISSED" };
    let (interval, count) = rounds.map_or_else(Default::default, |(interval, count)| {
        let mark = if interval.is_certain { "" } else { "?" }; // too few rounds for 95 %
        (format!("{:.2} to {:.2}{mark}", interval.low, interval.high), count.to_string())
    });
    let (ours, limit) = (shown(ours, unit), shown(limit, unit));
    println!("{name:<28}{ours:>12}{limit:>12}{ratio:>8.2}  {interval:<14}{count:>6}  {bar}{mark}");
}

/// A count in a time, as a rate.
pub fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => format!("{value:.0}/s"),
        Unit::Time => format!("{:.1?}", Duration::from_secs_f64(value)),
        Unit::Bytes => format!("{value:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds with these ratios, by turns for ever; how many were made.
    fn rounds_of(ratios: &[f64], fewest: usize, most: usize) -> Rounds {
        let mut at = 0;
        let ours = || {
            at += 1;
            ratios[(at - 1) % ratios.len()]
        };
        let mut rounds = Rounds::default();
        rounds.repeat(fewest, || 1.0, ours, |done| done >= most);
        rounds
    }

    #[test]
    fn rounds_end_when_the_ratio_is_known() {
        assert_eq!(rounds_of(&[0.6, 0.61, 0.59], 1, 60).ratios.len(), 6, "the fewest that say something");
        assert_eq!(rounds_of(&[0.6, 0.61, 0.59], 10, 60).ratios.len(), 10, "the fewest that are asked for");
    }

    #[test]
    fn rounds_that_scatter_are_repeated() {
        let scattered: Vec<f64> = (0..11).map(|at| 0.5 + 0.02 * f64::from(at * 7 % 11)).collect();
        let count = rounds_of(&scattered, 1, 1_000).ratios.len();
        assert!((12..1_000).contains(&count), "{count} rounds");
    }

    #[test]
    fn rounds_have_a_bound() {
        assert_eq!(rounds_of(&[0.1, 1.0, 10.0], 3, 17).ratios.len(), 17);
        assert_eq!(rounds_of(&[0.1, 1.0, 10.0], 3, 0).ratios.len(), 3, "the fewest are made in any case");
    }

    #[test]
    fn limit_and_ours_come_first_by_turns() {
        let order = std::cell::RefCell::new(String::new());
        let part = |name| {
            order.borrow_mut().push(name);
            1.0
        };
        Rounds::default().repeat(4, || part('l'), || part('o'), |_| true);
        assert_eq!(*order.borrow(), "loollool");
    }
}
